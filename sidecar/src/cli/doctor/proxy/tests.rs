//! Readings of a proxy, healthy and not.

use super::*;
use crate::doctor::State;

const NOW: u64 = 1_800_000_000;

/// Two workers, a thousand requests, nothing wrong.
const HEALTHY: &str = r#"
portcullis_vms{} 3
envoy_server_concurrency{} 2
portcullis_snapshot_version_min{} 7
portcullis_snapshot_built_timestamp_seconds{} 1799999000
portcullis_verdicts_total{action="allow",source="unlisted",mode="enforce"} 990
portcullis_verdicts_total{action="deny",source="snapshot",mode="enforce"} 10
portcullis_client_addresses_total{kind="public"} 990
portcullis_client_addresses_total{kind="private"} 10
envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix="edge"} 1000
envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix="stats"} 5000
envoy_http_downstream_rq_xx{envoy_response_code_class="2",envoy_http_conn_manager_prefix="edge"} 1000
envoy_http_downstream_rq_xx{envoy_response_code_class="5",envoy_http_conn_manager_prefix="edge"} 5
envoy_http_downstream_rq_time_count{envoy_http_conn_manager_prefix="edge"} 1000
envoy_http_downstream_rq_time_bucket{envoy_http_conn_manager_prefix="edge",le="2500"} 995
envoy_http_local_rate_limit_enabled{envoy_local_http_ratelimit_prefix="everyone"} 1000
envoy_http_local_rate_limit_enabled{envoy_local_http_ratelimit_prefix="throttled"} 0
envoy_http_local_rate_limit_enabled{envoy_local_http_ratelimit_prefix="reputation_api"} 0
envoy_wasm_portcullis_vm_reload_success{} 0
"#;

/// The checks that fall short when a reading of a healthy proxy is followed by `after`.
fn short_after(after: &str) -> Vec<(Check, State)> {
    short(HEALTHY, after, false)
}

fn short(before: &str, after: &str, off: bool) -> Vec<(Check, State)> {
    let facts = ProxyFacts {
        before: &Stats::parse(before),
        after: &Stats::parse(after),
        now: NOW,
        published: Some("1795000000.7".parse().unwrap()),
        off,
    };
    let findings = findings(&facts).into_iter();
    let states = findings.map(|finding| (finding.check, finding.state));
    states.filter(|(_, state)| state.falls_short()).collect()
}

/// A healthy reading in which one thing stands otherwise.
fn but(old: &str, new: &str) -> String {
    assert!(HEALTHY.contains(old), "{old}");
    HEALTHY.replace(old, new)
}

#[test]
fn a_healthy_proxy_falls_short_in_nothing() {
    assert_eq!(short_after(HEALTHY), []);
}

#[test]
fn what_would_have_been_decided_in_shadow_is_no_decision_of_its_own() {
    let shadow =
        "portcullis_verdicts_total{action=\"deny\",source=\"cache\",mode=\"shadow\"} 500\n";
    let beside = format!("{HEALTHY}{shadow}");
    assert_eq!(
        (
            decided(&Stats::parse(HEALTHY)),
            decided(&Stats::parse(&beside))
        ),
        (1000, 1000)
    );
    let alone = but("} 990\nportcullis_verdicts", "} 0\nportcullis_verdicts");
    let alone = alone.replace("mode=\"enforce\"} 10", "mode=\"enforce\"} 0") + shadow;
    assert_eq!(
        short_after(&alone),
        [(Check::EnvoyVerdicts, State::Failing)]
    );
}

#[test]
fn each_fault_turns_its_own_check() {
    let (attention, failing) = (State::Attention, State::Failing);
    let cases = [
        ("vms{} 3", "vms{} 2", Check::EnvoyVms, attention),
        ("vms{} 3", "vms{} 0", Check::EnvoyVms, failing),
        (
            "version_min{} 7",
            "version_min{} 6",
            Check::EnvoySnapshot,
            attention,
        ),
        (
            "version_min{} 7",
            "version_min{} 0",
            Check::EnvoySnapshot,
            failing,
        ),
        (
            "seconds{} 1799999000",
            "seconds{} 1799900000",
            Check::EnvoySnapshot,
            failing,
        ),
        (
            "\"5\",envoy_http_conn_manager_prefix=\"edge\"} 5",
            "\"5\",envoy_http_conn_manager_prefix=\"edge\"} 50",
            Check::EnvoyErrors,
            attention,
        ),
        (
            "le=\"2500\"} 995",
            "le=\"2500\"} 900",
            Check::EnvoyLatency,
            attention,
        ),
        (
            "prefix=\"throttled\"} 0",
            "prefix=\"other\"} 0",
            Check::EnvoyLimits,
            attention,
        ),
        (
            "reload_success{} 0",
            "reload_success{} 1",
            Check::EnvoyTraps,
            attention,
        ),
        (
            "kind=\"private\"} 10",
            "kind=\"private\"} 1000",
            Check::EnvoyClients,
            attention,
        ),
        (
            "kind=\"private\"} 10",
            "kind=\"missing\"} 100",
            Check::EnvoyClients,
            attention,
        ),
    ];
    for (old, new, check, state) in cases {
        assert_eq!(short_after(&but(old, new)), [(check, state)], "{new}");
    }
}

#[test]
fn a_proxy_without_the_plugin_is_told_so() {
    let without = HEALTHY
        .lines()
        .filter(|line| !line.starts_with("portcullis"));
    let without = without.collect::<Vec<_>>().join("\n");
    let alone = |state| vec![(Check::EnvoyStats, state)];
    assert_eq!(short(&without, &without, false), alone(State::Failing));
    let untagged = HEALTHY.replace("_total{kind=\"public\"}", "_total_kind_public{}");
    let untagged = untagged.replace("_total{action=", "_total_action_deny{x=");
    assert_eq!(short(&untagged, &untagged, false), alone(State::Attention));
}

#[test]
fn requests_that_leave_no_verdict_are_noticed_unless_the_operator_switched_off() {
    let flowing = but(
        "prefix=\"edge\"} 1000\nenvoy_http_downstream_rq_total",
        "prefix=\"edge\"} 1100\nenvoy_http_downstream_rq_total",
    );
    assert_eq!(
        short_after(&flowing),
        [(Check::EnvoyVerdicts, State::Failing)]
    );
    assert_eq!(short(HEALTHY, &flowing, true), []);
}

#[test]
fn failures_count_more_while_they_happen() {
    let failed = |number| {
        format!(
            "{HEALTHY}portcullis_failures_total{{policy=\"open\",cause=\"timeout\"}} {number}\n"
        )
    };
    let failures = |state| vec![(Check::EnvoyFailures, state)];
    assert_eq!(short_after(&failed(3)), failures(State::Failing));
    assert_eq!(short(&failed(3), &failed(3), false), []);
    assert_eq!(
        short(&failed(200), &failed(200), false),
        failures(State::Attention)
    );
}

#[test]
fn a_refused_snapshot_is_history_once_its_successor_was_taken() {
    let line = "portcullis_snapshot_refused_total{cause=\"digest\"} 2\n";
    assert_eq!(short_after(&format!("{HEALTHY}{line}")), []);
    let behind = format!("{}{line}", but("version_min{} 7", "version_min{} 6"));
    let checks: Vec<_> = short_after(&behind)
        .into_iter()
        .map(|(check, _)| check)
        .collect();
    assert_eq!(checks, [Check::EnvoySnapshot, Check::EnvoyRefused]);
}
