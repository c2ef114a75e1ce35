//! `cargo xtask bench --redis`: how much longer a verdict takes out of Redis than a bare GET through
//! the same client, and how much memory it takes there.
//!
//! The calls themselves are made by the sidecar's benchmark `redis`, which is optimised and uses the
//! sidecar's own store; here is what it needs, and the table.

use std::path::Path;

use kit::abuseipdb::{AbuseIpDb, KEY};
use kit::{Redis, Sidecar};
use serde_json::Value;

use super::report::Report;
use super::statistics::Median;
use crate::error::Error;
use crate::workspace::Workspace;
use crate::{redis, run, say, sidecar};

const VERDICTS: u32 = 1_000_000;
/// Each takes four seconds.
const ROUNDS: u32 = 9;

/// 99th percentiles in microseconds, in one round.
struct Round {
    store: f64,
    get: f64,
    sidecar: f64,
    bare: f64,
}

pub fn run(workspace: &Workspace) -> Result<(), Error> {
    let server = redis::ensure()?;
    let portcullis = sidecar::build_optimised(workspace)?;
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Error::Said(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(measure(workspace, &server, &portcullis))
}

async fn measure(workspace: &Workspace, server: &Path, portcullis: &Path) -> Result<(), Error> {
    let folder = workspace.built("bench");
    std::fs::create_dir_all(&folder).map_err(Error::file("cannot create", &folder))?;
    let redis = Redis::builder_in(&folder, server)?.start().await?;
    let before = redis.info("used_memory").await?;
    bench(workspace, &["fill", &redis.url(), &VERDICTS.to_string()])?;
    let taken = redis.info("used_memory").await?.saturating_sub(before);
    let bytes = per_verdict(taken);
    say::step(format_args!(
        "{VERDICTS} verdicts take {bytes:.1} bytes each"
    ));

    let provider = AbuseIpDb::start().await?;
    let sidecar = Sidecar::builder_in(&folder)?
        .binary(portcullis)
        .redis(&redis.url())
        .toml(&provider.toml())
        .env("ABUSEIPDB_KEY", KEY);
    let sidecar = sidecar.start().await?;
    let (address, rounds) = (sidecar.edge().to_string(), ROUNDS.to_string());
    let printed = bench(workspace, &["measure", &redis.url(), &address, &rounds])?;
    if let Some(asked) = provider.asked().first() {
        let message = format!("the sidecar did not find {asked} in Redis and asked the provider");
        return Err(Error::Said(message));
    }
    let rounds: Vec<_> = printed.lines().filter_map(Round::read).collect();
    report(&rounds, bytes).finish(workspace)
}

/// Runs the sidecar's benchmark; returns what it printed.
fn bench(workspace: &Workspace, arguments: &[&str]) -> Result<String, Error> {
    say::step(format_args!("redis benchmark: {}", arguments.join(" ")));
    let mut command = run::cargo();
    command
        .current_dir(workspace.root())
        .args(["bench", "--locked", "--quiet", "--package", "sidecar"])
        .args(["--bench", "redis", "--"])
        .args(arguments);
    run::printed(&mut command)
}

impl Round {
    fn read(line: &str) -> Option<Self> {
        let values: Value = serde_json::from_str(line).ok()?;
        let micros = |side: &str| values.get(side)?.as_f64();
        Some(Self {
            store: micros("store")?,
            get: micros("get")?,
            sidecar: micros("sidecar")?,
            bare: micros("bare")?,
        })
    }
}

fn report(rounds: &[Round], bytes: f64) -> Report {
    let over = |figure: fn(&Round) -> f64| Median::of(rounds.iter().map(figure).collect());
    let mut report = Report::default();
    report.micros("redis_get_p99", over(|round| round.get));
    report.micros("redis_known_p99", over(|round| round.store));
    report.micros("redis_bare_server_p99", over(|round| round.bare));
    report.micros("redis_answer_p99", over(|round| round.sidecar));
    report.bytes("redis_bytes_per_verdict", bytes);
    report.ratio(
        "redis_known_over_get",
        over(|round| round.store / round.get),
        "a verdict through the sidecar's store, over a bare GET: p99, open loop at 2,000 a second",
    );
    report.ratio(
        "redis_answer_over_bare",
        over(|round| round.sidecar / round.bare),
        "the sidecar's answer over HTTP, over a bare hyper server with one GET: p99, as above",
    );
    report
}

/// A Redis of a machine is far from the limit of exact whole numbers in a float.
#[expect(clippy::cast_precision_loss, reason = "under 2^53")]
fn per_verdict(bytes: u64) -> f64 {
    bytes as f64 / f64::from(VERDICTS)
}
