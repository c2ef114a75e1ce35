//! The last steps: the sums of what was built, and the release at GitHub, by GitHub's own program.

use std::fs;
use std::process::Command;

use sha2::{Digest as _, Sha256};

use crate::error::Error;
use crate::release::oci::hex;
use crate::release::{VERSION, changelog, dist, read, write};
use crate::workspace::Workspace;
use crate::{run, say};

const SUMS: &str = "SHA256SUMS";
const TARGETS: [&str; 2] = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];

/// Writes the sums of everything that belongs to the release, which has to be there whole.
pub fn sums(workspace: &Workspace) -> Result<(), Error> {
    let folder = dist(workspace)?;
    let mut sums = String::new();
    for name in expected() {
        let bytes = read(&folder.join(&name))?;
        sums.push_str(&format!("{}  {name}\n", hex(&Sha256::digest(&bytes))));
    }
    let file = folder.join(SUMS);
    write(&file, sums.as_bytes())?;
    say::line(sums.trim_end());
    Ok(())
}

pub fn run(workspace: &Workspace, tag: &str) -> Result<(), Error> {
    changelog::check(workspace, tag)?;
    let files = dist(workspace)?;
    let notes = workspace.built("notes.md");
    write(&notes, changelog::notes(workspace)?.as_bytes())?;
    let mut gh = Command::new("gh");
    gh.current_dir(workspace.root())
        .args([
            "release",
            "create",
            tag,
            "--verify-tag",
            "--title",
            tag,
            "--notes-file",
        ])
        .arg(&notes)
        .args(
            expected()
                .chain([SUMS.to_owned()])
                .map(|name| files.join(name)),
        );
    run::run(&mut gh)?;
    fs::remove_file(&notes).map_err(Error::file("cannot remove", &notes))
}

/// Every file of a release but the sums.
fn expected() -> impl Iterator<Item = String> {
    let of_target = |target: &str| {
        ["tar.gz", "cdx.json"].map(|end| format!("portcullis-{VERSION}-{target}.{end}"))
    };
    let filter = ["wasm", "cdx.json"].map(|end| format!("portcullis-filter-{VERSION}.{end}"));
    TARGETS.into_iter().flat_map(of_target).chain(filter)
}
