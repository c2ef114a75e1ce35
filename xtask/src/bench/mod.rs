//! `cargo xtask bench`: what the plugin costs, against baselines in the same run.
//!
//! Timings of a shared machine mean little by themselves, so every figure is a ratio of neighbours:
//! rounds alternate between Envoy without a plugin, with a stock no-op plugin and with ours, and the
//! ratio is taken within each round. What counts is the CPU time of the Envoy process per request.

mod load;
pub mod policy;
pub mod redis;
mod report;
mod stage;
mod statistics;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::error::Error;
use crate::workspace::Workspace;
use crate::{envoy, filter, say, sidecar};
use load::{Cost, Wrk};
use stage::{Parts, Stage};
use statistics::Median;

pub struct Options {
    /// Fewer and shorter rounds.
    pub quick: bool,
    /// The list that is loaded; by default one of 120,000 addresses is made.
    pub feed: Option<PathBuf>,
    pub envoy: String,
}

/// wrk counts in whole seconds.
const SLICE: Duration = Duration::from_secs(1);

/// CPU time of one request in nanoseconds, per variant, in one round.
#[derive(Debug, Clone, Copy)]
struct Round {
    none: f64,
    noop: f64,
    ours: f64,
}

pub fn run(workspace: &Workspace, options: &Options) -> Result<(), Error> {
    let wrk = Wrk::ensure()?;
    let parts = Parts {
        wasm: filter::build(workspace, filter::Variant::Shipped)?,
        noop: filter::build_noop(workspace)?,
        portcullis: sidecar::build(workspace)?,
        envoy: envoy::ensure(workspace, &options.envoy)?,
    };
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Error::Said(format!("cannot start the runtime: {error}")))?;
    let stage = runtime.block_on(Stage::set(workspace, &parts, options.feed.as_deref()))?;
    let rounds = measure(&wrk, &stage, options.quick)?;
    tell(workspace, &rounds)
}

fn measure(wrk: &Wrk, stage: &Stage, quick: bool) -> Result<Vec<Round>, Error> {
    let (count, sweeps) = if quick { (9, 3) } else { (21, 6) };
    say::step("warming up");
    for envoy in stage.all() {
        wrk.cost(envoy, SLICE)?;
    }
    let mut rounds = Vec::new();
    for number in 1..=count {
        let round = measure_round(wrk, stage, sweeps)?;
        say::step(format_args!("round {number} of {count}: {round}"));
        rounds.push(round);
    }
    Ok(rounds)
}

/// Alternates between the variants in short slices, so that a drift of the machine hits all alike.
fn measure_round(wrk: &Wrk, stage: &Stage, sweeps: usize) -> Result<Round, Error> {
    let mut costs = [Cost::default(); 3];
    for sweep in 0..sweeps {
        for step in 0..costs.len() {
            let variant = (sweep + step) % costs.len();
            if let (Some(cost), Some(envoy)) = (costs.get_mut(variant), stage.all().get(variant)) {
                *cost += wrk.cost(envoy, SLICE)?;
            }
        }
    }
    let [none, noop, ours] = costs.map(Cost::per_request);
    Ok(Round { none, noop, ours })
}

fn tell(workspace: &Workspace, rounds: &[Round]) -> Result<(), Error> {
    let over = |figure: fn(&Round) -> f64| Median::of(rounds.iter().map(figure).collect());
    let ratio = over(|round| (round.ours - round.none) / (round.noop - round.none));
    let none = over(|round| round.none / 1000.0);
    let noop = over(|round| (round.noop - round.none) / 1000.0);
    let ours = over(|round| (round.ours - round.none) / 1000.0);
    say::line(format_args!(
        "
CPU time of Envoy per request, median of {} rounds [95 % interval]

  no filter                 {none:.1} µs
  stock no-op filter adds   {noop:.1} µs
  portcullis adds           {ours:.1} µs   for a known clean client

  known_over_noop           {ratio:.2}",
        rounds.len()
    ));
    let part = json!({
        "rounds": rounds.len(),
        "ratios": {"known_over_noop": ratio.value},
        "intervals": {"known_over_noop": [ratio.low, ratio.high]},
        "microseconds_per_request": {
            "no_filter": none.value, "noop_adds": noop.value, "portcullis_adds": ours.value,
        },
    });
    report::add(workspace, part)
}

impl std::fmt::Display for Round {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let micros = |nanos: f64| nanos / 1000.0;
        write!(
            f,
            "{:.1} µs, no-op +{:.1}, ours +{:.1}",
            micros(self.none),
            micros(self.noop - self.none),
            micros(self.ours - self.none)
        )
    }
}
