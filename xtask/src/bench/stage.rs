//! The three Envoys that are compared, all from the shipped configuration and side by side: without a
//! plugin, with the stock no-op, with ours and everything it talks to.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kit::abuseipdb::{AbuseIpDb, KEY};
use kit::config::{EdgeConfig, insert};
use kit::{Envoy, KitError, Sidecar, eventually_async};
use serde_json::json;

use super::load::ENVOY_CORE;
use crate::demo::list::List;
use crate::error::Error;
use crate::say;
use crate::workspace::Workspace;

/// A public address that no list holds and that the provider has nothing against.
pub const CLIENT: &str = "9.9.9.9";
const LIMIT: Duration = Duration::from_secs(60);

pub struct Parts {
    pub wasm: PathBuf,
    pub noop: PathBuf,
    pub portcullis: PathBuf,
    pub envoy: PathBuf,
}

pub struct Stage {
    envoys: [Envoy; 3],
    _sidecar: Sidecar,
    _provider: AbuseIpDb,
}

impl Stage {
    pub async fn set(
        workspace: &Workspace,
        parts: &Parts,
        feed: Option<&Path>,
    ) -> Result<Self, Error> {
        let folder = workspace.built("bench");
        std::fs::create_dir_all(&folder).map_err(Error::file("cannot create", &folder))?;
        let path = match feed {
            Some(path) => path.to_path_buf(),
            None => make_list(&folder)?,
        };
        let list = List::read(&path)?;
        say::step(format_args!("loading {} entries", list.len()));
        let provider = AbuseIpDb::start().await?;
        let sidecar = Sidecar::builder_in(&folder)?
            .binary(&parts.portcullis)
            .toml(&list.toml("loaded"))
            .toml(&provider.toml())
            .env("ABUSEIPDB_KEY", KEY);
        let sidecar = sidecar.start().await?;
        say::step("starting three Envoys");
        let (mut none, mut noop, mut ours) = (base()?, base()?, base()?);
        remove_plugin(&mut none)?;
        noop.set_wasm(&parts.noop)?;
        ours.set_wasm(&parts.wasm)?;
        ours.set_sidecar(&sidecar.addresses())?;
        let none = start(none, parts, &folder).await?;
        let noop = start(noop, parts, &folder).await?;
        let ours = start(ours, parts, &folder).await?;
        until_loaded(&ours, &list).await?;
        if noop.stat("wasm.envoy.wasm.runtime.v8.active").await == 0 {
            return Err(Error::Said(
                "the stock no-op filter is not running".to_owned(),
            ));
        }
        Ok(Self {
            envoys: [none, noop, ours],
            _sidecar: sidecar,
            _provider: provider,
        })
    }

    /// Without a plugin, with the no-op, with ours.
    pub fn all(&self) -> &[Envoy; 3] {
        &self.envoys
    }
}

/// The shipped configuration, enforcing, behind one trusted proxy, so that the load can come from a
/// public address. The answer is made by Envoy itself and the access log goes nowhere, so that neither
/// an upstream nor a disk is measured.
fn base() -> Result<EdgeConfig, KitError> {
    let mut config = EdgeConfig::shipped()?;
    config.set_mode("enforce")?;
    config.set_hops(1)?;
    config.on_any_port()?;
    answer_directly(&mut config)?;
    Ok(config)
}

/// Envoy answers by itself, and its access log goes nowhere.
pub fn answer_directly(config: &mut EdgeConfig) -> Result<(), KitError> {
    let routes = json!([{
        "name": "app", "match": {"prefix": "/"},
        "direct_response": {"status": 200, "body": {"inline_string": "hello\n"}},
    }]);
    let host = "/route_config/virtual_hosts/0";
    let manager = config.hcm()?;
    let log = json!("type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog");
    if let Some(host) = manager.pointer_mut(host) {
        insert(host, "routes", routes);
    }
    if let Some(entry) = manager.pointer_mut("/access_log/0") {
        insert(entry, "name", json!("envoy.access_loggers.file"));
    }
    if let Some(entry) = manager.pointer_mut("/access_log/0/typed_config") {
        insert(entry, "@type", log);
        insert(entry, "path", json!("/dev/null"));
    }
    Ok(())
}

fn remove_plugin(config: &mut EdgeConfig) -> Result<(), KitError> {
    if let Some(filters) = config
        .hcm()?
        .get_mut("http_filters")
        .and_then(|f| f.as_array_mut())
    {
        filters.retain(|filter| filter.get("name") != Some(&json!("portcullis")));
    }
    Ok(())
}

async fn start(config: EdgeConfig, parts: &Parts, folder: &Path) -> Result<Envoy, KitError> {
    let builder = Envoy::with(config, &parts.envoy);
    builder
        .behind(&["taskset", "-c", ENVOY_CORE])
        .start_in(folder)
        .await
}

/// Until an address of the list is refused and the client of the load is known.
async fn until_loaded(envoy: &Envoy, list: &List) -> Result<(), Error> {
    let listed = list.listed();
    let address = listed.first().map(ToString::to_string).unwrap_or_default();
    let loaded = eventually_async(LIMIT, || async {
        envoy.status_for(&address).await == 403 && envoy.status_for(CLIENT).await == 200
    });
    if loaded.await {
        return Ok(());
    }
    Err(Error::Said(format!(
        "{address} is on the list and still passes"
    )))
}

/// 120,000 addresses of the range that is reserved for benchmarks.
fn make_list(folder: &Path) -> Result<PathBuf, Error> {
    let path = folder.join("list.txt");
    let mut text = String::new();
    for number in 0..120_000_u32 {
        let address = std::net::Ipv4Addr::from(0xc612_0000 + number);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{address}");
    }
    std::fs::write(&path, text).map_err(Error::file("cannot write", &path))?;
    Ok(path)
}
