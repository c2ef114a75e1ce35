//! Gets programs out of Debian's packages. Nothing is installed, since installers start services, and
//! CrowdSec's would report to CrowdSec: a package is unpacked in the build folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::fetched::{self, Fetched, Origin};
use crate::system::Need;
use crate::workspace::Workspace;
use crate::{run, say};

pub struct Package {
    name: &'static str,
    megabytes: u32,
    /// What is looked for in it.
    binary: &'static str,
    /// Names another one.
    variable: Option<&'static str>,
    /// Files that the program reads only where the installer would have put them.
    fixed: &'static [&'static str],
}

/// CrowdSec's Local API; `cscli` lies beside it.
pub const CROWDSEC: Package = Package {
    name: "crowdsec",
    megabytes: 32,
    binary: "usr/bin/crowdsec",
    variable: Some("PORTCULLIS_CROWDSEC"),
    fixed: &[],
};

/// `promtool` lies beside it.
pub const PROMETHEUS: Package = Package {
    name: "prometheus",
    megabytes: 19,
    binary: "usr/bin/prometheus",
    variable: Some("PORTCULLIS_PROMETHEUS"),
    fixed: &[],
};

/// `amtool` lies beside it.
pub const ALERTMANAGER: Package = Package {
    name: "prometheus-alertmanager",
    megabytes: 11,
    binary: "usr/bin/prometheus-alertmanager",
    variable: Some("PORTCULLIS_ALERTMANAGER"),
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
    variable: None,
    fixed: &[],
};

/// A shell and its tools in one static program.
pub const BUSYBOX: Package = Package {
    name: "busybox-static",
    megabytes: 1,
    binary: "bin/busybox",
    variable: None,
    fixed: &[],
};

pub const BASH: Package = Package {
    name: "bash-static",
    megabytes: 1,
    binary: "bin/bash-static",
    variable: None,
    fixed: &[],
};

/// The certificate authorities that Mozilla trusts, a file each; this one lies beside the others.
pub const AUTHORITIES: Package = Package {
    name: "ca-certificates",
    megabytes: 1,
    binary: "usr/share/ca-certificates/mozilla/ISRG_Root_X1.crt",
    variable: None,
    fixed: &[],
};

/// Where the files lie that the program reads only where the installer would have put them.
pub fn fixed(package: &Package) -> impl Iterator<Item = PathBuf> {
    package.fixed.iter().map(|fixed| Path::new("/").join(fixed))
}

/// The path of the package's program, fetched first if it is not there yet.
pub fn ensure(workspace: &Workspace, package: &Package) -> Result<PathBuf, Error> {
    let name = package.name;
    if let Some(given) = package.variable.map(fetched::given).transpose()?.flatten() {
        return Ok(given);
    }
    let folder = workspace.built(name);
    let fetched = Fetched {
        folder: &folder,
        what: name,
        file: folder.join(package.binary),
    };
    let binary = fetched.or_by(|| unpack(&folder, package))?;
    for fixed in package.fixed {
        put_in_place(&folder, fixed, name)?;
    }
    Ok(binary)
}

/// What an ordinary user cannot put in place: the files that Alertmanager reads where the installer puts them.
pub const TEMPLATES: Need = Need {
    what: "Alertmanager's templates (read from a folder of the system)",
    packages: &["prometheus-alertmanager"],
    is_there: || {
        let given = ALERTMANAGER.variable.and_then(std::env::var_os);
        run::is_root() || given.is_some() || fixed(&ALERTMANAGER).all(|path| path.is_file())
    },
};

/// What fetches and unpacks packages.
pub const NEED: Need = Need {
    what: "apt-get and dpkg (CrowdSec, Prometheus and Alertmanager come as Debian packages)",
    packages: &["apt", "dpkg"],
    is_there: || {
        let tools = ["apt-get", "dpkg"];
        tools
            .iter()
            .all(|tool| run::works(Command::new(tool).arg("--version")))
    },
};

fn unpack(folder: &Path, package: &Package) -> Result<(), Error> {
    let Package {
        name, megabytes, ..
    } = package;
    say::step(format_args!(
        "fetching {name} (about {megabytes} MB) as a Debian package"
    ));
    download(folder, name).map_err(fetched::not_had(name, Origin::Debian, package.variable))?;
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

fn download(folder: &Path, name: &str) -> Result<(), Error> {
    let fetch = || {
        let mut apt = Command::new("apt-get");
        // Its own user could not write here.
        apt.args(["-o", "APT::Sandbox::User=root", "download", name]);
        run::run(apt.current_dir(folder))
    };
    run::update_lists_for(&[name]);
    match fetch() {
        Err(_) if run::may_install() && run::update_lists() => fetch(),
        result => result,
    }
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
