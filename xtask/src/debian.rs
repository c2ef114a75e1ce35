//! Gets CrowdSec's Local API out of Debian's package. Nothing is installed, since the installer would
//! report to CrowdSec: the package is unpacked in the build folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::workspace::Workspace;
use crate::{run, say};

const PACKAGE: &str = "crowdsec";

/// The path of `crowdsec`, fetched first if it is not there yet; `cscli` lies beside it.
pub fn ensure(workspace: &Workspace) -> Result<PathBuf, Error> {
    let folder = workspace.built(PACKAGE);
    let binary = folder.join("usr/bin/crowdsec");
    if binary.is_file() {
        return Ok(binary);
    }
    say::step("fetching CrowdSec (about 32 MB) as a Debian package");
    fs::create_dir_all(&folder).map_err(Error::file("cannot create", &folder))?;
    download(&folder)?;
    let package = package_in(&folder)?;
    run::run(Command::new("dpkg").arg("-x").arg(&package).arg(&folder))?;
    fs::remove_file(&package).map_err(Error::file("cannot remove", &package))?;
    Ok(binary)
}

/// A machine that never looked at its package lists has to do so first.
fn download(folder: &Path) -> Result<(), Error> {
    let fetch = || {
        let mut apt = Command::new("apt-get");
        run::run(apt.args(["download", PACKAGE]).current_dir(folder))
    };
    if fetch().is_ok() {
        return Ok(());
    }
    if run::is_root() {
        run::run(Command::new("apt-get").arg("update"))?;
    }
    fetch()
}

fn package_in(folder: &Path) -> Result<PathBuf, Error> {
    let entries = fs::read_dir(folder).map_err(Error::file("cannot read", folder))?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let package = paths.find(|path| path.extension().is_some_and(|end| end == "deb"));
    package.ok_or_else(|| Error::Said("apt-get download left no package of CrowdSec".to_owned()))
}
