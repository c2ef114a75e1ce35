//! The operator's word: given, lapsed, taken back.

use std::time::{Duration, Instant};

use kit::abuseipdb::{AbuseIpDb, KEY};
use kit::snapshot::{Draft, Line};
use serde_json::json;

use crate::common::{Edge, RawEdge, Workers, cli, sidecar_that_blocks, until_status};

const CLIENT: &str = "203.0.113.5";

#[tokio::test]
async fn a_ban_reaches_every_worker_within_a_second_and_an_unban_lifts_it() {
    let edge = Edge::start_with(sidecar_that_blocks(&[]), |envoy| envoy.concurrency(2)).await;
    let mut workers = Workers::of(&edge.envoy).await;
    assert!(workers.all_answer(CLIENT, 200).await);
    for (command, status) in [("ban", 403), ("unban", 200), ("ban", 403)] {
        edge.cli(&[command, CLIENT]).await;
        let begun = Instant::now();
        assert!(
            workers.all_answer(CLIENT, status).await,
            "{command}: {}",
            edge.envoy.log()
        );
        let taken = begun.elapsed();
        assert!(taken < Duration::from_secs(1), "{command} took {taken:?}");
    }
}

#[tokio::test]
async fn a_ban_holds_and_lapses_although_the_sidecar_is_dead() {
    let mut edge = Edge::start(sidecar_that_blocks(&[])).await;
    edge.cli(&["ban", CLIENT, "--for", "4s"]).await;
    assert!(until_status(&edge.envoy, CLIENT, 403).await);
    edge.sidecar.kill();
    assert_eq!(edge.envoy.status_for(CLIENT).await, 403);
    assert!(
        until_status(&edge.envoy, CLIENT, 200).await,
        "the ban did not lapse"
    );
}

#[tokio::test]
async fn whoever_bans_what_an_operator_allows_is_told_that_it_still_passes() {
    let edge = Edge::start(sidecar_that_blocks(&[])).await;
    edge.cli(&["allow", "203.0.113.0/24"]).await;
    let said = edge.cli(&["ban", CLIENT]).await;
    assert!(said.contains("still passes"), "{said}");
    assert!(said.contains("unallow 203.0.113.0/24"), "{said}");
    assert_eq!(edge.envoy.status_for(CLIENT).await, 200);
    edge.cli(&["unallow", "203.0.113.0/24"]).await;
    assert!(until_status(&edge.envoy, CLIENT, 403).await);
    let said = edge.cli(&["ban", "203.0.113.6"]).await;
    assert!(!said.contains("still passes"), "{said}");
}

#[tokio::test]
async fn an_allow_lifts_a_denial_that_is_cached() {
    let abuseipdb = AbuseIpDb::start().await.unwrap();
    abuseipdb.knows("8.8.4.4", 100);
    let sidecar = sidecar_that_blocks(&[])
        .toml(&abuseipdb.toml())
        .env("ABUSEIPDB_KEY", KEY);
    let edge = Edge::start(sidecar).await;
    assert!(
        until_status(&edge.envoy, "8.8.4.4", 403).await,
        "{:?}",
        abuseipdb.asked()
    );
    let said = edge.cli(&["unban", "8.8.4.4"]).await;
    assert!(said.contains("--allow"), "offers no way out: {said}");
    assert_eq!(edge.envoy.status_for("8.8.4.4").await, 403);
    edge.cli(&["unban", "8.8.4.4", "--allow"]).await;
    assert!(until_status(&edge.envoy, "8.8.4.4", 200).await);
}

#[tokio::test]
async fn verdicts_cached_under_an_older_generation_are_asked_for_again() {
    let edge = RawEdge::start_with(|envoy| {
        envoy
            .plugin(json!({"unknown": "hold", "hold_ms": 1000}))
            .unwrap()
    })
    .await;
    edge.sidecar.denies(CLIENT);
    let draft = |version| Draft::version(version).with_lookups();
    let canary = "192.0.2.1";
    edge.sidecar.publish(
        draft(1)
            .base(Line::listed(canary).unwrap())
            .build()
            .unwrap(),
    );
    assert!(until_status(&edge.envoy, canary, 403).await);
    assert!(until_status(&edge.envoy, CLIENT, 403).await);
    edge.sidecar.forgives(CLIENT);
    assert_eq!(
        edge.envoy.status_for(CLIENT).await,
        403,
        "the denial is not cached"
    );
    let mut next = draft(2)
        .base(Line::listed(canary).unwrap())
        .build()
        .unwrap();
    next.manifest.generation += 1;
    edge.sidecar.publish(next);
    assert!(until_status(&edge.envoy, CLIENT, 200).await);
}

#[tokio::test]
async fn a_decision_that_is_too_wide_shows_what_it_would_hit_and_asks() {
    let edge = Edge::start(sidecar_that_blocks(&[])).await;
    for command in ["ban", "allow"] {
        for wide in ["10.0.0.0/8", "2001:db8::/31"] {
            let output = edge.sidecar.cli(&[command, wide]).await.unwrap();
            assert!(!output.status.success(), "{command} {wide}");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(said.contains("--force"), "{command} {wide}: {said}");
        }
    }
    assert!(
        !cli(&edge.sidecar, &["decisions"])
            .await
            .contains("10.0.0.0/8")
    );
}

#[tokio::test]
async fn addresses_that_are_none_are_refused_with_exit_status_64() {
    let edge = Edge::start(sidecar_that_blocks(&[])).await;
    for wrong in [
        "10.1",
        "192.0.2.01",
        "192.0.2.1:80",
        "fe80::1%eth0",
        "nobody",
        "192.0.2.1/33",
    ] {
        for command in ["ban", "unban", "explain", "check", "allow"] {
            let output = edge.sidecar.cli(&[command, wrong]).await.unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(64), "{command} {wrong}: {said}");
            assert!(!said.trim().is_empty(), "{command} {wrong} says nothing");
        }
    }
}
