//! AbuseIPDB, by a stand-in: what it says counts, and its failures are nobody's problem.

use std::time::{Duration, Instant};

use kit::abuseipdb::{AbuseIpDb, KEY};
use kit::serve::Answer;
use serde_json::json;

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
