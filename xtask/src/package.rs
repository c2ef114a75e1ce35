//! `cargo xtask package`: the files that go into the images, under `target/image`, where the Dockerfiles look for them.

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::workspace::Workspace;
use crate::{filter, say, sidecar};

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// plugin.wasm
    Plugin,
    /// portcullis, without shared libraries
    Sidecar,
}

/// In the checkout, wherever cargo builds: it must lie in the images' build context.
const FOLDER: &str = "target/image";

/// Builds these parts, or both if none is named.
pub fn run(workspace: &Workspace, parts: &[Part]) -> Result<(), Error> {
    let wanted = |part| parts.is_empty() || parts.contains(&part);
    if wanted(Part::Plugin) {
        let built = filter::build(workspace, filter::Variant::Shipped)?;
        put(workspace, &built, "plugin.wasm")?;
    }
    if wanted(Part::Sidecar) {
        let built = sidecar::build_static(workspace)?;
        put(workspace, &built, "portcullis")?;
    }
    Ok(())
}

fn put(workspace: &Workspace, built: &Path, name: &str) -> Result<PathBuf, Error> {
    let folder = workspace.at(FOLDER);
    std::fs::create_dir_all(&folder).map_err(Error::file("cannot create", &folder))?;
    let place = folder.join(name);
    std::fs::copy(built, &place).map_err(Error::file("cannot write", &place))?;
    say::line(place.display());
    Ok(place)
}
