//! Builds the sidecar.

use std::path::PathBuf;

use crate::error::Error;
use crate::workspace::Workspace;
use crate::{run, say};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Quickly built: tests and demo.
    Dev,
    /// What is measured.
    Release,
}

/// Builds the command `portcullis`; returns where it lies.
pub fn build(workspace: &Workspace, profile: Profile) -> Result<PathBuf, Error> {
    let (name, folder) = match profile {
        Profile::Dev => ("dev", "debug"),
        Profile::Release => ("release", "release"),
    };
    say::step(format_args!("building the sidecar ({name})"));
    let mut command = run::cargo();
    command.current_dir(workspace.root()).args([
        "build",
        "--locked",
        "--package",
        "sidecar",
        "--profile",
        name,
    ]);
    run::run(&mut command)?;
    Ok(workspace.built(folder).join("portcullis"))
}
