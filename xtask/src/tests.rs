//! `cargo xtask test`: everything that has to hold, in the order in which it fails fastest.

use std::path::{Path, PathBuf};
use std::process::Command;

use kit::config::EdgeConfig;

use crate::error::Error;
use crate::system::Need;
use crate::workspace::Workspace;
use crate::{
    audit, chromium, collector, debian, envoy, filter, helm, kubectl, moto, postgres, redis, run,
    say, sidecar, system, wheel, workflows,
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
    pub fetched: Fetched,
    wasm: PathBuf,
    trap: PathBuf,
    portcullis: PathBuf,
}

/// Programs of others.
pub struct Fetched {
    pub envoy: PathBuf,
    redis: PathBuf,
    postgres: PathBuf,
    crowdsec: PathBuf,
    moto: PathBuf,
    prometheus: PathBuf,
    alertmanager: PathBuf,
    collector: PathBuf,
    kubectl: PathBuf,
    helm: PathBuf,
}

pub fn run(workspace: &Workspace, options: &Options) -> Result<(), Error> {
    // Fetched before minutes go into building.
    let fetched = fetch(workspace, &options.envoy)?;
    if options.only.is_empty() {
        check(workspace)?;
    }
    let built = build(workspace, options, fetched)?;
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
    let options = Options {
        envoy: version.to_owned(),
        only: Vec::new(),
        plugin: None,
    };
    build(workspace, &options, fetch(workspace, version)?)
}

const CURL: Need = Need {
    what: "curl (the documentation's commands need it, and they are run)",
    packages: &["curl"],
    is_there: || run::works(Command::new("curl").arg("--version")),
};

fn require_tools() -> Result<(), Error> {
    postgres::want_no_cluster();
    system::require(&[
        &sidecar::NEED,
        &wheel::NEED,
        &moto::NEED,
        &debian::NEED,
        &debian::TEMPLATES,
        &redis::NEED,
        &postgres::NEED,
        &chromium::NEED,
        &CURL,
    ])
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

fn fetch(workspace: &Workspace, version: &str) -> Result<Fetched, Error> {
    require_tools()?;
    Ok(Fetched {
        envoy: envoy::ensure(workspace, version)?,
        redis: redis::ensure()?,
        postgres: postgres::ensure()?,
        crowdsec: debian::ensure(workspace, &debian::CROWDSEC)?,
        moto: moto::ensure(workspace)?,
        prometheus: debian::ensure(workspace, &debian::PROMETHEUS)?,
        alertmanager: debian::ensure(workspace, &debian::ALERTMANAGER)?,
        collector: collector::ensure(workspace)?,
        kubectl: kubectl::ensure(workspace)?,
        helm: helm::ensure(workspace)?,
    })
}

fn build(workspace: &Workspace, options: &Options, fetched: Fetched) -> Result<Built, Error> {
    Ok(Built {
        fetched,
        wasm: match &options.plugin {
            Some(plugin) => plugin.clone(),
            None => filter::build(workspace, filter::Variant::Shipped)?,
        },
        trap: filter::build(workspace, filter::Variant::Trap)?,
        portcullis: sidecar::build(workspace)?,
    })
}

/// Envoy itself reads what is shipped: as it is, and with the plugin's file in its place, because Envoy
/// does not look into that file when it validates.
pub fn validate(workspace: &Workspace, built: &Built) -> Result<(), Error> {
    let folder = workspace.built("validate");
    std::fs::create_dir_all(&folder).map_err(Error::file("cannot create", &folder))?;
    let mut config = EdgeConfig::shipped()?;
    config.set_wasm(&built.wasm)?;
    if !kit::envoy::knows_masks(&built.fetched.envoy)? {
        config.without_masks();
    }
    for (what, config) in [
        ("envoy.yaml", &config),
        ("envoy.yaml with portcullis.yaml", &config.in_one()),
    ] {
        say::step(format_args!("envoy --mode validate: {what}"));
        let mut envoy = Command::new(&built.fetched.envoy);
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
        .env("PORTCULLIS_WASM", absolute(&built.wasm))
        .env("PORTCULLIS_WASM_TRAP", absolute(&built.trap))
        .env("PORTCULLIS_BIN", absolute(&built.portcullis));
    let fetched = &built.fetched;
    for (variable, file) in [
        ("PORTCULLIS_ENVOY", &fetched.envoy),
        ("PORTCULLIS_REDIS", &fetched.redis),
        ("PORTCULLIS_POSTGRES", &fetched.postgres),
        ("PORTCULLIS_CROWDSEC", &fetched.crowdsec),
        ("PORTCULLIS_MOTO", &fetched.moto),
        ("PORTCULLIS_PROMETHEUS", &fetched.prometheus),
        ("PORTCULLIS_ALERTMANAGER", &fetched.alertmanager),
        ("PORTCULLIS_COLLECTOR", &fetched.collector),
        ("PORTCULLIS_KUBECTL", &fetched.kubectl),
        ("PORTCULLIS_HELM", &fetched.helm),
    ] {
        command.env(variable, absolute(file));
    }
    command
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

fn cargo(workspace: &Workspace, arguments: &[&str]) -> Result<(), Error> {
    run::run(run::cargo().current_dir(workspace.root()).args(arguments))
}
