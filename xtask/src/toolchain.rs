//! Gets a compiler for the plugin's target: by rustup, or from Debian's packages where rustup cannot.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::workspace::Workspace;
use crate::{run, say};

pub const TARGET: &str = "wasm32-wasip1";
const DEBIAN_PACKAGES: [&str; 5] = [
    "rustc-web",
    "cargo-web",
    "rust-web-src",
    "wasi-libc",
    "rust-web-llvm",
];

const WASI_LIBC: &str = "/usr/lib/wasm32-wasi/libc.a";
const SOURCES: &str = "/usr/lib/rustlib/src/rust/library/std";

/// Between flags in `CARGO_ENCODED_RUSTFLAGS`, so that paths may have spaces.
const SEPARATOR: &str = "\u{1f}";

/// How the plugin is compiled on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    Rustup,
    Debian,
}

/// Makes sure that the target can be compiled for; says so while it has to fetch something.
pub fn ensure() -> Result<Route, Error> {
    if let Some(route) = there() {
        return Ok(route);
    }
    say::step(format_args!("adding the target {TARGET} to the toolchain"));
    let added = run::run(Command::new("rustup").args(["target", "add", TARGET]));
    if added.is_ok() && has_target() {
        return Ok(Route::Rustup);
    }
    say::step("rustup could not add it, trying Debian's packages");
    if run::apt_install(&DEBIAN_PACKAGES) && install_linker() && is_debian_complete() {
        return Ok(Route::Debian);
    }
    Err(Error::Missing {
        tool: format!("the Rust target {TARGET}"),
        remedy: format!(
            "run `rustup target add {TARGET}`; where rustup cannot have it, run this as root on Debian, whose \
             packages it then takes ({}, and the linker)",
            DEBIAN_PACKAGES.join(", ")
        ),
    })
}

/// Rustup is not asked in vain each time where Debian's packages had to do.
fn there() -> Option<Route> {
    if has_target() {
        return Some(Route::Rustup);
    }
    is_debian_complete().then_some(Route::Debian)
}

impl Route {
    /// A cargo that can build for [`TARGET`].
    pub fn cargo(self) -> Command {
        match self {
            Self::Rustup => run::cargo(),
            Self::Debian => debian_cargo(),
        }
    }

    /// What its compiler has to be told.
    pub fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Rustup => &[],
            Self::Debian => &["-Lnative=/usr/lib/wasm32-wasi", "-Clink-self-contained=no"],
        }
    }
}

/// Has `cargo` build without a trace of where sources and dependencies lie on this machine: it would differ
/// from machine to machine, and tell who built it. `flags` are for the compiler too, since there is one place
/// for all of them.
pub fn leave_no_place(
    cargo: &mut Command,
    workspace: &Workspace,
    flags: &[&str],
) -> Result<(), Error> {
    let mut all: Vec<_> = flags.iter().map(|&flag| flag.to_owned()).collect();
    let hidden =
        |place: &Path, shown: &str| format!("--remap-path-prefix={}={shown}", place.display());
    all.push(hidden(workspace.root(), "/portcullis"));
    // A folder for each registry, named after its address.
    for registry in registries(workspace)? {
        all.push(hidden(&registry, "/registry"));
    }
    cargo
        .env("CARGO_HOME", workspace.cargo_home())
        .env("CARGO_ENCODED_RUSTFLAGS", all.join(SEPARATOR));
    Ok(())
}

fn registries(workspace: &Workspace) -> Result<Vec<PathBuf>, Error> {
    let sources = workspace.cargo_home().join("registry/src");
    let entries = match std::fs::read_dir(&sources) {
        // Whoever has the sources elsewhere, as `cargo vendor` puts them, has none here.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::file("cannot read", &sources))?,
    };
    let mut folders: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    folders.sort();
    Ok(folders)
}

/// `rust-lld` is a link to the linker of one LLVM release, and the package of that name is not among the
/// dependencies of what brings the link.
fn install_linker() -> bool {
    let linked = std::fs::read_link("/usr/bin/rust-lld").unwrap_or_default();
    let package = linked.file_name().and_then(|name| name.to_str());
    package.is_some_and(|package| run::apt_install(&[package]))
}

/// Whether everything of [`DEBIAN_PACKAGES`] and the linker are there, whoever installed them.
fn is_debian_complete() -> bool {
    let parts = ["/usr/bin/cargo", "/usr/bin/rust-lld", WASI_LIBC, SOURCES];
    let told = run::capture(Command::new("/usr/bin/rustc").arg("--version"));
    let told = told.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    parts.iter().all(|part| Path::new(part).exists()) && told.is_ok_and(|told| is_new_enough(&told))
}

/// Of what `rustc --version` prints; Debian has another compiler under the same name, which is old.
fn is_new_enough(told: &str) -> bool {
    let minor = |version: &str| version.split('.').nth(1)?.parse::<u32>().ok();
    let version = told.split(' ').nth(1).and_then(minor);
    version >= minor(env!("CARGO_PKG_RUST_VERSION"))
}

/// Debian ships no standard library for the target: it is built from source, against its wasi-libc.
fn debian_cargo() -> Command {
    let mut command = Command::new("/usr/bin/cargo");
    command
        .env("PATH", "/usr/bin:/bin")
        .env("RUSTC", "/usr/bin/rustc")
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_UNSTABLE_BUILD_STD", "std,panic_abort")
        .env("CARGO_TARGET_WASM32_WASIP1_LINKER", "rust-lld");
    command
}

fn has_target() -> bool {
    let mut rustc = Command::new("rustc");
    let Ok(output) = run::capture(rustc.args(["--print", "target-libdir", "--target", TARGET]))
    else {
        return false;
    };
    let library = String::from_utf8_lossy(&output.stdout);
    output.status.success() && Path::new(library.trim()).is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_older_than_the_workspace_needs_is_not_taken() {
        assert!(is_new_enough("rustc 1.96.0 (ac68faa20 2026-05-25)\n"));
        assert!(is_new_enough("rustc 1.95.0 (59807616e 2026-04-14)\n"));
        for old in ["rustc 1.63.0 (4b91a6ea7 2022-08-08)\n", "rustc\n", ""] {
            assert!(!is_new_enough(old), "{old:?}");
        }
    }
}
