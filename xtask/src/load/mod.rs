//! `cargo xtask load`: whether the edge holds a load that comes whether or not it is answered.
//!
//! Two loads, each with its verdict: that of the production guide (100 requests a second for ten minutes,
//! a tenth of them from clients nobody has seen, the provider refusing from half-way on), and ours (5,000
//! a second, beside Envoy without the plugin in the same run). `pace` makes the load, `tally` counts what
//! came of it.

pub mod pace;
pub mod stage;
pub mod tally;

use std::time::Duration;

use kit::serve::Answer;
use serde_json::{Value, json};

use crate::error::Error;
use crate::workspace::Workspace;
use crate::{envoy, filter, say};
use pace::{Clients, Load, Pace};
use stage::{Parts, Stage};
use tally::Tally;

pub struct Options {
    /// A minute in all.
    pub quick: bool,
    pub envoy: String,
}

/// How long each part takes.
struct Lengths {
    guide: Duration,
    /// Of ours, in turn with Envoy alone.
    slice: Duration,
    slices: u32,
}

const GUIDE: Pace = Pace {
    rate: 100,
    connections: 32,
};
const OURS: Pace = Pace {
    rate: 5_000,
    connections: 128,
};
const GUIDE_P99: Duration = Duration::from_millis(50);
const MOST_OVER_ALONE: f64 = 2.0;

pub fn run(workspace: &Workspace, options: &Options) -> Result<(), Error> {
    let parts = Parts {
        wasm: filter::build(workspace, filter::Variant::Shipped)?,
        portcullis: crate::sidecar::build_optimised(workspace)?,
        envoy: envoy::ensure(workspace, &options.envoy)?,
    };
    let lengths = match options.quick {
        true => Lengths {
            guide: Duration::from_secs(30),
            slice: Duration::from_secs(5),
            slices: 3,
        },
        false => Lengths {
            guide: Duration::from_secs(600),
            slice: Duration::from_secs(10),
            slices: 6,
        },
    };
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Error::Said(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(measure(workspace, &parts, &lengths))
}

async fn measure(workspace: &Workspace, parts: &Parts, lengths: &Lengths) -> Result<(), Error> {
    let (guide, asked) = guide(workspace, parts, lengths.guide).await?;
    let (alone, ours) = ours(workspace, parts, lengths).await?;
    let over = ours.quantile(0.99).as_secs_f64() / alone.quantile(0.99).as_secs_f64();
    let mut faults = Vec::new();
    faults.extend(guide.fault("the guide's load"));
    if guide.quantile(0.99) > GUIDE_P99 {
        let (p99, most) = (guide.quantile(0.99), GUIDE_P99);
        faults.push(format!("the guide's load: p99 is {p99:?}, over {most:?}"));
    }
    if asked == 0 {
        faults.push("the guide's load: the provider was never asked".to_owned());
    }
    faults.extend(alone.fault("Envoy alone"));
    faults.extend(ours.fault("5,000 a second"));
    if over > MOST_OVER_ALONE {
        faults.push(format!(
            "5,000 a second: p99 is {over:.2} times that of Envoy alone, over {MOST_OVER_ALONE}"
        ));
    }
    let report = json!({
        "guide": {"load": guide.report(), "provider_asked": asked},
        "ours": {"alone": alone.report(), "load": ours.report(), "p99_over_alone": over},
        "faults": faults,
    });
    for (what, tally) in [
        ("100/s, provider refusing from half-way", &guide),
        ("5,000/s, Envoy alone", &alone),
        ("5,000/s", &ours),
    ] {
        say::line(format_args!("  {what:<40} {tally}"));
    }
    say::line(format_args!("  p99 over that of Envoy alone: {over:.2}"));
    write(workspace, &report)?;
    match faults.is_empty() {
        true => Ok(()),
        false => Err(Error::Said(faults.join("\n"))),
    }
}

/// The production guide's load; with it how often the provider was asked.
async fn guide(
    workspace: &Workspace,
    parts: &Parts,
    length: Duration,
) -> Result<(Tally, usize), Error> {
    let stage = Stage::behind_upstream(workspace, parts).await?;
    let clients = Clients::with_strangers();
    say::step(format_args!("{} a second for {length:?}", GUIDE.rate));
    let mut tally = Tally::default();
    let edge = stage.edge();
    tally.add(Load::new(edge, GUIDE, clients).run(length / 2).await?);
    say::step("the provider refuses from now on: 429");
    let refusal = Answer::status(429).with_header("Retry-After", "3600");
    stage.provider.fail_with(Some(refusal));
    let clients = Clients::with_strangers().after(tally.requests());
    tally.add(Load::new(edge, GUIDE, clients).run(length / 2).await?);
    Ok((tally, stage.provider.asked().len()))
}

/// Our load, on Envoy alone and with the plugin in turn.
async fn ours(
    workspace: &Workspace,
    parts: &Parts,
    lengths: &Lengths,
) -> Result<(Tally, Tally), Error> {
    let stage = Stage::beside_none(workspace, parts).await?;
    let (mut alone, mut ours) = (Tally::default(), Tally::default());
    for slice in 1..=lengths.slices {
        say::step(format_args!(
            "slice {slice} of {}: {} a second, Envoy alone and with the plugin",
            lengths.slices, OURS.rate
        ));
        let clients = Clients::with_strangers().after(ours.requests());
        let first = Load::new(stage.without_plugin()?, OURS, clients.clone());
        alone.add(first.run(lengths.slice).await?);
        let second = Load::new(stage.edge(), OURS, clients);
        ours.add(second.run(lengths.slice).await?);
    }
    Ok((alone, ours))
}

fn write(workspace: &Workspace, report: &Value) -> Result<(), Error> {
    let folder = workspace.built("load");
    std::fs::create_dir_all(&folder).map_err(Error::file("cannot create", &folder))?;
    let path = folder.join("report.json");
    std::fs::write(&path, format!("{report:#}\n")).map_err(Error::file("cannot write", &path))?;
    say::line(format_args!("\nwritten to {}", path.display()));
    Ok(())
}
