//! What is compared, started side by side: seven Envoys that all have the shipped configuration, and two
//! servers that answer about an address.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use kit::abuseipdb::{AbuseIpDb, KEY};
use kit::config::{EdgeConfig, insert};
use kit::sidecar::SidecarBuilder;
use kit::{Envoy, KitError, Request, Sidecar, eventually_async};
use serde_json::{Value, json};

use super::bare::BareServer;
use super::lists;
use super::load::{LOAD_CORE, MEASURED_CORE};
use crate::demo::list::List;
use crate::error::Error;
use crate::workspace::Workspace;
use crate::{run, say};

/// A public address that no list holds and that the provider has nothing against.
pub const CLIENT: &str = "9.9.9.9";
/// In this order [`Edges::all`] has them.
pub const EDGES: [&str; 7] = [
    "none",
    "no-op",
    "ext_authz",
    "ours",
    "ours 10 k",
    "ours 5 M",
    "ours without a log",
];

const DEFAULT_ENTRIES: u32 = 120_000;
const SMALL: u32 = 10_000;
const LARGE: u32 = 5_000_000;
const LIMIT: Duration = Duration::from_secs(120);
const DIRECTORY: &str = "bench";

pub struct Parts {
    pub wasm: PathBuf,
    pub noop: PathBuf,
    pub bare: PathBuf,
    pub portcullis: PathBuf,
    pub envoy: PathBuf,
}

/// The Envoys, and what they talk to.
pub struct Edges {
    envoys: [Envoy; 7],
    _sidecars: [Sidecar; 3],
    _provider: AbuseIpDb,
    _authorisation: BareServer,
}

/// The sidecar, which knows [`CLIENT`], and a bare server.
pub struct Servers {
    sidecar: Sidecar,
    bare: BareServer,
    _provider: AbuseIpDb,
}

impl Edges {
    pub async fn set(
        workspace: &Workspace,
        parts: &Parts,
        feed: Option<&Path>,
    ) -> Result<Self, Error> {
        let folder = folder(workspace)?;
        let chosen = match feed {
            Some(path) => vec![path.to_path_buf()],
            None => lists::make(&folder, DEFAULT_ENTRIES)?,
        };
        let provider = AbuseIpDb::start().await?;
        let authorisation = BareServer::start(&parts.bare, &folder).await?;
        pin(authorisation.process_id(), LOAD_CORE)?;
        let (mut none, mut noop, mut authz) = (base()?, base()?, base()?);
        replace_plugin(&mut none, None)?;
        noop.set_wasm(&parts.noop)?;
        ask(&mut authz, &authorisation)?;
        let none = start(none, parts, &folder).await?;
        let noop = start(noop, parts, &folder).await?;
        let authz = start(authz, parts, &folder).await?;
        if noop.stat("wasm.envoy.wasm.runtime.v8.active").await == 0 {
            return Err(Error::Said(
                "the stock no-op filter is not running".to_owned(),
            ));
        }
        let (ours, loaded) = loaded(parts, &folder, &provider, &chosen).await?;
        let silent = silent(parts, &folder, &loaded, &chosen).await?;
        let small = lists::make(&folder, SMALL)?;
        let (small, few) = self::loaded(parts, &folder, &provider, &small).await?;
        let large = lists::make(&folder, LARGE)?;
        let (large, many) = self::loaded(parts, &folder, &provider, &large).await?;
        Ok(Self {
            envoys: [none, noop, authz, ours, small, large, silent],
            _sidecars: [loaded, few, many],
            _provider: provider,
            _authorisation: authorisation,
        })
    }

    pub fn all(&self) -> &[Envoy; 7] {
        &self.envoys
    }
}

impl Servers {
    pub async fn set(workspace: &Workspace, parts: &Parts) -> Result<Self, Error> {
        let folder = folder(workspace)?;
        let provider = AbuseIpDb::start().await?;
        let bare = BareServer::start(&parts.bare, &folder).await?;
        let sidecar = sidecar(parts, &folder, &provider)?.start().await?;
        let mut servers = Self {
            sidecar,
            bare,
            _provider: provider,
        };
        let known = eventually_async(LIMIT, || async {
            let request = Request::get(&path(1000));
            let asked = request.send(servers.sidecar.edge()).await;
            asked.is_ok_and(|answer| {
                let verdict: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
                verdict.get("provisional") == Some(&json!(false))
            })
        });
        if !known.await {
            return Err(Error::Said(format!("the sidecar never knew {CLIENT}")));
        }
        let ours = servers.sidecar.process_id().unwrap_or_default();
        for process in [servers.bare.process_id(), ours] {
            pin(process, MEASURED_CORE)?;
        }
        Ok(servers)
    }

