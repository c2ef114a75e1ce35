//! The sidecar down, dying, slow, stopped, talking rubbish: the site stays up, and what was decided
//! stays decided.

use std::time::{Duration, Instant};

use kit::child::Signal;
use kit::raw_sidecar::Behaviour;
use kit::serve::Answer;
use kit::snapshot::{Draft, Line};
use kit::{Envoy, RawSidecar, Request, Upstream};
use serde_json::json;

use crate::common::{
    CANARY, Edge, LIMIT, RawEdge, between, no_vm_died, sidecar_that_blocks, until_metric,
    until_status,
};

const CLIENT: &str = "203.0.113.5";
const FAILURES: &str = "portcullis_failures_total";
const VERDICTS: &str = "portcullis_verdicts_total";

/// A snapshot that makes the filter ask about everybody but the canary.
fn asking(version: u64) -> kit::snapshot::Built {
    let draft = Draft::version(version)
        .with_lookups()
        .base(Line::listed(CANARY).unwrap());
    draft.build().unwrap()
}

#[tokio::test]
async fn a_sidecar_that_is_down_at_the_start_stops_nobody_and_is_found_when_it_comes() {
    let upstream = Upstream::start().await.unwrap();
    let mut sidecar = sidecar_that_blocks(&[]).prepare().unwrap();
    let builder = between(&upstream, &sidecar.addresses());
    let envoy = builder.start().await.unwrap();
    for _ in 0..20 {
        assert_eq!(envoy.status_for(CANARY).await, 200);
    }
    sidecar.restart().await.unwrap();
    assert!(until_status(&envoy, CANARY, 403).await, "{}", envoy.log());
    assert!(no_vm_died(&envoy));
}

#[tokio::test]
async fn what_was_decided_outlives_the_sidecar() {
    let mut edge = Edge::start(sidecar_that_blocks(&["198.51.100.0/24"])).await;
    edge.cli(&["ban", CLIENT]).await;
    assert!(until_status(&edge.envoy, CLIENT, 403).await);
    edge.sidecar.kill();
    for _ in 0..50 {
        assert_eq!(edge.envoy.status_for(CLIENT).await, 403);
        assert_eq!(edge.envoy.status_for("198.51.100.9").await, 403);
        assert_eq!(edge.envoy.status_for("203.0.113.6").await, 200);
    }
    edge.sidecar.restart().await.unwrap();
    edge.cli(&["unban", CLIENT]).await;
    assert!(
        until_status(&edge.envoy, CLIENT, 200).await,
        "the proxy lost its sidecar"
    );
}

#[tokio::test]
async fn a_stopped_sidecar_costs_no_answer_and_little_time() {
    let edge = Edge::start(sidecar_that_blocks(&[])).await;
    edge.sidecar.signal(Signal::Stop);
    let begun = Instant::now();
    for host in 1..50 {
        assert_eq!(
            edge.envoy.status_for(&format!("203.0.113.{host}")).await,
            200
        );
        assert_eq!(edge.envoy.status_for(CANARY).await, 403);
    }
    let taken = begun.elapsed();
    assert!(taken < Duration::from_secs(3), "98 requests took {taken:?}");
    edge.sidecar.signal(Signal::Continue);
    edge.cli(&["ban", CLIENT]).await;
    assert!(
        until_status(&edge.envoy, CLIENT, 403).await,
        "the proxy lost its sidecar"
    );
}

#[tokio::test]
async fn closed_answers_503_and_never_calls_it_a_denial() {
    let edge = RawEdge::start_with(|envoy| {
        envoy
            .plugin(json!({"failure": "closed", "unknown": "hold", "hold_ms": 50}))
            .unwrap()
    })
    .await;
    edge.sidecar.publish(asking(1));
    assert!(until_status(&edge.envoy, CANARY, 403).await);
    edge.sidecar
        .on_verdicts(Behaviour::Always(Answer::status(500)));
    let served = edge.upstream.served();
    let refusal = edge
        .envoy
        .send(&Request::get("/").from_client(CLIENT))
        .await
        .unwrap();
    assert_eq!(refusal.status, 503, "{}", refusal.text());
    assert_eq!(edge.upstream.served(), served);
    assert_eq!(refusal.header("x-portcullis-decision"), None);
    assert!(until_metric(&edge.envoy, FAILURES, &["policy=\"closed\""], 1.0).await);
    let denied = edge
        .envoy
        .metric(VERDICTS, &["action=\"deny\"", "source=\"lookup\""])
        .await;
    assert_eq!(denied, 0.0);
    assert_eq!(
        edge.envoy.status_for(CANARY).await,
        403,
        "a denial became a failure"
    );
}

#[tokio::test]
async fn open_passes_and_counts_why() {
    let edge = RawEdge::start_with(|envoy| {
        envoy
            .plugin(json!({"unknown": "hold", "hold_ms": 50}))
            .unwrap()
    })
    .await;
    edge.sidecar.publish(asking(1));
    assert!(until_status(&edge.envoy, CANARY, 403).await);
    for answer in [
        Answer::status(500),
        Answer::body("application/json", "{\"action\":\"explode\"}"),
        Answer::body("text/html", "<html>"),
        Answer::body("application/json", vec![0xff; 100_000]),
        Answer::Raw(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()),
        Answer::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"action\"".to_vec()),
        Answer::Raw(Vec::new()),
    ] {
        edge.sidecar.on_verdicts(Behaviour::Always(answer.clone()));
        for host in 1..4 {
            let client = format!("203.0.113.{host}");
            assert_eq!(edge.envoy.status_for(&client).await, 200, "{answer:?}");
        }
    }
    assert!(until_metric(&edge.envoy, FAILURES, &["policy=\"open\""], 1.0).await);
    assert_eq!(edge.envoy.status_for(CANARY).await, 403);
    assert!(no_vm_died(&edge.envoy), "{}", edge.envoy.log());
}

