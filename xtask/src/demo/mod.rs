//! `cargo xtask demo`: the whole edge on this machine, proven by a clean and a refused request.

pub mod list;
mod proof;
mod stage;

use std::path::PathBuf;

use crate::error::Error;
use crate::workspace::Workspace;
use crate::{envoy, filter, redis, say, sidecar, system};

pub use stage::{CLEAN, LISTED};

pub struct Options {
    /// End after the proof.
    pub check: bool,
    /// A list that is loaded as a hard source, and from which the proof draws addresses.
    pub feed: Option<PathBuf>,
    /// The sidecar keeps its words in a Redis.
    pub redis: bool,
    pub envoy: String,
}

pub fn run(workspace: &Workspace, options: &Options) -> Result<(), Error> {
    let list = options.feed.as_deref().map(list::List::read).transpose()?;
    stage::require_free_ports()?;
    require_tools(workspace, options)?;
    // Fetched before minutes go into building.
    let envoy = envoy::ensure(workspace, &options.envoy)?;
    let redis = options.redis.then(redis::ensure).transpose()?;
    let parts = stage::Parts {
        wasm: filter::build(workspace, filter::Variant::Shipped)?,
        portcullis: sidecar::build(workspace)?,
        envoy,
        redis,
    };
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Error::Said(format!("cannot start the demo's runtime: {error}")))?;
    runtime.block_on(perform(workspace, options, &parts, list))
}

fn require_tools(workspace: &Workspace, options: &Options) -> Result<(), Error> {
    let mut needs = vec![&sidecar::NEED];
    needs.extend(envoy::need(workspace, &options.envoy));
    needs.extend(options.redis.then_some(&redis::NEED));
    system::require(&needs)
}

/// Whoever asks for an end gets it at any time, also while something starts: what runs ends with what is dropped here.
async fn perform(
    workspace: &Workspace,
    options: &Options,
    parts: &stage::Parts,
    list: Option<list::List>,
) -> Result<(), Error> {
    tokio::select! {
        result = show(workspace, options, parts, list) => result,
        () = wait_for_the_end() => {
            say::step("stopping");
            match options.check {
                true => Err(Error::Said("stopped before the proof was done".to_owned())),
                false => Ok(()),
            }
        }
    }
}

async fn show(
    workspace: &Workspace,
    options: &Options,
    parts: &stage::Parts,
    list: Option<list::List>,
) -> Result<(), Error> {
    let stage = stage::Stage::set(workspace, parts, list.as_ref()).await?;
    proof::sample(&stage).await?;
    if let Some(list) = &list {
        proof::list(&stage, list).await?;
    }
    proof::redis(&stage).await?;
    if options.check {
        say::line("The demo holds what it promises.");
        return Ok(());
    }
    say::line(stage.what_to_try());
    std::future::pending().await
}

/// Until Ctrl-C, or a polite request to end; whatever was started ends with the stage.
async fn wait_for_the_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
