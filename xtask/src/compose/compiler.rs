//! What stands in for the compiler's image: a bare Debian with a C compiler, less than that image has, and the toolchain
//! that it has, fetched by rustup as it was there. What our build adds to the toolchain it has to fetch itself.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::run;

/// Of what the image has, what our build needs: were anything else needed, a build by the stand-in would tell.
const PACKAGES: &str = "ca-certificates,gcc,libc6-dev";
/// Where the image has rustup, and how it tells.
pub const CHANGES: [&str; 4] = [
    "ENV RUSTUP_HOME=/usr/local/rustup",
    "ENV CARGO_HOME=/usr/local/cargo",
    "ENV PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "CMD [\"bash\"]",
];
const RUSTUP_HOME: &str = "usr/local/rustup";
const CARGO_HOME: &str = "usr/local/cargo";
/// Programs that are rustup under another name.
const PROXIES: [&str; 3] = ["cargo", "rustc", "rustdoc"];
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";

/// Fills an empty folder, which becomes the root of `image`: `rust:VERSION-SUITE`.
pub fn fill(root: &Path, image: &str) -> Result<(), Error> {
    let tag = image
        .split_once(':')
        .and_then(|(_, tag)| tag.split_once('-'));
    let (version, suite) =
        tag.ok_or_else(|| Error::Said(format!("{image} is not named rust:VERSION-SUITE")))?;
    debian(root, suite)?;
    authorities(root)?;
    rustup(root, version)
}

fn debian(root: &Path, suite: &str) -> Result<(), Error> {
    run::require_installed("debootstrap")?;
    let mut debootstrap = Command::new("debootstrap");
    debootstrap
        .args(["--variant=minbase", "--include", PACKAGES, suite])
        .arg(root);
    let output = run::capture(&mut debootstrap)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let last: Vec<_> = said.lines().rev().take(5).collect();
    Err(Error::Said(format!("debootstrap failed: {last:?}")))
}

/// Whom this machine trusts, the stand-in trusts too: crates may come by way of a proxy that opens TLS.
fn authorities(root: &Path) -> Result<(), Error> {
    let ours = Path::new("/").join(AUTHORITIES);
    match ours.is_file() {
        true => copy(&ours, &root.join(AUTHORITIES)),
        false => Ok(()),
    }
}

fn rustup(root: &Path, version: &str) -> Result<(), Error> {
    let programs = root.join(CARGO_HOME).join("bin");
    fs::create_dir_all(&programs).map_err(Error::file("cannot create", &programs))?;
    let rustup = program()?;
    copy(&rustup, &programs.join("rustup"))?;
    for proxy in PROXIES {
        let place = programs.join(proxy);
        symlink("rustup", &place).map_err(Error::file("cannot link", &place))?;
    }
    let mut install = Command::new(rustup);
    install
        .args(["--quiet", "toolchain", "install", version])
        .args(["--profile", "minimal", "--no-self-update"])
        .env("RUSTUP_HOME", root.join(RUSTUP_HOME))
        .env("CARGO_HOME", root.join(CARGO_HOME))
        .env_remove("RUSTUP_TOOLCHAIN");
    run::run(&mut install)
}

/// rustup itself, wherever it lies: called by another name, it is another program.
fn program() -> Result<PathBuf, Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|folder| folder.join("rustup"));
    let found = found.find_map(|place| place.canonicalize().ok());
    found.ok_or_else(|| Error::Missing {
        tool: "rustup".to_owned(),
        remedy: "the compiler's image is stood in for with the toolchain that it fetches"
            .to_owned(),
    })
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    fs::copy(from, to)
        .map(drop)
        .map_err(Error::file("cannot write", to))
}
