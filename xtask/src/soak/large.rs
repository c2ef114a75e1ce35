//! Taking up a snapshot of a million addresses under load: by how much the slowest request is slower than the slowest
//! of as long a time without a snapshot, in turn; and how long a callback in a VM takes at most. Callbacks are timed by
//! a build of the plugin that logs them, in an Envoy of its own; five million addresses are taken up there, too.

use std::path::Path;
use std::time::Duration;

use kit::snapshot::{Built, Draft, Line};
use kit::{Envoy, RawSidecar, Workers};

use super::findings::Findings;
use super::setting::{LIMIT, Setting};
use crate::bench::statistics::Median;
use crate::error::Error;
use crate::load::pace::{Clients, Load, Pace};
use crate::load::tally::Tally;
use crate::say;

const MILLION: u32 = 1_000_000;
const LOAD: Pace = Pace {
    rate: 2_000,
    connections: 64,
};
/// Longer than taking up a million addresses, and five million.
const SLICE: Duration = Duration::from_secs(4);
const LONG_SLICE: Duration = Duration::from_secs(12);
const MOST_LATER_MS: f64 = 10.0;
const MOST_CALLBACK_MS: f64 = 5.0;
/// Either is on one of the two snapshots that are taken up in turn.
const MARKS: [&str; 2] = ["192.0.2.1", "192.0.2.2"];

/// An edge, and two snapshots that have hardly a part in common.
struct Stage {
    envoy: Envoy,
    sidecar: RawSidecar,
    snapshots: [Built; 2],
    version: u64,
    /// For how long it is loaded while a snapshot is taken up.
    slice: Duration,
}

/// Snapshots whose callbacks are timed.
struct Timed {
    snapshots: [Built; 2],
    slice: Duration,
    name: &'static str,
}

pub async fn measure(setting: &Setting, findings: &mut Findings) -> Result<(), Error> {
    let rounds = setting.by_time(5, 9);
    say::step("making two snapshots of a million addresses");
    let snapshots = snapshots(MILLION).await?;
    let mut stage = Stage::set(setting, &setting.wasm, snapshots.clone(), SLICE).await?;
    let (mut later, mut controls, mut swaps) = (Vec::new(), Tally::default(), Tally::default());
    for round in 1..=rounds {
        let control = load(&stage, &controls).run(SLICE).await?;
        let swap = stage.swap_under(load(&stage, &swaps)).await?;
        let slowest = [&control, &swap].map(|tally| millis(tally, 1.0));
        say::step(format_args!(
            "round {round} of {rounds}: slowest {:.1} ms, with a snapshot {:.1} ms",
            slowest[0], slowest[1]
        ));
        later.push(slowest[1] - slowest[0]);
        controls.add(control);
        swaps.add(swap);
    }
    drop(stage);
    findings.faults(controls.fault("requests without a snapshot"));
    findings.faults(swaps.fault("requests while a snapshot is taken up"));
    findings.figure("p99_without_a_snapshot_ms", millis(&controls, 0.99));
    findings.figure("p99_while_1m_are_taken_up_ms", millis(&swaps, 0.99));
    let later = Median::of(later).value;
    findings.at_most(
        "slowest_later_while_1m_are_taken_up_ms",
        later,
        MOST_LATER_MS,
    );
    let timed = Timed {
        snapshots,
        slice: SLICE,
        name: "longest_callback_for_1m_ms",
    };
    callbacks(setting, findings, timed, rounds).await?;
    if !setting.quick {
        say::step("making two snapshots of five million addresses");
        let timed = Timed {
            snapshots: self::snapshots(5 * MILLION).await?,
            slice: LONG_SLICE,
            name: "longest_callback_for_5m_ms",
        };
        callbacks(setting, findings, timed, 5).await?;
    }
    Ok(())
}

