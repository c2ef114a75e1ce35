//! The sidecar as an archive for one architecture: the one of the machine that builds it.

use crate::error::Error;
use crate::release::archive::{Member, gzip, tar};
use crate::release::{VERSION, dist, read, sbom, write};
use crate::workspace::Workspace;
use crate::{say, sidecar};

/// Beside the program, for those who fetch nothing else.
const TEXTS: [&str; 2] = ["LICENSE", "CHANGELOG.md"];

pub fn run(workspace: &Workspace) -> Result<(), Error> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let program = sidecar::build_static(workspace)?;
    let folder = dist(workspace)?;
    let name = format!("portcullis-{VERSION}-{target}");
    let archive = folder.join(format!("{name}.tar.gz"));
    write(&archive, &pack(workspace, &name, read(&program)?)?)?;
    sbom::make(
        workspace,
        "sidecar",
        &target,
        &folder.join(format!("{name}.cdx.json")),
    )?;
    say::line(archive.display());
    Ok(())
}

fn pack(workspace: &Workspace, name: &str, program: Vec<u8>) -> Result<Vec<u8>, Error> {
    let mut members = vec![Member {
        path: format!("{name}/portcullis"),
        mode: 0o755,
        bytes: program,
    }];
    for text in TEXTS {
        members.push(Member {
            path: format!("{name}/{text}"),
            mode: 0o644,
            bytes: read(&workspace.at(text))?,
        });
    }
    gzip(&tar(&members)?)
}
