//! `docs/metrics.md` says what this module exports.

use std::collections::BTreeSet;

use super::*;

const DOCUMENT: &str = include_str!("../../../docs/metrics.md");

type Row = (String, String, String);

/// Each metric, and each value of each of its labels, as they stand in the names.
fn exported() -> BTreeSet<Row> {
    let metrics = Metrics::new();
    let counters = [
        &metrics.verdicts,
        &metrics.lookups,
        &metrics.failures,
        &metrics.addresses,
        &metrics.refusals,
    ];
    let counters = counters.into_iter().flatten();
    let gauges = [
        &metrics.duration,
        &metrics.version_min,
        &metrics.built,
        &metrics.vms,
    ];
    let names = counters.map(|counter| counter.metric.name.as_str());
    let names = names.chain(gauges.into_iter().map(|gauge| gauge.name.as_str()));
    let mut rows = BTreeSet::new();
    for name in names {
        let parts: Vec<_> = name.split('.').map(str::to_owned).collect();
        rows.insert((parts[0].clone(), String::new(), String::new()));
        for label in parts[1..].chunks(2) {
            rows.insert((parts[0].clone(), label[0].clone(), label[1].clone()));
        }
    }
    rows
}

/// The same as the document has it: a heading per metric, a row per value.
fn documented() -> BTreeSet<Row> {
    let (before, _) = DOCUMENT.split_once("## From the sidecar").unwrap();
    let mut rows = BTreeSet::new();
    let mut metric = String::new();
    for line in before.lines() {
        if let Some(heading) = line.strip_prefix("### `") {
            metric = heading.trim_end_matches('`').to_owned();
            rows.insert((metric.clone(), String::new(), String::new()));
        } else if line.starts_with("| `") {
            let cells: Vec<_> = line.split('`').map(str::to_owned).collect();
            rows.insert((metric.clone(), cells[1].clone(), cells[3].clone()));
        }
    }
    rows
}

#[test]
fn the_document_has_the_metrics_labels_and_values_that_are_exported() {
    assert_eq!(documented(), exported());
}