/// The longest callback of each swap. What it does itself it does each time, so the median must be within the bound;
/// a single one may have been interrupted by another process.
async fn callbacks(
    setting: &Setting,
    findings: &mut Findings,
    timed: Timed,
    rounds: u32,
) -> Result<(), Error> {
    let Timed {
        snapshots,
        slice,
        name,
    } = timed;
    let mut stage = Stage::set(setting, &setting.timed, snapshots, slice).await?;
    let mut longest = Vec::new();
    let mut tally = Tally::default();
    for _ in 0..rounds {
        let before = took(&stage.envoy.log()).len();
        tally.add(stage.swap_under(load(&stage, &tally)).await?);
        let log = stage.envoy.log();
        let slowest = took(&log).into_iter().skip(before).fold(0.0, f64::max);
        longest.push(slowest);
    }
    findings.faults(tally.fault("requests while callbacks are timed"));
    let worst = longest.iter().copied().fold(0.0, f64::max);
    findings.at_most(name, Median::of(longest).value, MOST_CALLBACK_MS);
    findings.figure(&name.replace("longest", "longest_of_all"), worst);
    Ok(())
}

/// The callbacks that the plugin logged, in milliseconds.
fn took(log: &str) -> Vec<f64> {
    let told = log.lines().filter_map(|line| {
        let (_, rest) = line.split_once("portcullis: a callback took ")?;
        rest.split(' ').next()?.parse::<f64>().ok()
    });
    told.map(|micros| micros / 1000.0).collect()
}

fn load(stage: &Stage, before: &Tally) -> Load {
    let clients = Clients::with_strangers().after(before.requests());
    Load::new(stage.envoy.edge(), LOAD, clients)
}

fn millis(tally: &Tally, share: f64) -> f64 {
    tally.quantile(share).as_secs_f64() * 1000.0
}

/// Built beside each other: without optimisation it takes seconds.
async fn snapshots(addresses: u32) -> Result<[Built; 2], Error> {
    let build = |mark: &'static str, addresses| {
        tokio::task::spawn_blocking(move || {
            let draft = Draft::version(1).base(Line::listed(mark)?);
            draft.with_filler(addresses).build()
        })
    };
    // The number alone moves all that follows in the image.
    let (one, other) = tokio::join!(
        build(MARKS[0], addresses),
        build(MARKS[1], addresses + 1_000)
    );
    let built = |joined: Result<Result<Built, _>, tokio::task::JoinError>| {
        let built =
            joined.map_err(|error| Error::Said(format!("no snapshot was built: {error}")))?;
        Ok::<_, Error>(built?)
    };
    Ok([built(one)?, built(other)?])
}

impl Stage {
    async fn set(
        setting: &Setting,
        wasm: &Path,
        snapshots: [Built; 2],
        slice: Duration,
    ) -> Result<Self, Error> {
        let sidecar = RawSidecar::start().await?;
        let [first, _] = &snapshots;
        sidecar.publish(first.clone());
        let envoy = setting.edge(wasm, &sidecar.addresses()).await?;
        Ok(Self {
            envoy,
            sidecar,
            snapshots,
            version: 1,
            slice,
        })
    }

    /// Publishes the other snapshot while the load runs; both workers must have it in force before it ends.
    async fn swap_under(&mut self, load: Load) -> Result<Tally, Error> {
        let loaded = tokio::spawn(load.run(self.slice));
        tokio::time::sleep(self.slice / 8).await;
        self.version += 1;
        let [one, other] = self.snapshots.clone();
        let (mut next, mark) = match self.version % 2 {
            1 => (one, MARKS[0]),
            _ => (other, MARKS[1]),
        };
        next.manifest.version.version = self.version;
        self.sidecar.publish(next);
        let mut workers = Workers::of(&self.envoy).await?;
        if !workers.all_answer(mark, 403, LIMIT).await? {
            return Err(Error::Said("a snapshot was not taken up".to_owned()));
        }
        if loaded.is_finished() {
            return Err(Error::Said(format!(
                "taking it up took longer than the load, {:?}",
                self.slice
            )));
        }
        loaded
            .await
            .map_err(|error| Error::Said(format!("the load ended: {error}")))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callbacks_are_read_from_the_log_as_envoy_writes_it() {
        let log = "[2026-11-23 02:00:00.000][7][info][wasm] [source/wasm.cc:1] wasm log portcullis: \
                   portcullis: a callback took 1234 us\nsomething else\n";
        assert_eq!(took(log), vec![1.234]);
    }
}
