//! The sidecar's image for the architecture of the machine that builds it, by `sidecar/Dockerfile`, out of the
//! program that lies in `target/image`.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use crate::engine::Engine;
use crate::error::Error;
use crate::release::oci::Layout;
use crate::release::{VERSION, image_layout, saved};
use crate::workspace::Workspace;
use crate::{package, run, say};

/// The layout of all architectures together; each has one of its own beside it.
pub const SIDECAR: &str = "portcullis";
pub const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];

pub fn run(workspace: &Workspace) -> Result<(), Error> {
    package::run(workspace, &[package::Part::Sidecar])?;
    let engine = Engine::ensure()?;
    let name = format!("portcullis:{VERSION}");
    let mut docker = engine.docker();
    docker
        .current_dir(workspace.root())
        .args(["build", "--file", "sidecar/Dockerfile"])
        .args(["--build-arg", "BINARY=packaged", "--tag", &name, "."]);
    run::run(&mut docker)?;
    say::line(lay(workspace, &engine, &name)?.display());
    Ok(())
}

/// An image that is in `engine`, of this machine's architecture, as the layout that a release pushes.
pub fn lay(workspace: &Workspace, engine: &Engine, name: &str) -> Result<PathBuf, Error> {
    let folder = image_layout(workspace, &format!("{SIDECAR}-{}", architecture()?));
    let saved = tempfile::NamedTempFile::new()
        .map_err(Error::file("cannot create a file in", std::env::temp_dir()))?;
    let mut docker = engine.docker();
    run::run(
        docker
            .args(["save", "--output"])
            .arg(saved.path())
            .arg(name),
    )?;
    let archive = File::open(saved.path()).map_err(Error::file("cannot read", saved.path()))?;
    let layout = Layout::create(&folder)?;
    let image = saved::lay(BufReader::new(archive), &layout)?;
    layout.name(image, VERSION)?;
    Ok(folder)
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
pub fn architecture() -> Result<&'static str, Error> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => Err(Error::Said(format!("no image is published for {other}"))),
    }
}
