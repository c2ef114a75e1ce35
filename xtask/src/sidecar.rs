//! Builds the sidecar.

use std::path::PathBuf;
use std::process::Command;

use crate::error::Error;
use crate::system::Need;
use crate::workspace::Workspace;
use crate::{run, say, system, toolchain};

/// TLS is partly C and assembler.
pub const NEED: Need = Need {
    what: "a C compiler (for the sidecar's TLS)",
    packages: &["gcc", "libc6-dev"],
    is_there: has_c_compiler,
};

/// Builds the command `portcullis`, quickly rather than fast: enough where it is not measured. Returns
/// where it lies.
pub fn build(workspace: &Workspace) -> Result<PathBuf, Error> {
    say::step("building the sidecar");
    run::run(&mut cargo(workspace))?;
    Ok(workspace.built("debug/portcullis"))
}

/// As [`build`], as fast as it is deployed.
pub fn build_optimised(workspace: &Workspace) -> Result<PathBuf, Error> {
    say::step("building the sidecar, optimised");
    run::run(cargo(workspace).arg("--release"))?;
    Ok(workspace.built("release/portcullis"))
}

/// As [`build_optimised`], with everything it needs in it: it runs on any Linux, and in an image from scratch. Names
/// are resolved by the C library's own code, which needs no other file for `/etc/hosts` and DNS. Nothing in it tells
/// where it was built.
pub fn build_static(workspace: &Workspace) -> Result<PathBuf, Error> {
    system::require(&[&NEED])?;
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    say::step("building the sidecar, optimised and static");
    let mut command = cargo(workspace);
    // With a target of its own the flags do not reach build scripts and macros, which cannot be static.
    command.args(["--release", "--target", &target]);
    toolchain::leave_no_place(&mut command, workspace, &["-Ctarget-feature=+crt-static"])?;
    run::run(&mut command)?;
    let built = workspace.built(target).join("release/portcullis");
    let stripped = built.with_extension("stripped");
    run::run(Command::new("strip").arg("-o").arg(&stripped).arg(&built))?;
    Ok(stripped)
}

fn cargo(workspace: &Workspace) -> Command {
    let mut command = run::cargo();
    command
        .current_dir(workspace.root())
        .args(["build", "--locked", "--package", "sidecar"]);
    command
}

fn has_c_compiler() -> bool {
    // CC, HOST_CC, CC_x86_64-unknown-linux-gnu and the like choose another one.
    let chooses = |variable: &str| variable.split('_').any(|word| word == "CC");
    let mut variables = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    variables.any(|variable| chooses(&variable)) || run::works(Command::new("cc").arg("--version"))
}
