//! Gets moto, which plays AWS in the end-to-end tests: from PyPI, into an environment of its own in the
//! build folder. Nothing is installed elsewhere.

use std::path::PathBuf;
use std::process::Command;

use crate::error::Error;
use crate::workspace::Workspace;
use crate::{run, say};

const VERSION: &str = "5.2.5";

/// The path of moto's server, fetched first if it is not there yet.
pub fn ensure(workspace: &Workspace) -> Result<PathBuf, Error> {
    let folder = workspace.built("moto");
    let binary = folder.join("bin/moto_server");
    let python = folder.join("bin/python");
    if binary.is_file() {
        return Ok(binary);
    }
    say::step(format_args!(
        "fetching moto {VERSION} (about 90 MB) from PyPI"
    ));
    let make = || {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv", "--clear"]).arg(&folder);
        venv
    };
    // Debian's bare Python has the module without what it needs.
    if !run::works(&mut make()) {
        run::apt_install(&["python3-venv"]);
        run::run(&mut make())?;
    }
    run::run(
        Command::new(python)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ])
            .arg(format!("moto[server]=={VERSION}")),
    )?;
    Ok(binary)
}
