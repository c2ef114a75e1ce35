//! The bare server (`tests/bare`) as a process: what the sidecar is measured against, and what answers
//! Envoy's ext_authz filter when the plugin is measured against that.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use kit::child::Child;

use crate::error::Error;
use crate::workspace::Workspace;
use crate::{run, say};

const PATIENCE: Duration = Duration::from_secs(10);

pub struct BareServer {
    address: SocketAddr,
    process: Child,
}

/// Returns where the program lies.
pub fn build(workspace: &Workspace) -> Result<PathBuf, Error> {
    say::step("building the bare server");
    let mut command = run::cargo();
    command.current_dir(workspace.root());
    run::run(command.args(["build", "--locked", "--release", "--package", "bare"]))?;
    Ok(workspace.built("release/bare"))
}

impl BareServer {
    /// Starts it, with its output in `folder`.
    pub async fn start(program: &Path, folder: &Path) -> Result<Self, Error> {
        let folder = tempfile::tempdir_in(folder).map_err(Error::file("cannot use", folder))?;
        let mut process = Child::spawn("bare", &mut Command::new(program), folder.path())?;
        let address = |process: &Child| process.stdout().trim().parse().ok();
        let listens = async |process: &Child| address(process).is_some();
        process
            .wait_until("it says where it listens", PATIENCE, listens)
            .await?;
        let address = address(&process)
            .ok_or_else(|| Error::Said("the bare server lost its address".to_owned()))?;
        Ok(Self { address, process })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn process_id(&self) -> u32 {
        self.process.id()
    }
}
