//! `cargo xtask bench`: what we cost, against baselines in the same run.
//!
//! Timings of a shared machine mean little by themselves, so every figure is a ratio of neighbours: what
//! is compared is loaded in turn, and the ratio is taken within each round (`contest`).

mod bare;
mod contest;
mod edge;
pub mod lists;
pub mod load;
pub mod policy;
pub mod redis;
mod report;
mod sidecar;
pub mod stage;
pub mod statistics;

use std::path::PathBuf;

pub use contest::Length;

use crate::error::Error;
use crate::workspace::Workspace;
use crate::{envoy, filter};
use load::Wrk;
use report::Report;
use stage::Parts;

pub struct Options {
    pub length: Length,
    /// The list that is loaded; by default one of 120,000 addresses is made.
    pub feed: Option<PathBuf>,
    pub envoy: String,
}

pub fn run(workspace: &Workspace, options: &Options) -> Result<(), Error> {
    let wrk = Wrk::ensure()?;
    let parts = Parts {
        wasm: filter::build(workspace, filter::Variant::Shipped)?,
        noop: filter::build_noop(workspace)?,
        bare: bare::build(workspace)?,
        portcullis: crate::sidecar::build_optimised(workspace)?,
        envoy: envoy::ensure(workspace, &options.envoy)?,
    };
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Error::Said(format!("cannot start the runtime: {error}")))?;
    let mut report = Report::default();
    let stage = runtime.block_on(stage::Edges::set(
        workspace,
        &parts,
        options.feed.as_deref(),
    ))?;
    edge::measure(&wrk, &stage, options.length, &mut report)?;
    drop(stage);
    let stage = runtime.block_on(stage::Servers::set(workspace, &parts))?;
    sidecar::measure(&wrk, &stage, options.length, &mut report)?;
    report.finish(workspace)
}
