//! `cargo xtask upgrade`: this build beside an earlier one, in all pairings of filter and sidecar, and one
//! exchanged for the other under load (`tests/tests/upgrade.rs`). The earlier one is built from its
//! revision in a folder of its own, once.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::workspace::Workspace;
use crate::{envoy, filter, run, say, sidecar, system};

/// The last build before the wire had a version: what an upgrade starts from until there is a release.
const BEFORE_RELEASES: &str = "db998035a7789af198c7b4eab3b53c18e42357ad";

pub struct Options {
    /// A revision; by default the last release's tag that is not this one.
    pub from: Option<String>,
    pub envoy: String,
}

pub fn run(workspace: &Workspace, options: &Options) -> Result<(), Error> {
    let mut needs = vec![&sidecar::NEED];
    needs.extend(envoy::need(workspace, &options.envoy));
    system::require(&needs)?;
    let revision = match &options.from {
        Some(revision) => resolve(workspace, revision)?,
        None => last_release(workspace).unwrap_or_else(|| BEFORE_RELEASES.to_owned()),
    };
    say::step(format_args!("upgrading from {revision}"));
    let (wasm_before, sidecar_before) = build_before(workspace, &revision)?;
    let wasm = filter::build(workspace, filter::Variant::Shipped)?;
    let portcullis = sidecar::build(workspace)?;
    let envoy = envoy::ensure(workspace, &options.envoy)?;
    say::step("the upgrade's tests");
    let mut command = run::cargo();
    let arguments = [
        "test",
        "--locked",
        "--package",
        "portcullis-tests",
        "--test",
        "upgrade",
    ];
    command
        .current_dir(workspace.root())
        .args(arguments)
        .args(["--", "--ignored"])
        .env("PORTCULLIS_ENVOY", envoy)
        .env("PORTCULLIS_WASM", wasm)
        .env("PORTCULLIS_BIN", portcullis)
        .env("PORTCULLIS_WASM_BEFORE", wasm_before)
        .env("PORTCULLIS_BIN_BEFORE", sidecar_before);
    run::run(&mut command)
}

/// The plugin and the sidecar of `revision`.
fn build_before(workspace: &Workspace, revision: &str) -> Result<(PathBuf, PathBuf), Error> {
    let checkout = workspace.built("upgrade").join(revision);
    if !checkout.is_dir() {
        git(workspace, &["worktree", "prune"])?;
        let add = ["worktree", "add", "--quiet", "--detach"];
        let mut command = Command::new("git");
        command.current_dir(workspace.root()).args(add);
        run::run(command.arg(&checkout).arg(revision))?;
    }
    // Its own, but one for all revisions: what they depend on is much the same.
    let target = workspace.built("upgrade/target");
    say::step("building the earlier plugin and sidecar");
    cargo_of(
        &checkout,
        &target,
        &["run", "--package", "xtask", "--", "filter"],
    )?;
    cargo_of(
        &checkout,
        &target,
        &["build", "--locked", "--package", "sidecar"],
    )?;
    Ok((
        target.join("portcullis.wasm"),
        target.join("debug/portcullis"),
    ))
}

fn cargo_of(checkout: &Path, target: &Path, arguments: &[&str]) -> Result<(), Error> {
    let mut cargo = run::cargo();
    let here = cargo.current_dir(checkout).env("CARGO_TARGET_DIR", target);
    run::run(here.args(arguments))
}

/// The commit that a name stands for, so that the same one is built once.
fn resolve(workspace: &Workspace, revision: &str) -> Result<String, Error> {
    let commit = format!("{revision}^{{commit}}");
    let found = git(workspace, &["rev-parse", "--verify", &commit])?;
    Ok(found.trim().to_owned())
}

fn last_release(workspace: &Workspace) -> Option<String> {
    let mut command = Command::new("git");
    let arguments = ["describe", "--tags", "--abbrev=0", "--match", "v*", "HEAD^"];
    let output = run::capture(command.current_dir(workspace.root()).args(arguments)).ok()?;
    let tag = String::from_utf8(output.stdout).ok()?;
    let found = output.status.success().then_some(tag)?;
    resolve(workspace, found.trim()).ok()
}

fn git(workspace: &Workspace, arguments: &[&str]) -> Result<String, Error> {
    run::printed(
        Command::new("git")
            .current_dir(workspace.root())
            .args(arguments),
    )
}
