//! Paths that everybody may ask for, whoever he is, and that lead nowhere else.

use kit::Request;
use serde_json::json;

use crate::common::{CANARY, Edge, sidecar_that_blocks, until_metric};

const CHALLENGE: &str = "/.well-known/acme-challenge/LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0";

async fn status(edge: &Edge, path: &str) -> u16 {
    let request = Request::get(path).from_client(CANARY);
    edge.envoy.send(&request).await.unwrap().status
}

#[tokio::test]
async fn a_banned_client_can_answer_for_a_certificate_and_do_nothing_else() {
    let edge = Edge::start(sidecar_that_blocks(&[])).await;
    assert_eq!(status(&edge, CHALLENGE).await, 200);
    assert_eq!(status(&edge, &format!("{CHALLENGE}?a=/b")).await, 200);
    let served = edge.upstream.served();
    for path in [
        "/",
        "/.well-known/acme-challenge",
        "/.well-known/acme-challenges/a",
        "/.Well-Known/acme-challenge/a",
        "/x/.well-known/acme-challenge/a",
        "/.well-known/acme-challenge/../../admin",
        "/.well-known/acme-challenge/a/../../../admin",
        "/.well-known/acme-challenge/%2e%2e/%2e%2e/admin",
        "/.well-known/acme-challenge/%2E%2E/%2E%2E/admin",
        "/.well-known/acme-challenge/..%2f..%2fadmin",
        "/.well-known/acme-challenge/..%5c..%5cadmin",
        "/.well-known/acme-challenge/..\\..\\admin",
        "/.well-known/acme-challenge/%252e%252e/admin",
        "/.well-known/acme-challenge/..;/..;/admin",
        "/.well-known/acme-challenge/a%00",
        "/admin?/.well-known/acme-challenge/a",
    ] {
        let status = status(&edge, path).await;
        // Envoy itself refuses some, and has others asked for anew by their plain form.
        assert!(matches!(status, 307 | 400 | 403), "{path}: {status}");
    }
    let reached = edge.upstream.served() - served;
    assert_eq!(reached, 0, "something led around the filter");
    let labels = ["action=\"allow\"", "source=\"exempt\"", "mode=\"enforce\""];
    assert!(until_metric(&edge.envoy, "portcullis_verdicts_total", &labels, 2.0).await);
}

#[tokio::test]
async fn an_operator_may_exempt_nothing() {
    let sidecar = sidecar_that_blocks(&[]);
    let none = json!({"mode": "enforce", "exempt_paths": []});
    let edge = Edge::start_with(sidecar, |envoy| envoy.plugin(none).unwrap()).await;
    assert_eq!(status(&edge, CHALLENGE).await, 403);
}
