//! Gets programs out of Debian's packages. Nothing is installed, since installers start services, and
//! CrowdSec's would report to CrowdSec: a package is unpacked in the build folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::workspace::Workspace;
use crate::{run, say};

pub struct Package {
    name: &'static str,
    megabytes: u32,
    /// What is looked for in it.
    binary: &'static str,
    /// Files that the program reads only where the installer would have put them.
    fixed: &'static [&'static str],
}

/// CrowdSec's Local API; `cscli` lies beside it.
pub const CROWDSEC: Package = Package {
    name: "crowdsec",
    megabytes: 32,
    binary: "usr/bin/crowdsec",
    fixed: &[],
};

/// `promtool` lies beside it.
pub const PROMETHEUS: Package = Package {
    name: "prometheus",
    megabytes: 19,
    binary: "usr/bin/prometheus",
    fixed: &[],
};

/// `amtool` lies beside it.
pub const ALERTMANAGER: Package = Package {
    name: "prometheus-alertmanager",
    megabytes: 11,
    binary: "usr/bin/prometheus-alertmanager",
    fixed: &[
        "usr/share/prometheus/alertmanager/default.tmpl",
        "usr/share/prometheus/alertmanager/email.tmpl",
    ],
};

/// A registry of images.
pub const REGISTRY: Package = Package {
    name: "docker-registry",
    megabytes: 5,
    binary: "usr/bin/docker-registry",
    fixed: &[],
};

/// A shell and its tools in one static program.
pub const BUSYBOX: Package = Package {
    name: "busybox-static",
    megabytes: 1,
    binary: "bin/busybox",
    fixed: &[],
};

pub const BASH: Package = Package {
    name: "bash-static",
    megabytes: 1,
    binary: "bin/bash-static",
    fixed: &[],
};

/// The certificate authorities that Mozilla trusts, a file each; this one lies beside the others.
pub const AUTHORITIES: Package = Package {
    name: "ca-certificates",
    megabytes: 1,
    binary: "usr/share/ca-certificates/mozilla/ISRG_Root_X1.crt",
    fixed: &[],
};

/// Where the files lie that the program reads only where the installer would have put them.
pub fn fixed(package: &Package) -> impl Iterator<Item = PathBuf> {
    package.fixed.iter().map(|fixed| Path::new("/").join(fixed))
}

/// The path of the package's program, fetched first if it is not there yet.
pub fn ensure(workspace: &Workspace, package: &Package) -> Result<PathBuf, Error> {
    let name = package.name;
    let folder = workspace.built(name);
    let binary = folder.join(package.binary);
    if !binary.is_file() {
        unpack(&folder, package)?;
    }
    for fixed in package.fixed {
        put_in_place(&folder, fixed, name)?;
    }
    Ok(binary)
}

fn unpack(folder: &Path, package: &Package) -> Result<(), Error> {
    let Package {
        name, megabytes, ..
    } = package;
    say::step(format_args!(
        "fetching {name} (about {megabytes} MB) as a Debian package"
    ));
    fs::create_dir_all(folder).map_err(Error::file("cannot create", folder))?;
    download(folder, name)?;
    let archive = archive_in(folder)?;
    run::run(Command::new("dpkg").arg("-x").arg(&archive).arg(folder))?;
    fs::remove_file(&archive).map_err(Error::file("cannot remove", &archive))
}

fn put_in_place(folder: &Path, fixed: &str, name: &str) -> Result<(), Error> {
    let place = Path::new("/").join(fixed);
    if place.is_file() {
        return Ok(());
    }
    let made = place
        .parent()
        .is_some_and(|parent| fs::create_dir_all(parent).is_ok());
    if made && fs::copy(folder.join(fixed), &place).is_ok() {
        return Ok(());
    }
    Err(Error::Missing {
        tool: place.display().to_string(),
        remedy: format!("run `apt-get install {name}`, or this as root"),
    })
}

/// A machine that never looked at its package lists has to do so first.
fn download(folder: &Path, name: &str) -> Result<(), Error> {
    let fetch = || {
        let mut apt = Command::new("apt-get");
        run::run(apt.args(["download", name]).current_dir(folder))
    };
    if fetch().is_ok() {
        return Ok(());
    }
    if run::is_root() {
        run::run(Command::new("apt-get").arg("update"))?;
    }
    fetch()
}

fn archive_in(folder: &Path) -> Result<PathBuf, Error> {
    let entries = fs::read_dir(folder).map_err(Error::file("cannot read", folder))?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let archive = paths.find(|path| path.extension().is_some_and(|end| end == "deb"));
    archive.ok_or_else(|| {
        let folder = folder.display();
        Error::Said(format!("apt-get download left no package in {folder}"))
    })
}