    /// The bare server's, then the sidecar's.
    pub fn urls(&self) -> [String; 2] {
        let addresses = [self.bare.address(), self.sidecar.edge()];
        addresses.map(|address| format!("http://{address}{}", path(0)))
    }
}

fn path(wait_ms: u32) -> String {
    format!("/v1/verdict/{CLIENT}?wait_ms={wait_ms}")
}

fn folder(workspace: &Workspace) -> Result<PathBuf, Error> {
    let folder = workspace.built(DIRECTORY);
    std::fs::create_dir_all(&folder).map_err(Error::file("cannot create", &folder))?;
    Ok(folder)
}

/// Our plugin with these lists in force, and its sidecar.
async fn loaded(
    parts: &Parts,
    folder: &Path,
    provider: &AbuseIpDb,
    paths: &[PathBuf],
) -> Result<(Envoy, Sidecar), Error> {
    let lists: Result<Vec<_>, _> = paths.iter().map(|path| List::read(path)).collect();
    let lists = lists?;
    let entries: usize = lists.iter().map(List::len).sum();
    say::step(format_args!("loading {entries} entries"));
    let mut sidecar = sidecar(parts, folder, provider)?;
    for (number, list) in lists.iter().enumerate() {
        sidecar = sidecar.toml(&list.toml(&format!("loaded-{number}")));
    }
    let sidecar = sidecar.start().await?;
    let envoy = filled(base()?, parts, folder, &sidecar, &lists).await?;
    Ok((envoy, sidecar))
}

/// As [`loaded`] beside the same sidecar, but nothing is logged.
async fn silent(
    parts: &Parts,
    folder: &Path,
    sidecar: &Sidecar,
    paths: &[PathBuf],
) -> Result<Envoy, Error> {
    let lists: Result<Vec<_>, _> = paths.iter().map(|path| List::read(path)).collect();
    let mut config = base()?;
    if let Some(manager) = config.hcm()?.as_object_mut() {
        manager.remove("access_log");
    }
    filled(config, parts, folder, sidecar, &lists?).await
}

/// An Envoy with our plugin, once these lists are in force.
async fn filled(
    mut config: EdgeConfig,
    parts: &Parts,
    folder: &Path,
    sidecar: &Sidecar,
    lists: &[List],
) -> Result<Envoy, Error> {
    config.set_wasm(&parts.wasm)?;
    config.set_sidecar(&sidecar.addresses())?;
    let envoy = start(config, parts, folder).await?;
    for list in lists {
        until_loaded(&envoy, list).await?;
    }
    Ok(envoy)
}

fn sidecar(parts: &Parts, folder: &Path, provider: &AbuseIpDb) -> Result<SidecarBuilder, KitError> {
    let builder = Sidecar::builder_in(folder)?.binary(&parts.portcullis);
    Ok(builder.toml(&provider.toml()).env("ABUSEIPDB_KEY", KEY))
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

/// Envoy's own filter for what a decision outside costs, in the place of the plugin.
fn ask(config: &mut EdgeConfig, server: &BareServer) -> Result<(), KitError> {
    let (address, cluster) = (server.address(), "authorisation");
    let filter = json!({
        "name": "envoy.filters.http.ext_authz",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
            "transport_api_version": "V3",
            "http_service": {
                "server_uri": {"uri": format!("http://{address}"), "cluster": cluster, "timeout": "1s"},
            },
        },
    });
    replace_plugin(config, Some(filter))?;
    let endpoint = json!({"address": {"socket_address": {
        "address": address.ip().to_string(), "port_value": address.port(),
    }}});
    let cluster = json!({
        "name": cluster,
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": cluster,
            "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}],
        },
    });
    if let Some(clusters) = config.at("/static_resources/clusters")?.as_array_mut() {
        clusters.push(cluster);
    }
    Ok(())
}

pub fn replace_plugin(config: &mut EdgeConfig, by: Option<Value>) -> Result<(), KitError> {
    let filters = config.hcm()?.get_mut("http_filters");
    if let Some(filters) = filters.and_then(Value::as_array_mut) {
        let is_ours = |filter: &Value| filter.get("name") == Some(&json!("portcullis"));
        if let Some(at) = filters.iter().position(is_ours) {
            filters.splice(at..=at, by);
        }
    }
    Ok(())
}

async fn start(config: EdgeConfig, parts: &Parts, folder: &Path) -> Result<Envoy, KitError> {
    let builder = Envoy::with(config, &parts.envoy);
    builder
        .behind(&["taskset", "-c", MEASURED_CORE])
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

/// Binds all threads of a process to one core.
fn pin(process: u32, core: &str) -> Result<(), Error> {
    let process = process.to_string();
    run::capture(Command::new("taskset").args(["-a", "-c", "-p", core, &process])).map(drop)
}
