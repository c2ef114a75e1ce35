//! Where the built parts lie. `cargo xtask` says so by environment variables; without them the default
//! build folder is looked at, so that a single test can be run by `cargo test`.

use std::env;
use std::path::{Path, PathBuf};

use crate::error::KitError;

/// The release binary of Envoy.
pub fn envoy() -> Result<PathBuf, KitError> {
    part("PORTCULLIS_ENVOY", "envoy/1.40.0/envoy")
}

/// The finished plugin.
pub fn wasm() -> Result<PathBuf, KitError> {
    part("PORTCULLIS_WASM", "portcullis.wasm")
}

/// The plugin's test build that traps on demand.
pub fn wasm_trap() -> Result<PathBuf, KitError> {
    part("PORTCULLIS_WASM_TRAP", "portcullis-trap.wasm")
}

/// The sidecar and command line.
pub fn portcullis() -> Result<PathBuf, KitError> {
    part("PORTCULLIS_BIN", "debug/portcullis")
}

/// The plugin of an earlier build, which `cargo xtask upgrade` makes.
pub fn wasm_before() -> Result<PathBuf, KitError> {
    part("PORTCULLIS_WASM_BEFORE", "upgrade/target/portcullis.wasm")
}

/// The sidecar of an earlier build.
pub fn portcullis_before() -> Result<PathBuf, KitError> {
    part("PORTCULLIS_BIN_BEFORE", "upgrade/target/debug/portcullis")
}

/// Redis's server, which the system's package manager installs.
pub fn redis_server() -> Result<PathBuf, KitError> {
    if let Some(given) = env::var_os("PORTCULLIS_REDIS") {
        return Ok(PathBuf::from(given));
    }
    installed("redis-server", "apt-get install redis-server")
}

/// The folder of PostgreSQL's `initdb` and `postgres`, which the system's package manager installs, but not
/// where programs are looked for: of several versions the newest.
pub fn postgres() -> Result<PathBuf, KitError> {
    if let Some(given) = env::var_os("PORTCULLIS_POSTGRES") {
        let folder = Path::new(&given).parent();
        return Ok(folder.map(Path::to_path_buf).unwrap_or_default());
    }
    let command = "apt-get install postgresql";
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let folders = versions.filter_map(|version| {
        let version = version.ok()?;
        let number = version.file_name().to_str()?.parse::<u32>().ok()?;
        Some((number, version.path().join("bin")))
    });
    let complete =
        |folder: &Path| folder.join("initdb").is_file() && folder.join("postgres").is_file();
    let newest = folders.filter(|(_, folder)| complete(folder)).max();
    let newest = newest.map(|(_, folder)| folder);
    newest.map_or_else(|| elsewhere(command), Ok)
}

fn elsewhere(command: &'static str) -> Result<PathBuf, KitError> {
    let initdb = installed("initdb", command)?;
    Ok(initdb.parent().map(Path::to_path_buf).unwrap_or_default())
}

/// Chromium and the program that drives it, which the system's package manager installs.
pub fn chromium() -> Result<(PathBuf, PathBuf), KitError> {
    let command = "apt-get install chromium chromium-driver";
    Ok((
        installed("chromium", command)?,
        installed("chromedriver", command)?,
    ))
}

/// The folder of CrowdSec's `crowdsec` and `cscli`.
pub fn crowdsec() -> Result<PathBuf, KitError> {
    let server = part("PORTCULLIS_CROWDSEC", "crowdsec/usr/bin/crowdsec")?;
    Ok(server.parent().map(Path::to_path_buf).unwrap_or_default())
}

/// The folder of `prometheus` and `promtool`.
pub fn prometheus() -> Result<PathBuf, KitError> {
    let server = part("PORTCULLIS_PROMETHEUS", "prometheus/usr/bin/prometheus")?;
    Ok(server.parent().map(Path::to_path_buf).unwrap_or_default())
}

/// The folder of `prometheus-alertmanager` and `amtool`.
pub fn alertmanager() -> Result<PathBuf, KitError> {
    let server = part(
        "PORTCULLIS_ALERTMANAGER",
        "prometheus-alertmanager/usr/bin/prometheus-alertmanager",
    )?;
    Ok(server.parent().map(Path::to_path_buf).unwrap_or_default())
}

/// AWS as moto plays it.
pub fn moto_server() -> Result<PathBuf, KitError> {
    part("PORTCULLIS_MOTO", "moto/bin/moto_server")
}

/// OpenTelemetry's collector.
pub fn collector() -> Result<PathBuf, KitError> {
    part(
        "PORTCULLIS_COLLECTOR",
        "collector/otelcol-contrib_linux_amd64",
    )
}

/// kubectl, which renders kustomizations without a cluster.
pub fn kubectl() -> Result<PathBuf, KitError> {
    part("PORTCULLIS_KUBECTL", "kubectl/kubectl")
}

/// The folder in which Python finds Helm's library, which renders charts.
pub fn helm() -> Result<PathBuf, KitError> {
    let module = part("PORTCULLIS_HELM", "helm/helm_python/__init__.py")?;
    let folder = module.parent().and_then(Path::parent);
    Ok(folder.map(Path::to_path_buf).unwrap_or_default())
}

/// A file of the checkout.
pub fn in_checkout(path: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn installed(tool: &'static str, command: &'static str) -> Result<PathBuf, KitError> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders = env::split_paths(&path);
    let found = folders.find_map(|folder| {
        let binary = folder.join(tool);
        binary.is_file().then_some(binary)
    });
    found.ok_or(KitError::NotInstalled { tool, command })
}

fn part(variable: &str, default: &str) -> Result<PathBuf, KitError> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| in_checkout("target"), in_checkout);
    let path = env::var_os(variable).map_or_else(|| target.join(default), PathBuf::from);
    if path.is_file() {
        return Ok(path);
    }
    Err(KitError::NotBuilt(path))
}
