//! The sidecar's image on its way: laid out as a release does, pushed, pulled by Docker, and run.
//!
//! Of its two architectures one is built here. The other is this one under the other's name, so that the push is tried
//! whole; nobody pulls it.

use super::start;
use crate::engine::Engine;
use crate::error::Error;
use crate::release::oci::Layout;
use crate::release::{VERSION, image, image_layout, push, wasm};
use crate::workspace::Workspace;
use crate::{run, say};

/// A Wasm module with nothing in it: the plugin's own way is rehearsed with the plugin.
const EMPTY_MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// `image` is in `engine`.
pub fn run(workspace: &Workspace, engine: &Engine, image: &str) -> Result<(), Error> {
    run::require_installed("skopeo")?;
    let folder = tempfile::tempdir().map_err(Error::file(
        "cannot create a folder in",
        std::env::temp_dir(),
    ))?;
    let (_process, address) = start(workspace, folder.path())?;
    let address = address.to_string();
    let elsewhere =
        Workspace::at_place(workspace.root().to_path_buf(), folder.path().join("target"));
    wasm::images(&elsewhere, EMPTY_MODULE)?;
    image::lay(&elsewhere, engine, image)?;
    refuse_half(&elsewhere, &address)?;
    under_the_other_name(&elsewhere)?;
    push::run(&elsewhere, &address, true)?;
    let pulled = format!("{address}/{}:{VERSION}", image::SIDECAR);
    run::printed(engine.docker().args(["pull", "--quiet", &pulled]))?;
    let same = same(engine, image, &pulled);
    run::works(engine.docker().args(["image", "rm", &pulled]));
    same?;
    say::step("the sidecar's image came back from a registry as it was pushed, and runs");
    Ok(())
}

/// With one architecture there, nothing may be pushed, not even the plugin.
fn refuse_half(elsewhere: &Workspace, address: &str) -> Result<(), Error> {
    match push::run(elsewhere, address, true) {
        Ok(()) => Err(Error::Said(
            "half of the sidecar's image was pushed".to_owned(),
        )),
        Err(Error::Missing { tool, .. }) => {
            say::step(format_args!("not pushed without {tool}"));
            Ok(())
        }
        Err(other) => Err(other),
    }
}

fn under_the_other_name(elsewhere: &Workspace) -> Result<(), Error> {
    let ours = image::architecture()?;
    let place = |name: &str| image_layout(elsewhere, &format!("{}-{name}", image::SIDECAR));
    let from = Layout::open(&place(ours));
    for other in image::ARCHITECTURES
        .into_iter()
        .filter(|name| *name != ours)
    {
        let to = Layout::create(&place(other))?;
        to.take_blobs(&from)?;
        let image = to.claimed(&from.image()?, other)?;
        to.name(image, VERSION)?;
    }
    Ok(())
}

/// What Docker pulled is set up as what was built, has the same layers, and answers.
fn same(engine: &Engine, built: &str, pulled: &str) -> Result<(), Error> {
    let format = "{{json .Config}} {{json .RootFS.Layers}} {{.Architecture}}";
    let inspect = |image: &str| {
        run::printed(
            engine
                .docker()
                .args(["image", "inspect", "--format", format, image]),
        )
    };
    let (before, after) = (inspect(built)?, inspect(pulled)?);
    if before != after {
        return Err(Error::Said(format!(
            "the image came back as another one: {before} was pushed, {after} pulled"
        )));
    }
    let once = [
        "run",
        "--rm",
        "--network",
        "none",
        "--read-only",
        pulled,
        "--version",
    ];
    let told = run::printed(engine.docker().args(once))?;
    match told.contains(VERSION) {
        true => Ok(()),
        false => Err(Error::Said(format!("the pulled image is {}", told.trim()))),
    }
}
