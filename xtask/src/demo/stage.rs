//! Puts up what the demo shows: an example upstream, the sidecar with a sample list, and Envoy.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use kit::config::{EdgeConfig, Endpoint};
use kit::sidecar::{Ports, SidecarBuilder};
use kit::{Envoy, Redis, Sidecar, Upstream};

use super::list::{List, feed_toml};
use crate::error::Error;
use crate::say;
use crate::workspace::Workspace;

const UPSTREAM: u16 = 8080;
const EDGE: u16 = 10_000;
const API: u16 = 10_001;
const STATS: u16 = 10_002;
const ENVOY_ADMIN: u16 = 9901;
const SIDECAR: Ports = Ports {
    edge: 8970,
    admin: 8971,
    metrics: 8972,
};

/// In the demo's folder, so that docs/tutorial.md can name them.
const TOKEN: &str = "admin.token";
const CONFIG: &str = "portcullis.toml";

/// An address that the sample list holds, and one that no list holds.
pub const LISTED: &str = "198.51.100.23";
pub const CLEAN: &str = "203.0.113.77";

/// What was built and fetched.
pub struct Parts {
    pub wasm: PathBuf,
    pub portcullis: PathBuf,
    pub envoy: PathBuf,
    /// Only where the sidecar shall use one.
    pub redis: Option<PathBuf>,
}

/// Everything that runs; ends with this value.
pub struct Stage {
    pub envoy: Envoy,
    pub sidecar: Sidecar,
    pub redis: Option<Redis>,
    portcullis: PathBuf,
    folder: PathBuf,
    _upstream: Upstream,
}

/// Says which port is taken: before anything is built, and once more before anything starts, since another demo may
/// have been building at the same time.
pub fn require_free_ports() -> Result<(), Error> {
    let wanted = [
        (EDGE, "Envoy's edge"),
        (API, "Envoy's reputation API"),
        (STATS, "Envoy's statistics"),
        (ENVOY_ADMIN, "Envoy's admin"),
        (SIDECAR.edge, "the sidecar's edge API"),
        (SIDECAR.admin, "the sidecar's admin API"),
        (SIDECAR.metrics, "the sidecar's metrics"),
        (UPSTREAM, "the example upstream"),
    ];
    for (port, purpose) in wanted {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|error| {
            Error::Said(format!(
                "port {port} ({purpose}) cannot be used: {error}. \
                 Another demo may be running; stop what listens there and try again."
            ))
        })?;
    }
    Ok(())
}

impl Stage {
    pub async fn set(
        workspace: &Workspace,
        parts: &Parts,
        list: Option<&List>,
    ) -> Result<Self, Error> {
        require_free_ports()?;
        let folder = workspace.built("demo");
        std::fs::create_dir_all(&folder).map_err(Error::file("cannot create", &folder))?;
        say::step("starting the example upstream");
        let upstream = Upstream::start_on(UPSTREAM).await?;
        let redis = start_redis(parts, &folder).await?;
        say::step("starting the sidecar");
        let sidecar = prepare_sidecar(workspace, parts, list, &folder)?;
        let sidecar = match &redis {
            Some(redis) => sidecar.redis(&redis.url()),
            None => sidecar,
        };
        let sidecar = sidecar.start().await?;
        link_what_a_reader_needs(&sidecar, &folder)?;
        say::step("starting Envoy");
        let envoy = start_envoy(parts, &folder).await?;
        let portcullis = parts.portcullis.clone();
        Ok(Self {
            envoy,
            sidecar,
            redis,
            portcullis,
            folder,
            _upstream: upstream,
        })
    }

    pub fn what_to_try(&self) -> String {
        let cli = self.portcullis.display();
        let folder = self.folder.display();
        format!(
            "
Portcullis is running. Requests from this machine may say for which client they come. The first passes, the second is
refused:

  curl -i -H 'x-forwarded-for: {CLEAN}' http://127.0.0.1:{EDGE}/
  curl -i -H 'x-forwarded-for: {LISTED}' http://127.0.0.1:{EDGE}/

The operator's hand, in another terminal. The doctor finds fault with what only a demo may do:

  export PORTCULLIS_TOKEN=$(cat {folder}/{TOKEN})
  {cli} explain {LISTED}
  {cli} ban {CLEAN} --for 1h --reason 'tried it'
  {cli} decisions
  {cli} unban {CLEAN}
  {cli} doctor

Where to look:

  the console       http://127.0.0.1:{admin}/, with the token above
  access log        {log}
  Envoy's metrics   http://127.0.0.1:{STATS}/stats/prometheus
  sidecar's         http://127.0.0.1:{metrics}/metrics
  its configuration {folder}/{CONFIG}
{redis}
Ctrl-C ends everything.",
            log = self.envoy.access_log_file().display(),
            admin = SIDECAR.admin,
            metrics = SIDECAR.metrics,
            redis = self.where_redis_is(),
        )
    }

    fn where_redis_is(&self) -> String {
        let Some(redis) = &self.redis else {
            return String::new();
        };
        let url = redis.url();
        format!("  in Redis          redis-cli -u {url} hgetall pc:decisions\n")
    }
}

/// The token and the configuration under names that stay the same from run to run.
fn link_what_a_reader_needs(sidecar: &Sidecar, folder: &Path) -> Result<(), Error> {
    let token = sidecar.folder().join("store/admin.token");
    for (file, name) in [(token, TOKEN), (sidecar.config_file(), CONFIG)] {
        let link = folder.join(name);
        if link.is_symlink() {
            std::fs::remove_file(&link).map_err(Error::file("cannot remove", &link))?;
        }
        symlink(&file, &link).map_err(Error::file("cannot make", &link))?;
    }
    Ok(())
}

/// With persistence, as a Redis that keeps decisions must be.
async fn start_redis(parts: &Parts, folder: &Path) -> Result<Option<Redis>, Error> {
    let Some(binary) = &parts.redis else {
        return Ok(None);
    };
    say::step("starting Redis");
    let redis = Redis::builder_in(folder, binary)?.append_only();
    Ok(Some(redis.start().await?))
}

fn prepare_sidecar(
    workspace: &Workspace,
    parts: &Parts,
    list: Option<&List>,
    folder: &Path,
) -> Result<SidecarBuilder, Error> {
    let sample = workspace.at("envoy/demo/sample.netset");
    let mut builder = Sidecar::builder_in(folder)?
        .binary(&parts.portcullis)
        .ports(SIDECAR)
        .toml(&feed_toml("sample", &sample, "netset"));
    if let Some(list) = list {
        builder = builder.toml(&list.toml("given"));
    }
    Ok(builder)
}

async fn start_envoy(parts: &Parts, folder: &Path) -> Result<Envoy, Error> {
    let mut config = EdgeConfig::shipped()?;
    config.demo_patch()?;
    config.set_wasm(&parts.wasm)?;
    let upstream = SocketAddr::from((Ipv4Addr::LOCALHOST, UPSTREAM));
    config.set_cluster("upstream", &Endpoint::Tcp(upstream), None)?;
    let builder = Envoy::with(config, &parts.envoy).concurrency(2);
    Ok(builder.start_in(folder).await?)
}
