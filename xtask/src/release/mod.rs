//! `cargo xtask release …`: the steps from a tag to what users fetch. Each is a command of its own that runs
//! on any machine; the workflow puts them in order. Files come to lie in `target/dist`, images as OCI
//! layouts in `target/images`.

mod archive;
mod build;
mod changelog;
mod image;
mod oci;
mod publish;
mod push;
pub mod rehearse;
mod saved;
mod sbom;
mod wasm;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use crate::error::Error;
use crate::workspace::Workspace;

/// The version of every package in the workspace.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Subcommand)]
pub enum Task {
    /// Whether this checkout is what the tag says: the version in Cargo.toml, a section in CHANGELOG.md.
    Check {
        #[arg(long)]
        tag: String,
    },
    /// Print what CHANGELOG.md says of the version in Cargo.toml.
    Notes,
    /// Build the sidecar for this machine's architecture, as an archive, with its bill of materials.
    Build,
    /// Build the plugin, as a file and as an image in both forms that proxies fetch.
    Wasm {
        /// Build it a second time elsewhere first, and end if the bytes differ.
        #[arg(long)]
        twice: bool,
    },
    /// Build the sidecar's image for this machine's architecture.
    Image,
    /// Push what lies in target/images to a registry, with the sidecar's architectures under one name.
    Push {
        /// Such as ghcr.io/portcullis.
        #[arg(long)]
        registry: String,
        /// Speak HTTP: for a registry on this machine.
        #[arg(long)]
        plain: bool,
    },
    /// Push the plugin's images to a registry on this machine, fetch them, and let Envoy run what came back.
    Rehearse,
    /// Write the SHA-256 sums of the files in target/dist, which have to be all that a release has.
    Sums,
    /// Put this very program at target/xtask, for a job that must compile nothing.
    Hand,
    /// Make the release at GitHub out of what lies in target/dist.
    Publish {
        #[arg(long)]
        tag: String,
    },
}

pub fn run(workspace: &Workspace, task: Task) -> Result<(), Error> {
    match task {
        Task::Check { tag } => changelog::check(workspace, &tag),
        Task::Notes => changelog::print_notes(workspace),
        Task::Build => build::run(workspace),
        Task::Wasm { twice } => wasm::run(workspace, twice),
        Task::Image => image::run(workspace),
        Task::Rehearse => rehearse::run(workspace),
        Task::Sums => publish::sums(workspace),
        Task::Hand => hand(workspace),
        Task::Push { registry, plain } => push::run(workspace, &registry, plain),
        Task::Publish { tag } => publish::run(workspace, &tag),
    }
}

fn hand(workspace: &Workspace) -> Result<(), Error> {
    let here = std::env::current_exe().map_err(Error::file("cannot find", Path::new("xtask")))?;
    let handed = workspace.built("xtask");
    // Copied onto itself a file would be empty.
    if here != handed {
        fs::copy(&here, &handed).map_err(Error::file("cannot copy to", &handed))?;
    }
    Ok(())
}

/// Where files for users come to lie.
fn dist(workspace: &Workspace) -> Result<PathBuf, Error> {
    let folder = workspace.built("dist");
    fs::create_dir_all(&folder).map_err(Error::file("cannot create", &folder))?;
    Ok(folder)
}

/// Where the layout of an image lies.
fn image_layout(workspace: &Workspace, name: &str) -> PathBuf {
    workspace.built("images").join(name)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(Error::file("cannot read", path))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    fs::write(path, bytes).map_err(Error::file("cannot write", path))
}
