//! `cargo xtask pin`, tried on copies of the files that it writes, with a registry on this machine in place of Docker's.
//! It holds an empty image under each name; their digests have to come to stand behind the tags.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::error::Error;
use crate::release::image::ARCHITECTURES;
use crate::release::oci::{CONFIG, Layout};
use crate::release::{VERSION, read, write};
use crate::workspace::Workspace;
use crate::{pin, run, say};

pub fn run(workspace: &Workspace, registry: SocketAddr, folder: &Path) -> Result<(), Error> {
    let copy = folder.join("files");
    let mut expected = Vec::new();
    for file in pin::FILES {
        let text = read(&workspace.at(file))?;
        let text = pin::unpinned(&String::from_utf8_lossy(&text));
        for image in pin::references(&text) {
            let digest = push(registry, &folder.join("image"), &image)?;
            expected.push((file, format!("{image}@{digest}")));
        }
        let to = copy.join(file);
        let parent = to.parent().unwrap_or(&to);
        fs::create_dir_all(parent).map_err(Error::file("cannot create", parent))?;
        write(&to, text.as_bytes())?;
    }
    let registries = folder.join("registries.conf");
    let ours = format!(
        "[[registry]]\nprefix = \"docker.io\"\nlocation = \"{registry}\"\ninsecure = true\n"
    );
    write(&registries, ours.as_bytes())?;
    let copied = Workspace::at_place(copy.clone(), folder.join("target"));
    pin::by(&copied, Some(&registries))?;
    for (file, pinned) in &expected {
        let text = read(&copy.join(file))?;
        if !String::from_utf8_lossy(&text).contains(pinned) {
            return Err(Error::Said(format!("{file} is not pinned to {pinned}")));
        }
    }
    say::step(format_args!(
        "{} images are pinned as their registry says",
        expected.len()
    ));
    Ok(())
}

/// An image for all platforms, of which no other has the digest; that digest.
fn push(registry: SocketAddr, folder: &Path, image: &str) -> Result<String, Error> {
    let layout = Layout::create(folder)?;
    let about = json!({"org.opencontainers.image.title": image});
    let platform = |name: &str| json!({"os": "linux", "architecture": name});
    let part = |name: &str| {
        let config = layout.blob(CONFIG, platform(name).to_string().as_bytes())?;
        let manifest = layout.manifest(&config, &[], &about)?;
        Ok(manifest.with("platform", platform(name)))
    };
    let parts: Result<Vec<_>, Error> = ARCHITECTURES.into_iter().map(part).collect();
    let index = layout.index(&parts?, &about)?;
    let digest = index.digest().to_owned();
    layout.name(index, VERSION)?;
    let name = match image.contains('/') {
        true => image.to_owned(),
        false => format!("library/{image}"),
    };
    let mut skopeo = Command::new("skopeo");
    skopeo
        .args([
            "copy",
            "--quiet",
            "--all",
            "--preserve-digests",
            "--dest-tls-verify=false",
        ])
        .arg(format!("oci:{}:{VERSION}", folder.display()))
        .arg(format!("docker://{registry}/{name}"));
    run::run(&mut skopeo)?;
    Ok(digest)
}
