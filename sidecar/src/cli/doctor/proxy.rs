//! What a proxy's statistics say: two readings a second apart, and what the sidecar publishes.

use std::time::Duration;

use reputation::manifest::SnapshotVersion;

use crate::doctor::{Check, Finding, SNAPSHOT_OLD, count};
use crate::proxies::Stats;

/// One proxy.
pub struct ProxyFacts<'a> {
    pub before: &'a Stats,
    /// At least a second later.
    pub after: &'a Stats,
    /// In seconds since 1970.
    pub now: u64,
    /// What the sidecar had published before `after` was read.
    pub published: Option<SnapshotVersion>,
    /// Whether an operator switched every route off.
    pub off: bool,
}

/// Fewer requests than these say nothing about a share.
const ENOUGH: u64 = 100;
/// So many requests within a second must leave a verdict.
const FLOWING: u64 = 20;

const REQUESTS: &str = "envoy_http_downstream_rq_total";
const VERDICTS: &str = "portcullis_verdicts_total";
const FAILURES: &str = "portcullis_failures_total";
const LIMITS: [&str; 3] = ["everyone", "throttled", "reputation_api"];

/// What follows from the numbers, but for whether they could be read at all.
pub fn findings(facts: &ProxyFacts<'_>) -> Vec<Finding> {
    let (statistics, lacking) = statistics(facts.after);
    let snapshot = snapshot(facts);
    let current = !snapshot.state.falls_short();
    let findings = vec![
        statistics,
        verdicts(facts),
        limits(facts.after),
        clients(facts.after),
        snapshot,
        vms(facts.after),
        failures(facts),
        refused(facts.after, current),
        traps(facts.after),
        errors(facts.after),
        latency(facts.after),
    ];
    // What follows from that alone is not told as a fault of its own.
    let unless_lacking = |finding: Finding| match lacking.contains(&finding.check) {
        true => Finding::skipped(finding.check, "see envoy.stats"),
        false => finding,
    };
    findings.into_iter().map(unless_lacking).collect()
}

/// Those that cannot be made without statistics.
pub const NEED_STATISTICS: [Check; 10] = [
    Check::EnvoyVerdicts,
    Check::EnvoyLimits,
    Check::EnvoyClients,
    Check::EnvoySnapshot,
    Check::EnvoyVms,
    Check::EnvoyFailures,
    Check::EnvoyRefused,
    Check::EnvoyTraps,
    Check::EnvoyErrors,
    Check::EnvoyLatency,
];

/// Those that count by a label of the plugin's.
const NEED_LABELS: [Check; 4] = [
    Check::EnvoyVerdicts,
    Check::EnvoyClients,
    Check::EnvoyFailures,
    Check::EnvoyRefused,
];
/// Those that rest on any statistics of the plugin's.
const NEED_THE_PLUGIN: [Check; 6] = [
    Check::EnvoyVerdicts,
    Check::EnvoyClients,
    Check::EnvoyFailures,
    Check::EnvoyRefused,
    Check::EnvoySnapshot,
    Check::EnvoyVms,
];

/// With it, which checks have nothing to go by.
fn statistics(stats: &Stats) -> (Finding, &'static [Check]) {
    let check = Check::EnvoyStats;
    if stats.has("portcullis_vms", &[]) {
        if stats.has_prefix("portcullis_client_addresses_total_kind") {
            let seen = "the plugin's labels stand in the metrics' names";
            let remedy = "put stats_config of envoy/envoy.yaml into the bootstrap";
            return (Finding::attention(check, seen, remedy), &NEED_LABELS);
        }
        return (
            Finding::ok(
                check,
                "Envoy's statistics can be read, and the plugin's are among them",
            ),
            &[],
        );
    }
    let missing = Finding::failing(
        check,
        "the plugin has no statistics: it is not loaded",
        "see what Envoy's log says of wasm and of extension_config_discovery",
    );
    (missing, &NEED_THE_PLUGIN)
}

