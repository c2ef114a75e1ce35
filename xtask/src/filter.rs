//! Builds the plugin: cargo for the Wasm target, then the finish.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::error::Error;
use crate::workspace::Workspace;
use crate::{finish, run, say, toolchain};

/// The most that the plugin may have: every proxy fetches it, and every VM compiles it.
const MOST_BYTES: usize = 400_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// What is deployed.
    Shipped,
    /// A build for tests whose configuration may name a callback in which the VM traps.
    Trap,
    /// A build for `cargo xtask soak` that logs how long its callbacks took.
    Timed,
}

impl Variant {
    fn file_name(self) -> &'static str {
        match self {
            Self::Shipped => "portcullis.wasm",
            Self::Trap => "portcullis-trap.wasm",
            Self::Timed => "portcullis-timed.wasm",
        }
    }

    fn features(self) -> &'static [&'static str] {
        match self {
            Self::Shipped => &[],
            Self::Trap => &["--features", "trap"],
            Self::Timed => &["--features", "timed"],
        }
    }

    /// Each variant has its own build folder, so that none rebuilds another.
    fn build_dir(self) -> &'static str {
        match self {
            Self::Shipped => "wasm",
            Self::Trap => "wasm-trap",
            Self::Timed => "wasm-timed",
        }
    }
}

/// Builds and finishes the plugin; returns where it lies.
pub fn build(workspace: &Workspace, variant: Variant) -> Result<PathBuf, Error> {
    let route = toolchain::ensure()?;
    say::step(format_args!(
        "building {} for {}",
        variant.file_name(),
        toolchain::TARGET
    ));
    let mut command = wasm_cargo(workspace, route, "build", "filter", variant)?;
    run::run(command.args(["--lib", "--profile", "wasm"]))?;
    let raw = built_by_cargo(workspace, variant, "filter.wasm");
    let finished = workspace.built(variant.file_name());
    finish_file(raw, finished)
}

/// Builds the stock no-op filter that the plugin is measured against; it is not finished.
pub fn build_noop(workspace: &Workspace) -> Result<PathBuf, Error> {
    let route = toolchain::ensure()?;
    say::step("building the stock no-op filter");
    let variant = Variant::Shipped;
    let mut command = wasm_cargo(workspace, route, "build", "noop", variant)?;
    run::run(command.args(["--profile", "wasm"]))?;
    Ok(built_by_cargo(workspace, variant, "noop.wasm"))
}

/// Lints the plugin for the target it runs on.
pub fn lint(workspace: &Workspace) -> Result<(), Error> {
    let route = toolchain::ensure()?;
    let mut command = wasm_cargo(workspace, route, "clippy", "filter", Variant::Shipped)?;
    run::run(command.args(["--", "-D", "warnings"]))
}

/// Cargo for one package on the plugin's target, in the build folder of `variant`.
fn wasm_cargo(
    workspace: &Workspace,
    route: toolchain::Route,
    task: &str,
    package: &str,
    variant: Variant,
) -> Result<Command, Error> {
    let mut command = route.cargo();
    command
        .current_dir(workspace.root())
        .args([task, "--locked", "--package", package])
        .args(["--target", toolchain::TARGET, "--target-dir"])
        .arg(workspace.built(variant.build_dir()))
        .args(variant.features());
    toolchain::leave_no_place(&mut command, workspace, route.flags())?;
    Ok(command)
}

fn built_by_cargo(workspace: &Workspace, variant: Variant, file: &str) -> PathBuf {
    let target = workspace.built(variant.build_dir()).join(toolchain::TARGET);
    target.join("wasm").join(file)
}

fn finish_file(raw: PathBuf, finished: PathBuf) -> Result<PathBuf, Error> {
    let module = fs::read(&raw).map_err(Error::file("cannot read", &raw))?;
    let shipped = finish::finish(&module)?;
    fs::write(&finished, &shipped).map_err(Error::file("cannot write", &finished))?;
    say::line(format_args!(
        "{}: {} KiB ({} KiB before the finish)",
        finished.display(),
        shipped.len().div_ceil(1024),
        module.len().div_ceil(1024),
    ));
    require_small(&shipped)?;
    Ok(finished)
}

fn require_small(module: &[u8]) -> Result<(), Error> {
    let bytes = module.len();
    if bytes <= MOST_BYTES {
        return Ok(());
    }
    Err(Error::Finish(format!(
        "it has {bytes} bytes, and {MOST_BYTES} are the most"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_that_grew_too_large_is_refused() {
        assert!(require_small(&vec![0; MOST_BYTES]).is_ok());
        assert!(require_small(&vec![0; MOST_BYTES + 1]).is_err());
    }
}
