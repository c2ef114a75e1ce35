//! Builds the sidecar.

use std::path::PathBuf;

use crate::error::Error;
use crate::workspace::Workspace;
use crate::{run, say};

/// Builds the command `portcullis`, quickly rather than fast: nothing here measures it. Returns where
/// it lies.
pub fn build(workspace: &Workspace) -> Result<PathBuf, Error> {
    say::step("building the sidecar");
    let mut command = run::cargo();
    command
        .current_dir(workspace.root())
        .args(["build", "--locked", "--package", "sidecar"]);
    run::run(&mut command)?;
    Ok(workspace.built("debug/portcullis"))
}