fn verdicts(facts: &ProxyFacts<'_>) -> Finding {
    let check = Check::EnvoyVerdicts;
    let risen = |name| {
        let (before, after) = (
            facts.before.at_the_edge(name, &[]),
            facts.after.at_the_edge(name, &[]),
        );
        after.saturating_sub(before)
    };
    let requests = facts.after.at_the_edge(REQUESTS, &[]);
    let verdicts = decided(facts.after) + facts.after.count(FAILURES, &[]);
    let seen = format!("{requests} requests and {verdicts} verdicts since Envoy's start");
    if facts.off {
        return Finding::skipped(check, "mode off counts no verdicts: see operator.modes");
    }
    let flat = risen(REQUESTS) >= FLOWING && risen(VERDICTS) + risen(FAILURES) == 0;
    if flat || (requests >= ENOUGH && verdicts == 0) {
        return Finding::failing(
            check,
            format!("requests flow and no verdict is counted: {seen}"),
            "the plugin is bypassed, disabled or in mode off: see its place among http_filters, and Envoy's log",
        );
    }
    Finding::ok(check, seen)
}

fn limits(stats: &Stats) -> Finding {
    let check = Check::EnvoyLimits;
    let prefix = "envoy_local_http_ratelimit_prefix";
    let of = |name, limit| stats.count(name, &[(prefix, limit)]);
    let has = |limit: &&str| stats.has("envoy_http_local_rate_limit_enabled", &[(prefix, limit)]);
    let missing: Vec<_> = LIMITS.into_iter().filter(|limit| !has(limit)).collect();
    if !missing.is_empty() {
        return Finding::attention(
            check,
            format!("no rate limit {}", missing.join(", ")),
            "take it over from envoy/envoy.yaml (RATE LIMITS): without it one client can use up everything",
        );
    }
    let words = LIMITS.map(|limit| {
        let over = of("envoy_http_local_rate_limit_rate_limited", limit);
        let refused = of("envoy_http_local_rate_limit_enforced", limit);
        format!("{limit} {over} over, {refused} refused")
    });
    Finding::ok(check, words.join("; "))
}

fn clients(stats: &Stats) -> Finding {
    let check = Check::EnvoyClients;
    let of = |kind| stats.count("portcullis_client_addresses_total", &[("kind", kind)]);
    let (public, private, missing) = (of("public"), of("private"), of("missing"));
    let all = public + private + missing;
    let seen = format!(
        "{public} requests of public clients, {private} of private ones, {missing} of nobody known"
    );
    if all < ENOUGH {
        return Finding::ok(
            check,
            format!("{seen}: too few to judge the trusted hops by"),
        );
    }
    if missing * 100 > all {
        let remedy = "Envoy has no address for these clients: a Unix socket needs proxy protocol or trusted hops";
        return Finding::attention(check, seen, remedy);
    }
    if private * 2 > all {
        let remedy = "if your clients come from the world, a load balancer is taken for the client: set \
                      xff_num_trusted_hops to the number of proxies in front";
        return Finding::attention(check, seen, remedy);
    }
    Finding::ok(check, seen)
}

fn snapshot(facts: &ProxyFacts<'_>) -> Finding {
    let check = Check::EnvoySnapshot;
    let version = facts.after.count("portcullis_snapshot_version_min", &[]);
    let built = facts
        .after
        .count("portcullis_snapshot_built_timestamp_seconds", &[]);
    if version == 0 || built == 0 {
        return Finding::failing(
            check,
            "a VM has no snapshot: it takes everybody for unknown",
            "see whether Envoy reaches the sidecar (cluster portcullis_poll), and envoy.refused",
        );
    }
    let age = facts.now.saturating_sub(built);
    let shown = crate::duration::show(Duration::from_secs(age));
    let seen = format!("every VM has version {version} or newer, built {shown} ago");
    if age > u64::from(SNAPSHOT_OLD) {
        let remedy =
            "no new one arrives: see whether Envoy reaches the sidecar, and snapshot.published";
        return Finding::failing(check, seen, remedy);
    }
    match facts.published {
        Some(published) if version < published.version => Finding::attention(
            check,
            format!(
                "a VM has version {version}, the sidecar publishes {}",
                published.version
            ),
            "see whether Envoy reaches the sidecar (cluster portcullis_poll), and envoy.refused",
        ),
        _ => Finding::ok(check, seen),
    }
}

fn vms(stats: &Stats) -> Finding {
    let check = Check::EnvoyVms;
    let (alive, workers) = (
        stats.count("portcullis_vms", &[]),
        stats.count("envoy_server_concurrency", &[]),
    );
    let seen = format!(
        "{} alive for {}",
        count(alive, "VM"),
        count(workers, "worker")
    );
    // One for each worker, and one for the main thread.
    if alive > workers {
        return Finding::ok(check, seen);
    }
    let remedy = "a VM died or was never built: see envoy.traps and Envoy's log";
    if alive == 0 {
        return Finding::failing(check, seen, remedy);
    }
    Finding::attention(check, seen, remedy)
}

