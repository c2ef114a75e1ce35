//! Whether Envoy takes a configuration, without starting it.

use std::process::Command;

use crate::config::EdgeConfig;
use crate::error::KitError;
use crate::parts;

/// What `envoy --mode validate` says of it: nothing that matters, or why it refuses.
pub fn validate(config: &EdgeConfig, arguments: &[&str]) -> Result<(), KitError> {
    let folder = tempfile::tempdir().map_err(KitError::io("cannot make a folder"))?;
    let path = config.write(folder.path())?;
    let output = Command::new(parts::envoy()?)
        .args(["--mode", "validate", "--log-level", "warn"])
        .args(arguments)
        .arg("-c")
        .arg(path)
        .output()
        .map_err(KitError::io("cannot start envoy"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(KitError::Config(format!("favour of Envoy: {said}")))
}
