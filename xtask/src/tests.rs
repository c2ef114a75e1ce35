//! `cargo xtask test`: everything that has to hold, in the order in which it fails fastest.

use std::path::{Path, PathBuf};
use std::process::Command;

use kit::config::EdgeConfig;

use crate::error::Error;
use crate::workspace::Workspace;
use crate::{
    audit, chromium, collector, debian, envoy, filter, helm, kubectl, moto, redis, run, say,
    sidecar, workflows,
};

/// Crates that are built for Wasm only.
const WASM_ONLY: [&str; 2] = ["--exclude", "noop"];

pub struct Options {
    pub envoy: String,
    /// Names of end-to-end tests; if there are any, only they run.
    pub only: Vec<String>,
    /// The plugin to test, if not one that is built for it.
    pub plugin: Option<PathBuf>,
}

/// What the end-to-end tests run against.
pub struct Built {
    pub envoy: PathBuf,
    wasm: PathBuf,
    trap: PathBuf,
    portcullis: PathBuf,
    redis: PathBuf,
    crowdsec: PathBuf,
    moto: PathBuf,
    prometheus: PathBuf,
    alertmanager: PathBuf,
    collector: PathBuf,
    kubectl: PathBuf,
    helm: PathBuf,
}

pub fn run(workspace: &Workspace, options: &Options) -> Result<(), Error> {
    require_tools(workspace, &options.envoy)?;
    if options.only.is_empty() {
        check(workspace)?;
    }
    let built = build(workspace, options)?;
    if options.only.is_empty() {
        validate(workspace, &built)?;
    }
    say::step("end-to-end tests");
    run::run(&mut end_to_end(workspace, &built, &options.only))?;
    say::step("all passed");
    Ok(())
}

/// Everything that the end-to-end tests need.
pub fn prepare(workspace: &Workspace, version: &str) -> Result<Built, Error> {
    require_tools(workspace, version)?;
    let options = Options {
        envoy: version.to_owned(),
        only: Vec::new(),
        plugin: None,
    };
    build(workspace, &options)
}

fn require_tools(workspace: &Workspace, version: &str) -> Result<(), Error> {
    sidecar::require_tools()?;
    envoy::require_tools(workspace, version)?;
    redis::ensure()?;
    chromium::ensure()?;
    // The runbook's commands need it, and they are run.
    run::require_installed("curl")
}

/// Formatting, lints, the workflows, the dependencies and unit tests.
fn check(workspace: &Workspace) -> Result<(), Error> {
    say::step("formatting");
    cargo(workspace, &["fmt", "--all", "--check"])?;
    workflows::lint(workspace)?;
    audit::policy(workspace)?;
    say::step("lints");
    let lints = ["clippy", "--locked", "--workspace"];
    cargo(
        workspace,
        &[
            &lints,
            &WASM_ONLY[..],
            &["--all-targets", "--", "-D", "warnings"],
        ]
        .concat(),
    )?;
    filter::lint(workspace)?;
    say::step("unit tests");
    let tests = [
        "test",
        "--locked",
        "--workspace",
        "--exclude",
        "portcullis-tests",
    ];
    cargo(workspace, &[&tests, &WASM_ONLY[..]].concat())?;
    cargo(
        workspace,
        &["test", "--locked", "--package", "portcullis-tests", "--lib"],
    )
}

fn build(workspace: &Workspace, options: &Options) -> Result<Built, Error> {
    Ok(Built {
        wasm: match &options.plugin {
            Some(plugin) => plugin.clone(),
            None => filter::build(workspace, filter::Variant::Shipped)?,
        },
        trap: filter::build(workspace, filter::Variant::Trap)?,
        portcullis: sidecar::build(workspace)?,
        envoy: envoy::ensure(workspace, &options.envoy)?,
        redis: redis::ensure()?,
        crowdsec: debian::ensure(workspace, &debian::CROWDSEC)?,
        moto: moto::ensure(workspace)?,
        prometheus: debian::ensure(workspace, &debian::PROMETHEUS)?,
        alertmanager: debian::ensure(workspace, &debian::ALERTMANAGER)?,
        collector: collector::ensure(workspace)?,
        kubectl: kubectl::ensure(workspace)?,
        helm: helm::ensure(workspace)?,
    })
}

/// Envoy itself reads what is shipped: as it is, and with the plugin's file in its place, because Envoy
/// does not look into that file when it validates.
pub fn validate(workspace: &Workspace, built: &Built) -> Result<(), Error> {
    let folder = workspace.built("validate");
    std::fs::create_dir_all(&folder).map_err(Error::file("cannot create", &folder))?;
    let mut config = EdgeConfig::shipped()?;
    config.set_wasm(&built.wasm)?;
    if !kit::envoy::knows_masks(&built.envoy)? {
        config.without_masks();
    }
    for (what, config) in [
        ("envoy.yaml", &config),
        ("envoy.yaml with portcullis.yaml", &config.in_one()),
    ] {
        say::step(format_args!("envoy --mode validate: {what}"));
        let mut envoy = Command::new(&built.envoy);
        run::run(
            envoy
                .args(["--mode", "validate", "--log-level", "warn", "-c"])
                .arg(config.write(&folder)?),
        )?;
    }
    Ok(())
}

/// The command that runs them.
pub fn end_to_end(workspace: &Workspace, built: &Built, only: &[String]) -> Command {
    let mut command = run::cargo();
    command
        .current_dir(workspace.root())
        .args([
            "test",
            "--locked",
            "--package",
            "portcullis-tests",
            "--test",
            "e2e",
            "--",
        ])
        .args(only)
        .env("PORTCULLIS_ENVOY", absolute(&built.envoy))
        .env("PORTCULLIS_WASM", absolute(&built.wasm))
        .env("PORTCULLIS_WASM_TRAP", absolute(&built.trap))
        .env("PORTCULLIS_BIN", absolute(&built.portcullis))
        .env("PORTCULLIS_REDIS", absolute(&built.redis))
        .env("PORTCULLIS_CROWDSEC", absolute(&built.crowdsec))
        .env("PORTCULLIS_MOTO", absolute(&built.moto))
        .env("PORTCULLIS_PROMETHEUS", absolute(&built.prometheus))
        .env("PORTCULLIS_ALERTMANAGER", absolute(&built.alertmanager))
        .env("PORTCULLIS_COLLECTOR", absolute(&built.collector))
        .env("PORTCULLIS_KUBECTL", absolute(&built.kubectl))
        .env(
            "PORTCULLIS_HELM",
            absolute(&built.helm).join("helm_python/__init__.py"),
        );
    command
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

fn cargo(workspace: &Workspace, arguments: &[&str]) -> Result<(), Error> {
    run::run(run::cargo().current_dir(workspace.root()).args(arguments))
}
