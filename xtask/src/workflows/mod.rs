//! What GitHub runs, looked at from here: the linter for `.github`, and the one job that a merge waits for.
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

/// Workflows, their actions and Dependabot's configuration, by what the files alone say.
pub fn lint(workspace: &Workspace) -> Result<(), Error> {
    let folder = workspace.built(ZIZMOR.member).join(ZIZMOR.version);
    let zizmor = wheel::ensure(&folder, &ZIZMOR, None)?;
    say::step("zizmor: .github");
    let mut command = Command::new(zizmor);
    command.current_dir(workspace.root());
    run::run(command.args([
        "--offline",
        "--no-progress",
        "--persona=pedantic",
        ".github",
    ]))
}
