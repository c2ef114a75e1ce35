//! Many requests, one question.

use std::time::Duration;

use kit::Request;
use kit::abuseipdb::{AbuseIpDb, KEY};
use kit::raw_sidecar::Behaviour;
use kit::snapshot::{Draft, Line};
use serde_json::json;
use tokio::task::JoinSet;

use crate::common::{CANARY, Edge, RawEdge, Workers, sidecar_that_blocks};

const REQUESTS: usize = 200;

/// Sends them all at once; the statuses.
async fn stampede(edge: std::net::SocketAddr, client: &'static str) -> Vec<u16> {
    let mut requests = JoinSet::new();
    for _ in 0..REQUESTS {
        requests.spawn(async move {
            let request = Request::get("/").from_client(client);
            request
                .send(edge)
                .await
                .map_or(0, |response| response.status)
        });
    }
    requests.join_all().await
}

#[tokio::test]
async fn two_hundred_requests_of_one_address_ask_once_per_worker() {
    let edge = RawEdge::start_with(|envoy| {
        let hold = json!({"unknown": "hold", "hold_ms": 1000});
        envoy.concurrency(2).plugin(hold).unwrap()
    })
    .await;
    let draft = Draft::version(1)
        .with_lookups()
        .base(Line::listed(CANARY).unwrap());
    edge.sidecar.publish(draft.build().unwrap());
    assert!(Workers::of(&edge.envoy).await.all_answer(CANARY, 403).await);
    edge.sidecar.denies("203.0.113.5");
    edge.sidecar
        .on_verdicts(Behaviour::Late(Duration::from_millis(300)));
    let statuses = stampede(edge.envoy.edge(), "203.0.113.5").await;
    assert!(statuses.iter().all(|&status| status == 403), "{statuses:?}");
    let asked = edge.sidecar.asked("/v1/verdict/203.0.113.5").len();
    assert!((1..=2).contains(&asked), "{asked} look-ups by 2 workers");
}

#[tokio::test]
async fn two_hundred_requests_of_one_address_cost_one_call_of_the_provider() {
    let abuseipdb = AbuseIpDb::start().await.unwrap();
    abuseipdb.knows("8.8.4.4", 100);
    abuseipdb.delay(Duration::from_millis(100));
    let sidecar = sidecar_that_blocks(&[])
        .toml(&abuseipdb.toml())
        .env("ABUSEIPDB_KEY", KEY);
    let edge = Edge::start_with(sidecar, |envoy| envoy.concurrency(2)).await;
    let statuses = stampede(edge.envoy.edge(), "8.8.4.4").await;
    assert!(
        statuses.iter().all(|status| [200, 403].contains(status)),
        "{statuses:?}"
    );
    let mut workers = Workers::of(&edge.envoy).await;
    assert!(workers.all_answer("8.8.4.4", 403).await);
    let asked = abuseipdb.asked();
    let asked: Vec<_> = asked
        .iter()
        .filter(|address| *address == "8.8.4.4")
        .collect();
    assert_eq!(asked.len(), 1, "{asked:?}");
}