fn failures(facts: &ProxyFacts<'_>) -> Finding {
    let check = Check::EnvoyFailures;
    let of = |policy| facts.after.count(FAILURES, &[("policy", policy)]);
    let (open, closed) = (of("open"), of("closed"));
    let all = open + closed;
    let lately = all.saturating_sub(facts.before.count(FAILURES, &[]));
    let seen =
        format!("{open} requests passed and {closed} refused because no verdict could be had");
    if lately > 0 {
        return Finding::failing(
            check,
            format!("{seen}, {lately} of them within the last second"),
            "the sidecar does not answer this proxy: see sidecar.reachable, and whether the cluster portcullis is healthy",
        );
    }
    let decided = decided(facts.after);
    if all >= ENOUGH && all * 100 > decided {
        let remedy =
            "more than one in a hundred since Envoy's start: see the sidecar's log of that time";
        return Finding::attention(check, seen, remedy);
    }
    if all > 0 {
        return Finding::note(check, seen);
    }
    Finding::ok(check, seen)
}

/// A refused snapshot whose successor was taken is history.
fn refused(stats: &Stats, current: bool) -> Finding {
    let check = Check::EnvoyRefused;
    let refused = stats.count("portcullis_snapshot_refused_total", &[]);
    let seen = format!("{} refused since Envoy's start", count(refused, "snapshot"));
    match (refused, current) {
        (0, _) => Finding::ok(check, seen),
        (_, true) => Finding::note(check, format!("{seen}; what is published now was taken")),
        (_, false) => Finding::failing(
            check,
            seen,
            "portcullis_snapshot_refused_total{cause} and Envoy's log say why; what was active stays",
        ),
    }
}

fn traps(stats: &Stats) -> Finding {
    let check = Check::EnvoyTraps;
    let of = |outcome: &str| stats.sum_between("envoy_wasm_", &format!("_vm_reload_{outcome}"));
    let (reloaded, failed) = (of("success"), of("failure"));
    let seen = format!("{reloaded} VMs died and were replaced, {failed} could not be replaced");
    if reloaded + failed == 0 {
        return Finding::ok(check, "no VM died since Envoy's start");
    }
    let remedy =
        "each cost a request: report the trap that Envoy's log shows; see docs/failure-policy.md";
    Finding::attention(check, seen, remedy)
}

fn errors(stats: &Stats) -> Finding {
    let check = Check::EnvoyErrors;
    let name = "envoy_http_downstream_rq_xx";
    let all = stats.at_the_edge(name, &[]);
    let errors = stats.at_the_edge(name, &[("envoy_response_code_class", "5")]);
    let seen = format!("{errors} of {all} answers since Envoy's start were 5xx");
    if all >= ENOUGH && errors * 100 > all {
        let remedy =
            "flags and details in Envoy's access log say whether the upstream or the edge fails";
        return Finding::attention(check, seen, remedy);
    }
    Finding::ok(check, seen)
}

fn latency(stats: &Stats) -> Finding {
    let check = Check::EnvoyLatency;
    let name = "envoy_http_downstream_rq_time";
    let all = stats.at_the_edge(&format!("{name}_count"), &[]);
    if all < ENOUGH {
        return Finding::ok(
            check,
            format!("{}: too few to judge by", count(all, "request")),
        );
    }
    // The bucket that is nearest to 2 s.
    let soon = stats.at_the_edge(&format!("{name}_bucket"), &[("le", "2500")]);
    let slow = all.saturating_sub(soon);
    let seen = format!("{slow} of {all} requests took longer than 2.5 s");
    if slow * 100 > all {
        let remedy = "duration_ms in the access log says which upstream is slow";
        return Finding::attention(check, seen, remedy);
    }
    Finding::ok(check, seen)
}

/// Without what would have been decided beside it.
fn decided(stats: &Stats) -> u64 {
    let shadow = stats.count(VERDICTS, &[("mode", "shadow")]);
    stats.count(VERDICTS, &[]).saturating_sub(shadow)
}

#[cfg(test)]
mod tests;
