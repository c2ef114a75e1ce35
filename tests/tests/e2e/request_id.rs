//! One request, one id, wherever it left a trace.

use kit::Request;
use kit::abuseipdb::{AbuseIpDb, KEY};
use serde_json::json;

use crate::common::{Edge, LIMIT, sidecar_that_blocks};

#[tokio::test]
async fn the_request_id_is_alike_in_refusal_access_log_and_sidecar_log() {
    let abuseipdb = AbuseIpDb::start().await.unwrap();
    abuseipdb.knows("8.8.4.4", 100);
    let sidecar = sidecar_that_blocks(&[])
        .toml(&abuseipdb.toml())
        .env("ABUSEIPDB_KEY", KEY);
    let sidecar = sidecar.toml("[log]\nlevel = \"debug\"");
    let edge = Edge::start_with(sidecar, |envoy| {
        envoy
            .plugin(json!({"unknown": "hold", "hold_ms": 2000}))
            .unwrap()
    })
    .await;
    let request = Request::get("/")
        .from_client("8.8.4.4")
        .header("x-request-id", "forged");
    let answer = edge.envoy.send(&request).await.unwrap();
    let id = answer.header("x-request-id").unwrap();
    assert_ne!(id, "forged");
    let in_sidecar = kit::eventually(LIMIT, || edge.sidecar.log().contains(&id));
    assert!(
        in_sidecar.await,
        "{id} is not in the sidecar's log: {}",
        edge.sidecar.log()
    );
    let logged = kit::eventually(LIMIT, || {
        edge.envoy
            .access_log()
            .iter()
            .any(|line| line["request_id"] == id.as_str())
    });
    assert!(logged.await, "{id} is not in the access log");
}

#[tokio::test]
async fn a_refusal_says_its_request_id_and_the_access_log_says_why() {
    let edge = Edge::start(sidecar_that_blocks(&["198.51.100.7"])).await;
    let request = Request::get("/").from_client("198.51.100.7");
    let refusal = edge
        .envoy
        .send(&request.header("accept", "application/json"))
        .await
        .unwrap();
    let id = refusal.header("x-request-id").unwrap();
    assert_eq!(
        refusal.json()["request_id"],
        id.as_str(),
        "{}",
        refusal.text()
    );
    let mut line = serde_json::Value::Null;
    let logged = kit::eventually(LIMIT, || {
        let found = edge
            .envoy
            .access_log()
            .into_iter()
            .find(|line| line["request_id"] == id.as_str());
        line = found.unwrap_or_default();
        !line.is_null()
    });
    assert!(logged.await);
    assert_eq!(line["client"], "198.51.100.7");
    assert_eq!(line["verdict"], "deny");
    assert_eq!(line["reason"], "listed");
    assert_eq!(line["source"], "snapshot");
    assert_eq!(
        line["decision_id"],
        refusal.header("x-portcullis-decision").unwrap().as_str()
    );
}
