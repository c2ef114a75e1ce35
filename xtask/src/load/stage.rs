//! What is loaded: the shipped edge with the sidecar and a provider's stand-in, and the same without the
//! plugin.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use kit::abuseipdb::{AbuseIpDb, KEY};
use kit::config::EdgeConfig;
use kit::{Envoy, Sidecar, Upstream};

use crate::bench::stage::{answer_directly, replace_plugin};
use crate::error::Error;
use crate::say;
use crate::workspace::Workspace;

const LIMIT: Duration = Duration::from_secs(60);
const WORKERS: u32 = 2;

pub struct Parts {
    pub wasm: PathBuf,
    pub portcullis: PathBuf,
    pub envoy: PathBuf,
}

pub struct Stage {
    pub provider: AbuseIpDb,
    envoy: Envoy,
    alone: Option<Envoy>,
    _sidecar: Sidecar,
    _upstream: Option<Upstream>,
}

impl Stage {
    /// The whole edge, before an upstream.
    pub async fn behind_upstream(workspace: &Workspace, parts: &Parts) -> Result<Self, Error> {
        let upstream = Upstream::start().await?;
        let mut config = base()?;
        let address = kit::config::Endpoint::Tcp(upstream.address());
        config.set_cluster("upstream", &address, None)?;
        Self::set(workspace, parts, config, None, Some(upstream)).await
    }

    /// Two edges that answer by themselves, so that they alone are measured; one has no plugin.
    pub async fn beside_none(workspace: &Workspace, parts: &Parts) -> Result<Self, Error> {
        let (mut config, mut without) = (base()?, base()?);
        answer_directly(&mut config)?;
        answer_directly(&mut without)?;
        replace_plugin(&mut without, None)?;
        Self::set(workspace, parts, config, Some(without), None).await
    }

    pub fn edge(&self) -> SocketAddr {
        self.envoy.edge()
    }

    pub fn without_plugin(&self) -> Result<SocketAddr, Error> {
        let alone = self.alone.as_ref().map(Envoy::edge);
        alone.ok_or_else(|| Error::Said("there is no Envoy without the plugin".to_owned()))
    }

    async fn set(
        workspace: &Workspace,
        parts: &Parts,
        mut config: EdgeConfig,
        without: Option<EdgeConfig>,
        upstream: Option<Upstream>,
    ) -> Result<Self, Error> {
        say::step("starting the sidecar and Envoy");
        let folder = workspace.built("load");
        std::fs::create_dir_all(&folder).map_err(Error::file("cannot create", &folder))?;
        let provider = AbuseIpDb::start().await?;
        let sidecar = Sidecar::builder_in(&folder)?.binary(&parts.portcullis);
        let sidecar = sidecar.toml(&provider.toml()).env("ABUSEIPDB_KEY", KEY);
        let sidecar = sidecar.start().await?;
        config.set_wasm(&parts.wasm)?;
        config.set_sidecar(&sidecar.addresses())?;
        let start = async |config| {
            let builder = Envoy::with(config, &parts.envoy).concurrency(WORKERS);
            builder.start_in(&folder).await
        };
        let envoy = start(config).await?;
        let alone = match without {
            Some(config) => Some(start(config).await?),
            None => None,
        };
        if !envoy.until_snapshot(LIMIT).await? {
            return Err(Error::Said("no snapshot reached the plugin".to_owned()));
        }
        Ok(Self {
            provider,
            envoy,
            alone,
            _sidecar: sidecar,
            _upstream: upstream,
        })
    }
}

/// The shipped configuration, enforcing, behind one trusted proxy, so that requests can say for which
/// client they come.
pub fn base() -> Result<EdgeConfig, Error> {
    let mut config = EdgeConfig::shipped()?;
    config.set_mode("enforce")?;
    config.set_hops(1)?;
    config.on_any_port()?;
    Ok(config)
}