#[tokio::test]
async fn a_slow_sidecar_delays_a_held_request_by_hold_ms_and_soon_none_at_all() {
    let edge = RawEdge::start_with(|envoy| {
        envoy
            .plugin(json!({"unknown": "hold", "hold_ms": 100}))
            .unwrap()
    })
    .await;
    edge.sidecar.publish(asking(1));
    assert!(until_status(&edge.envoy, CANARY, 403).await);
    edge.sidecar
        .on_verdicts(Behaviour::Late(Duration::from_secs(5)));
    let mut taken = Vec::new();
    for host in 1..30 {
        let begun = Instant::now();
        assert_eq!(
            edge.envoy.status_for(&format!("203.0.113.{host}")).await,
            200
        );
        taken.push(begun.elapsed());
    }
    let worst = taken.iter().max().unwrap();
    assert!(*worst < Duration::from_millis(1000), "{taken:?}");
    let held = taken
        .iter()
        .filter(|&&one| one >= Duration::from_millis(90))
        .count();
    assert!(
        (1..=8).contains(&held),
        "{held} of {} were held: {taken:?}",
        taken.len()
    );
}

#[tokio::test]
async fn a_sidecar_that_answers_in_time_is_waited_for() {
    let edge = RawEdge::start_with(|envoy| {
        envoy
            .plugin(json!({"unknown": "hold", "hold_ms": 1000}))
            .unwrap()
    })
    .await;
    edge.sidecar.publish(asking(1));
    assert!(until_status(&edge.envoy, CANARY, 403).await);
    edge.sidecar.denies(CLIENT);
    edge.sidecar
        .on_verdicts(Behaviour::Late(Duration::from_millis(50)));
    assert_eq!(
        edge.envoy.status_for(CLIENT).await,
        403,
        "the first request was not held"
    );
}

#[tokio::test]
async fn pass_lets_the_first_request_through_and_knows_at_the_next() {
    let edge = RawEdge::start().await;
    edge.sidecar.publish(asking(1));
    assert!(until_status(&edge.envoy, CANARY, 403).await);
    edge.sidecar.denies(CLIENT);
    edge.sidecar
        .on_verdicts(Behaviour::Late(Duration::from_millis(100)));
    assert_eq!(edge.envoy.status_for(CLIENT).await, 200, "it was held");
    assert!(until_status(&edge.envoy, CLIENT, 403).await);
    // Of this client only: the canary may have been asked about before the first snapshot came.
    let question = format!("/v1/verdict/{CLIENT}");
    assert_eq!(
        edge.sidecar.asked(&question).len(),
        1,
        "asked more than once"
    );
}

#[tokio::test]
async fn a_manifest_of_rubbish_changes_nothing() {
    let edge = RawEdge::start().await;
    edge.sidecar.publish(asking(1));
    assert!(until_status(&edge.envoy, CANARY, 403).await);
    for answer in [
        Answer::body("application/json", "{}"),
        Answer::body("application/json", "[".repeat(100_000)),
        Answer::body("application/json", vec![0x80; 1000]),
        Answer::status(500),
        Answer::Raw(b"\0\0\0".to_vec()),
    ] {
        edge.sidecar.on_manifest(Behaviour::Always(answer.clone()));
        let polls = edge.sidecar.asked("/v1/manifest").len();
        // Whoever is waiting in a long poll gets this version; the rubbish comes at the next poll.
        let version = 100 + u64::try_from(polls).unwrap();
        edge.sidecar.publish(asking(version));
        let asked = kit::eventually(LIMIT, || {
            edge.sidecar.asked("/v1/manifest").len() > polls + 1
        });
        assert!(
            asked.await,
            "{answer:?}: the proxy polls no more: {}",
            edge.envoy.log()
        );
        assert_eq!(edge.envoy.status_for(CANARY).await, 403, "{answer:?}");
        edge.sidecar.on_manifest(Behaviour::Good);
    }
    assert!(no_vm_died(&edge.envoy), "{}", edge.envoy.log());
    let news = Draft::version(100_000).base(Line::listed(CLIENT).unwrap());
    edge.sidecar.publish(news.build().unwrap());
    assert!(
        until_status(&edge.envoy, CLIENT, 403).await,
        "it did not recover"
    );
}

#[tokio::test]
async fn without_a_snapshot_closed_still_answers_and_open_still_passes() {
    let upstream = Upstream::start().await.unwrap();
    let mut sidecar = RawSidecar::start().await.unwrap();
    sidecar.stop();
    for (policy, status) in [("open", 200), ("closed", 503)] {
        let builder = Envoy::builder()
            .unwrap()
            .upstream(upstream.address())
            .unwrap();
        let builder = builder.sidecar(&sidecar.addresses()).unwrap();
        let builder = builder.plugin(json!({"failure": policy})).unwrap();
        let envoy = builder.start().await.unwrap();
        assert!(
            until_status(&envoy, CLIENT, status).await,
            "{policy}: {}",
            envoy.log()
        );
        let label = format!("policy=\"{policy}\"");
        assert!(
            until_metric(&envoy, FAILURES, &[&label], 1.0).await,
            "{policy}"
        );
    }
}
