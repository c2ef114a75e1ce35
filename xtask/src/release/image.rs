//! The sidecar's image for the architecture of the machine that builds it, by `sidecar/Dockerfile`, out of the
//! program that lies in `target/image`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::error::Error;
use crate::release::{VERSION, image_layout};
use crate::workspace::Workspace;
use crate::{package, run, say};

/// The layout of all architectures together; each has one of its own beside it.
pub const SIDECAR: &str = "portcullis";
const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];

pub fn run(workspace: &Workspace) -> Result<(), Error> {
    run::require_installed("skopeo")?;
    package::run(workspace, &[package::Part::Sidecar])?;
    let name = format!("portcullis:{VERSION}");
    let mut docker = Command::new("docker");
    docker
        .current_dir(workspace.root())
        .args([
            "build",
            "--file",
            "sidecar/Dockerfile",
            "--build-arg",
            "BINARY=packaged",
        ])
        .args(["--tag", &name, "."]);
    run::run(&mut docker)?;
    let layout = image_layout(workspace, &format!("{SIDECAR}-{}", architecture()?));
    fs::create_dir_all(&layout).map_err(Error::file("cannot create", &layout))?;
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["copy", "--quiet"]).args([
        format!("docker-daemon:{name}"),
        format!("oci:{}:{VERSION}", layout.display()),
    ]);
    run::run(&mut skopeo)?;
    say::line(layout.display());
    Ok(())
}

/// The layouts of all architectures, built here or elsewhere. With one missing there is none: half an image
/// under a version's name would stay there.
pub fn built(workspace: &Workspace) -> Result<Vec<PathBuf>, Error> {
    let layout = |name: &str| {
        let folder = image_layout(workspace, &format!("{SIDECAR}-{name}"));
        match folder.join("index.json").is_file() {
            true => Ok(folder),
            false => Err(Error::Missing {
                tool: format!("the sidecar's image for {name} in target/images"),
                remedy: "run `cargo xtask release image` on such a machine".to_owned(),
            }),
        }
    };
    ARCHITECTURES.into_iter().map(layout).collect()
}

/// As images name it.
fn architecture() -> Result<&'static str, Error> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => Err(Error::Said(format!("no image is published for {other}"))),
    }
}
