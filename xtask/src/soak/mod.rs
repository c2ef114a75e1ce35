//! `cargo xtask soak`: what shows only after long, or with much: that memory levels off, that large snapshots are taken
//! up between requests, that a hundred proxies may start at once, and how fast a ban or a list is in force.
//!
//! Every part has its verdict, against a bound that it names; `findings` gathers them. What each is loaded with stands
//! in its own module, what they have in common in `setting`.

mod bans;
mod clients;
mod course;
mod findings;
mod large;
mod lists;
mod proxies;
mod setting;
mod swaps;

use crate::bench::load::Wrk;
use crate::error::Error;
use crate::workspace::Workspace;
use crate::{envoy, filter, say};
use findings::Findings;
use setting::Setting;

pub struct Options {
    /// Four minutes in all.
    pub quick: bool,
    pub envoy: String,
    /// Only these; all if none is named.
    pub parts: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Until both workers enforce what the command line said
    Bans,
    /// From a list's file to the snapshot
    Lists,
    /// A hundred proxies start at once
    Proxies,
    /// Requests and callbacks while a snapshot of a million addresses is taken up
    Large,
    /// Memory over a thousand snapshots
    Swaps,
    /// Memory over ten million clients
    Clients,
}

const ALL: [Part; 6] = [
    Part::Bans,
    Part::Lists,
    Part::Proxies,
    Part::Large,
    Part::Swaps,
    Part::Clients,
];

pub fn run(workspace: &Workspace, options: &Options) -> Result<(), Error> {
    let chosen = |part: &Part| options.parts.is_empty() || options.parts.contains(part);
    let parts: Vec<_> = ALL.into_iter().filter(chosen).collect();
    let setting = Setting {
        quick: options.quick,
        folder: workspace.built("soak"),
        wasm: filter::build(workspace, filter::Variant::Shipped)?,
        timed: filter::build(workspace, filter::Variant::Timed)?,
        portcullis: crate::sidecar::build_optimised(workspace)?,
        envoy: envoy::ensure(workspace, &options.envoy)?,
        wrk: Wrk::ensure()?,
    };
    std::fs::create_dir_all(&setting.folder)
        .map_err(Error::file("cannot create", &setting.folder))?;
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Error::Said(format!("cannot start the runtime: {error}")))?;
    let mut findings = Findings::begin();
    for part in parts {
        say::step(format_args!("{part:?}"));
        // What one part could not measure does not take the others with it.
        if let Err(error) = runtime.block_on(part.measure(&setting, &mut findings)) {
            findings.faults([format!("{part:?}: {error}")]);
        }
    }
    findings.finish(&setting.folder)
}

impl Part {
    async fn measure(self, setting: &Setting, findings: &mut Findings) -> Result<(), Error> {
        match self {
            Self::Bans => bans::measure(setting, findings).await,
            Self::Lists => lists::measure(setting, findings).await,
            Self::Proxies => proxies::measure(setting, findings).await,
            Self::Large => large::measure(setting, findings).await,
            Self::Swaps => swaps::measure(setting, findings).await,
            Self::Clients => clients::measure(setting, findings).await,
        }
    }
}
