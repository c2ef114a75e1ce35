//! AbuseIPDB, by a stand-in: what it says counts, and its failures are nobody's problem.

use std::time::{Duration, Instant};

use kit::Request;
use kit::abuseipdb::{AbuseIpDb, KEY};
use kit::serve::Answer;
use serde_json::json;
use tokio::task::JoinSet;

use crate::common::{CANARY, Edge, sidecar_that_blocks, until_status};

async fn edge(abuseipdb: &AbuseIpDb) -> Edge {
    let sidecar = sidecar_that_blocks(&[])
        .toml(&abuseipdb.toml())
        .env("ABUSEIPDB_KEY", KEY);
    Edge::start(sidecar).await
}

#[tokio::test]
async fn an_address_with_many_reports_is_refused_once_the_provider_has_answered() {
    let abuseipdb = AbuseIpDb::start().await.unwrap();
    abuseipdb.knows("8.8.4.4", 100);
    let edge = edge(&abuseipdb).await;
    assert!(
        until_status(&edge.envoy, "8.8.4.4", 403).await,
        "{:?}",
        abuseipdb.asked()
    );
    for _ in 0..20 {
        assert_eq!(edge.envoy.status_for("8.8.8.8").await, 200);
    }
    let asked = abuseipdb.asked();
    assert!(
        asked.iter().all(|address| address.starts_with("8.8.")),
        "{asked:?}"
    );
}

#[tokio::test]
async fn no_failure_of_the_provider_reaches_a_client() {
    let abuseipdb = AbuseIpDb::start().await.unwrap();
    let edge = edge(&abuseipdb).await;
    let problem = |status| Answer::json(&json!({"errors": []})).with_status(status);
    for (number, failure) in [
        problem(401),
        problem(422),
        problem(429).with_header("Retry-After", "3600"),
        problem(500),
        Answer::body("text/html", "<html>maintenance</html>"),
        Answer::body("application/json", "{\"data\":{}}"),
        Answer::Raw(b"nonsense".to_vec()),
        Answer::Silence,
    ]
    .into_iter()
    .enumerate()
    {
        abuseipdb.fail_with(Some(failure.clone()));
        let begun = Instant::now();
        for host in 1..20 {
            let client = format!("8.{number}.4.{host}");
            assert_eq!(edge.envoy.status_for(&client).await, 200, "{failure:?}");
        }
        let taken = begun.elapsed();
        assert!(
            taken < Duration::from_secs(2),
            "{failure:?}: 19 requests took {taken:?}"
        );
    }
    assert_eq!(edge.envoy.status_for(CANARY).await, 403);
}

/// Each question waits at the sidecar for as long as it may, so each needs a connection of its own.
#[tokio::test]
async fn a_provider_that_hangs_refuses_nobody_of_many_strangers_at_once() {
    let abuseipdb = AbuseIpDb::start().await.unwrap();
    abuseipdb.fail_with(Some(Answer::Silence));
    let sidecar = sidecar_that_blocks(&[])
        .toml(&abuseipdb.toml())
        .env("ABUSEIPDB_KEY", KEY);
    let closed = json!({"failure": "closed", "unknown": "hold", "hold_ms": 1900});
    let edge = Edge::start_with(sidecar, |envoy| envoy.plugin(closed).unwrap()).await;
    let mut requests = JoinSet::new();
    for host in 1..=200 {
        let address = edge.envoy.edge();
        requests.spawn(async move {
            let request = Request::get("/").from_client(&format!("8.8.4.{host}"));
            let response = request.send(address).await;
            response.map_or(0, |response| response.status)
        });
    }
    let statuses = requests.join_all().await;
    let passed = statuses.iter().filter(|&&status| status == 200).count();
    assert_eq!(passed, 200, "{statuses:?}");
}

#[tokio::test]
async fn the_key_appears_in_no_log_and_no_metric() {
    let abuseipdb = AbuseIpDb::start().await.unwrap();
    let sidecar = sidecar_that_blocks(&[])
        .toml(&abuseipdb.toml())
        .env("ABUSEIPDB_KEY", KEY);
    let edge = Edge::start(sidecar.toml("[log]\nlevel = \"debug\"")).await;
    abuseipdb.fail_with(Some(Answer::status(401)));
    edge.envoy.status_for("8.8.8.8").await;
    let asked = kit::eventually(crate::common::LIMIT, || !abuseipdb.asked().is_empty());
    assert!(asked.await);
    let metrics = kit::Request::get("/metrics")
        .send(edge.sidecar.metrics())
        .await
        .unwrap();
    let token = edge.sidecar.token();
    for (place, text) in [
        ("the sidecar's log", edge.sidecar.log()),
        ("Envoy's log", edge.envoy.log()),
        ("the metrics", metrics.text()),
        ("secrets", edge.cli(&["providers"]).await),
    ] {
        assert!(!text.contains(KEY), "the key is in {place}");
        assert!(!text.contains(&token), "the token is in {place}");
    }
}
