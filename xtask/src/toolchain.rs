//! Gets a compiler for the plugin's target: by rustup, or from Debian's packages where rustup cannot.

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
    "lld-web",
];

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
    if has_target() {
        return Ok(Route::Rustup);
    }
    say::step(format_args!("adding the target {TARGET} to the toolchain"));
    let added = run::run(Command::new("rustup").args(["target", "add", TARGET]));
    if added.is_ok() && has_target() {
        return Ok(Route::Rustup);
    }
    say::step("rustup could not add it, trying Debian's packages");
    if run::apt_install(&DEBIAN_PACKAGES) && install_linker() {
        return Ok(Route::Debian);
    }
    Err(Error::Missing {
        tool: format!("the Rust target {TARGET}"),
        remedy: format!(
            "run `rustup target add {TARGET}`, or `apt-get install {}`",
            DEBIAN_PACKAGES.join(" ")
        ),
    })
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
    for registry in registries()? {
        all.push(hidden(&registry, "/registry"));
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", all.join(SEPARATOR));
    Ok(())
}

fn registries() -> Result<Vec<PathBuf>, Error> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let sources = home.unwrap_or_default().join("registry/src");
    let entries = std::fs::read_dir(&sources).map_err(Error::file("cannot read", &sources))?;
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
