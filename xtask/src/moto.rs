//! Gets moto, which plays AWS in the end-to-end tests: from PyPI, into an environment of its own in the
//! build folder. Nothing is installed elsewhere.

use std::path::PathBuf;
use std::process::Command;

use crate::error::Error;
use crate::fetched::{self, Fetched, Origin};
use crate::system::{self, Need};
use crate::workspace::Workspace;
use crate::{run, say};

const PACKAGE: &str = "moto[server]==5.2.5";
const VARIABLE: &str = "PORTCULLIS_MOTO";

/// Debian's bare Python has the module for environments without what it needs.
pub const NEED: Need = Need {
    what: "Python's venv (for moto, which plays AWS)",
    packages: &["python3", "python3-venv"],
    is_there: || run::works(Command::new("python3").args(["-c", "import ensurepip, venv"])),
};

/// The path of moto's server, fetched first if it is not there yet.
pub fn ensure(workspace: &Workspace) -> Result<PathBuf, Error> {
    if let Some(given) = fetched::given(VARIABLE)? {
        return Ok(given);
    }
    let folder = workspace.built("moto");
    let fetched = Fetched {
        folder: &folder,
        what: PACKAGE,
        file: folder.join("bin/moto_server"),
    };
    fetched.or_by(|| {
        system::require(&[&NEED])?;
        say::step(format_args!("fetching {PACKAGE} (about 90 MB) from PyPI"));
        run::run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet"])
            .args(["--disable-pip-version-check", PACKAGE]);
        run::run(&mut pip).map_err(fetched::not_had(PACKAGE, Origin::PyPi, Some(VARIABLE)))
    })
}
