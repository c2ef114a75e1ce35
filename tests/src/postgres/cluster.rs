//! A cluster's files, and as whom PostgreSQL runs: it refuses to be root, so that root has it run as nobody.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use rustix::process;
use tempfile::TempDir;

use super::KIT_USER;
use crate::error::KitError;

/// The number of nobody and its group on Debian.
const NOBODY: u32 = 65_534;

/// Loses everything with the machine, and is the faster for it. What memory it shares lies in its folder: a server
/// that a test kills would leave it behind on the machine.
const SETTINGS: &str = "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nfsync = off\n\
    full_page_writes = off\nmax_connections = 40\nshared_buffers = 16MB\nmax_wal_size = 256MB\njit = off\n\
    dynamic_shared_memory_type = mmap\n";

/// A folder with the files of an empty cluster in `data`, to which everybody on this machine has access.
pub fn fresh(binaries: &Path) -> Result<TempDir, KitError> {
    let folder = tempfile::Builder::new().prefix("postgres-").tempdir();
    let folder = folder.map_err(KitError::io("cannot make a folder"))?;
    give_away(folder.path())?;
    let data = folder.path().join("data");
    let mut initdb = program(&binaries.join("initdb"));
    let output = initdb
        .arg("-D")
        .arg(&data)
        .args(["-U", KIT_USER, "--auth=trust", "--encoding=UTF8"])
        .args(["--locale=C", "--no-sync", "--no-instructions"])
        .current_dir(folder.path())
        .output()
        .map_err(KitError::io("cannot run initdb"))?;
    if !output.status.success() {
        return Err(KitError::Died {
            part: "initdb".to_owned(),
            log: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    }
    add(&data.join("postgresql.conf"), SETTINGS)?;
    Ok(folder)
}

/// A program that will not run as root.
pub fn program(binary: &Path) -> Command {
    if !process::geteuid().is_root() {
        return Command::new(binary);
    }
    let mut command = Command::new("setpriv");
    command
        .arg(format!("--reuid={NOBODY}"))
        .arg(format!("--regid={NOBODY}"))
        .args(["--clear-groups", "--"])
        .arg(binary);
    command
}

/// Copies a file for the server alone, as it demands of its key.
pub fn copy(from: &Path, to: &Path) -> Result<(), KitError> {
    let failed = || KitError::io(format!("cannot copy {}", from.display()));
    fs::copy(from, to).map_err(failed())?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o600)).map_err(failed())?;
    give_away(to)
}

/// Adds lines to a file of the cluster.
pub fn add(file: &Path, lines: &str) -> Result<(), KitError> {
    let changed = fs::read_to_string(file).and_then(|text| fs::write(file, text + lines));
    changed.map_err(KitError::io(format!("cannot change {}", file.display())))
}

fn give_away(path: &Path) -> Result<(), KitError> {
    if !process::geteuid().is_root() {
        return Ok(());
    }
    chown(path, Some(NOBODY), Some(NOBODY))
        .map_err(KitError::io(format!("cannot give {} away", path.display())))
}
