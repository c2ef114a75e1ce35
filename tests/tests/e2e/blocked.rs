//! Who is being blocked: what the edge refuses, the operator sees.

use kit::eventually_async;
use serde_json::Value;

use crate::common::{Edge, LIMIT, no_vm_died, sidecar_that_blocks, until_status};

const LISTED: &str = "198.51.100.7";
const LISTED_V6: &str = "2001:db8:7::9";

/// What the sidecar knows of a client in this mode, once it is so many requests.
async fn until_told(edge: &Edge, client: &str, mode: &str, requests: u64) -> Option<Value> {
    let of_client = || async {
        let text = edge.cli(&["blocked", "--json"]).await;
        let answer: Value = serde_json::from_str(&text).unwrap();
        let clients = answer["clients"].as_array().cloned().unwrap();
        let mut clients = clients.into_iter();
        clients.find(|it| it["client"] == client && it["mode"] == mode)
    };
    let told = eventually_async(LIMIT, || async {
        let found = of_client().await;
        found.is_some_and(|it| it["last_hour"].as_u64() >= Some(requests))
    });
    match told.await {
        true => of_client().await,
        false => None,
    }
}

#[tokio::test]
async fn every_refused_request_is_told_with_its_client_and_why() {
    let edge = Edge::start(sidecar_that_blocks(&[LISTED, LISTED_V6])).await;
    assert_eq!(edge.envoy.status_for(LISTED_V6).await, 403);
    for _ in 0..7 {
        assert_eq!(edge.envoy.status_for(LISTED).await, 403);
        assert_eq!(edge.envoy.status_for("203.0.113.5").await, 200);
    }
    let told = until_told(&edge, LISTED, "enforce", 7)
        .await
        .expect("not told");
    assert_eq!(told["last_hour"], 7, "none twice");
    assert_eq!(
        (&told["action"], &told["mode"]),
        (&"deny".into(), &"enforce".into())
    );
    assert_eq!(told["reason"], "listed");
    let text = edge.cli(&["blocked"]).await;
    assert!(text.contains(LISTED) && text.contains("refused"), "{text}");
    assert!(
        text.contains(LISTED_V6) && !text.contains("203.0.113.5"),
        "{text}"
    );
    assert!(no_vm_died(&edge.envoy));
}

#[tokio::test]
async fn in_monitor_it_is_told_who_would_be_refused() {
    let edge = Edge::start(sidecar_that_blocks(&[LISTED])).await;
    edge.cli(&["mode", "monitor"]).await;
    assert!(until_status(&edge.envoy, LISTED, 200).await);
    until_told(&edge, LISTED, "monitor", 1)
        .await
        .expect("not told");
    let text = edge.cli(&["blocked"]).await;
    assert!(text.contains("would be refused"), "{text}");
}
