//! A hundred proxies that start at once: each opens its long poll and fetches every part of the snapshot, while look-ups
//! go on. Then a ban, which answers all polls at the same moment.

use std::time::{Duration, Instant};

use kit::{RawProxy, Sidecar};
use tokio::task::JoinSet;

use super::findings::Findings;
use super::setting::{Setting, order};
use crate::bench::statistics::Median;
use crate::error::Error;
use crate::load::pace::{Clients, Load, Pace};
use crate::load::tally::Tally;

const PROXIES: usize = 100;
/// Ten of each proxy.
const LOOKUPS: Pace = Pace {
    rate: 1_000,
    connections: PROXIES,
};
/// Look-ups go on for so long; the proxies start after a fifth of it.
const ROUND: Duration = Duration::from_secs(5);
/// So long the plugin waits for a verdict when it holds nobody for it; those that come later open its breaker.
const VERDICT_MS: f64 = 250.0;
/// After this the plugin gives up a part.
const IMAGE_MS: f64 = 5_000.0;
/// As for a ban at a single proxy.
const BAN_MS: f64 = 500.0;
/// Beside those of the proxies and of look-ups: of the store, and of what asks for the metrics.
const OTHER_FILES: usize = 16;

/// What one round took, in milliseconds.
struct Round {
    image: f64,
    ban: f64,
    /// Files and sockets of the sidecar while all were there, over those of before.
    files: usize,
}

pub async fn measure(setting: &Setting, findings: &mut Findings) -> Result<(), Error> {
    let sidecar = setting.loaded_sidecar()?.start().await?;
    let mut alone = Tally::default();
    let mut among = Tally::default();
    let mut rounds = Vec::new();
    for number in 0..setting.by_time(3, 9) {
        let quiet = Load::new(sidecar.edge(), LOOKUPS, clients(&alone));
        alone.add(quiet.run(ROUND).await?);
        let busy = Load::new(sidecar.edge(), LOOKUPS, clients(&among));
        let (tally, round) = tokio::join!(busy.run(ROUND), start_all(&sidecar, number));
        among.add(tally?);
        rounds.push(round?);
    }
    findings.faults(alone.fault("look-ups without the proxies"));
    findings.faults(among.fault("look-ups while proxies start"));
    let p99 = |tally: &Tally| tally.quantile(0.99).as_secs_f64() * 1000.0;
    findings.figure("verdict_p99_without_proxies_ms", p99(&alone));
    findings.at_most(
        "verdict_p99_while_proxies_start_ms",
        p99(&among),
        VERDICT_MS,
    );
    let slowest = |of: fn(&Round) -> f64| rounds.iter().map(of).fold(0.0, f64::max);
    let median = |of: fn(&Round) -> f64| Median::of(rounds.iter().map(of).collect()).value;
    findings.figure(
        "image_at_100_proxies_median_ms",
        median(|round| round.image),
    );
    findings.at_most(
        "image_at_100_proxies_slowest_ms",
        slowest(|round| round.image),
        IMAGE_MS,
    );
    findings.figure("ban_at_100_proxies_median_ms", median(|round| round.ban));
    findings.at_most(
        "ban_at_100_proxies_slowest_ms",
        slowest(|round| round.ban),
        BAN_MS,
    );
    let files = rounds
        .iter()
        .map(|round| round.files)
        .max()
        .unwrap_or_default();
    let most = 2 * PROXIES + LOOKUPS.connections + OTHER_FILES;
    findings.at_most("sidecar_connections", as_f64(files), as_f64(most));
    findings.figure(
        "sidecar_peak_mb",
        super::course::megabytes(sidecar.peak_memory()),
    );
    Ok(())
}

/// Nobody who came in an earlier round.
fn clients(before: &Tally) -> Clients {
    Clients::with_strangers()
        .for_verdicts()
        .after(before.requests())
}

async fn start_all(sidecar: &Sidecar, number: u32) -> Result<Round, Error> {
    let files = sidecar.open_files();
    tokio::time::sleep(ROUND / 5).await;
    let begun = Instant::now();
    let mut starting = JoinSet::new();
    for _ in 0..PROXIES {
        let edge = sidecar.edge();
        starting.spawn(async move {
            let mut proxy = RawProxy::connect(edge).await?;
            proxy.pull().await?;
            Ok::<_, Error>(proxy)
        });
    }
    let mut proxies = Vec::new();
    while let Some(proxy) = starting.join_next().await {
        proxies.push(joined(proxy)?);
    }
    let image = begun.elapsed().as_secs_f64() * 1000.0;
    let mut polling = JoinSet::new();
    for mut proxy in proxies {
        polling.spawn(async move {
            let news = proxy.pull().await?;
            Ok::<_, Error>((news, proxy))
        });
    }
    tokio::time::sleep(ROUND / 5).await;
    let files = sidecar.open_files().saturating_sub(files);
    let begun = Instant::now();
    order(sidecar, &["ban", &format!("203.0.113.{number}")]).await?;
    let mut told = Vec::new();
    while let Some(polled) = polling.join_next().await {
        let (news, proxy) = joined(polled)?;
        if !news {
            return Err(Error::Said("a proxy was not told of a ban".to_owned()));
        }
        told.push(proxy);
    }
    let ban = begun.elapsed().as_secs_f64() * 1000.0;
    if told.first().is_none_or(|proxy| !proxy.is_whole()) {
        return Err(Error::Said(
            "a proxy was given other parts than it asked for".to_owned(),
        ));
    }
    Ok(Round { image, ban, files })
}

fn joined<T>(done: Result<Result<T, Error>, tokio::task::JoinError>) -> Result<T, Error> {
    done.map_err(|error| Error::Said(format!("a proxy ended: {error}")))?
}

fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
