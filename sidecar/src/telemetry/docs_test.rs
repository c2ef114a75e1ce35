//! `docs/metrics.md` says what `metrics` exports.

use std::collections::BTreeSet;
use std::time::Duration;

use reputation::UnixSeconds;

use super::Metrics;
use super::metrics::tests::{a_ban, off};
use super::metrics::{CacheLayer, CacheResult, HistoryLoss};
use crate::patrol::CanaryState;
use crate::store::{Concern, StoreHealth, StoreKind};

const DOCUMENT: &str = include_str!("../../../docs/metrics.md");

/// Metrics in which everything was written once: what was never written is not exported.
fn written() -> Metrics {
    let metrics = Metrics::new();
    let second = Duration::from_secs(1);
    metrics.cache_request(CacheLayer::Store, CacheResult::Stale);
    metrics.provider_request("abuseipdb", "ok", second);
    metrics.provider_skipped("abuseipdb", "pace");
    metrics.shadow_answer("ipsum", reputation::Action::Deny);
    metrics.provider_quota("abuseipdb", 2, 1);
    metrics.feed_configured("a", second);
    metrics.feed_taken("a", 1, UnixSeconds(1));
    metrics.feed_refused("a", "fetch");
    metrics.database_configured("a", second);
    metrics.database_taken("a", UnixSeconds(1));
    metrics.database_refused("a", "faulty");
    metrics.set_decisions([&a_ban()]);
    metrics.canary(CanaryState::Refused, second, UnixSeconds(1));
    metrics.set_modes([&off(None)]);
    metrics.store_health(&StoreHealth {
        kind: StoreKind::Redis,
        place: String::new(),
        fault: None,
        concerns: vec![Concern::ReadOnly],
    });
    metrics.history_begins();
    metrics.history_good(UnixSeconds(1));
    metrics.history_written("verdict", 1);
    metrics.history_dropped(HistoryLoss::Full, 1);
    metrics.config_loaded(UnixSeconds(1));
    metrics.secret_expiry("abuseipdb", 1);
    metrics.error_logged();
    metrics.connection_refused("edge");
    metrics.http_request("edge", "verdict", 200, second);
    metrics
}

/// Each metric and each of its labels, as the registry writes them.
fn exported() -> BTreeSet<(String, String)> {
    let text = written().encode().unwrap();
    let mut exported = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, rest) = line.split_once(['{', ' ']).unwrap();
        let histogram = ["_bucket", "_sum", "_count"];
        let suffix = histogram.iter().find_map(|part| name.strip_suffix(part));
        let name = suffix.unwrap_or(name).to_owned();
        exported.insert((name.clone(), String::new()));
        let labels = rest.split_once('}').map_or("", |(labels, _)| labels);
        for label in labels.split(',').filter_map(|pair| pair.split_once('=')) {
            exported.insert((name.clone(), label.0.to_owned()));
        }
    }
    exported.retain(|(_, label)| label != "le");
    exported
}

/// The same as the document has it: a heading per metric, a row per label.
fn documented() -> BTreeSet<(String, String)> {
    let (_, sidecar) = DOCUMENT.split_once("## From the sidecar").unwrap();
    let mut documented = BTreeSet::new();
    let mut metric = String::new();
    for line in sidecar.lines() {
        if let Some(heading) = line.strip_prefix("### `") {
            metric = heading.trim_end_matches('`').to_owned();
            documented.insert((metric.clone(), String::new()));
        } else if let Some((label, _)) =
            line.strip_prefix("| `").and_then(|row| row.split_once('`'))
        {
            documented.insert((metric.clone(), label.to_owned()));
        }
    }
    documented
}

#[test]
fn the_document_has_the_metrics_and_labels_that_are_exported() {
    assert_eq!(documented(), exported());
}
