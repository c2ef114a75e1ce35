//! A list that is tried first: in shadow, then on half of its entries, then in force.

use crate::common::{Edge, LIMIT, sidecar_that_blocks, until_metric};

const VERDICTS: &str = "portcullis_verdicts_total";
const WOULD_DENY: [&str; 2] = ["action=\"deny\"", "mode=\"shadow\""];

fn clients() -> Vec<String> {
    (1..=32).map(|host| format!("8.8.4.{host}")).collect()
}

/// Which of `clients` are refused.
async fn refused(edge: &Edge) -> Vec<String> {
    let mut refused = Vec::new();
    for client in clients() {
        if edge.envoy.status_for(&client).await == 403 {
            refused.push(client);
        }
    }
    refused
}

async fn until_refused(edge: &Edge, enough: impl Fn(usize) -> bool) -> Vec<String> {
    let reached = kit::eventually_async(LIMIT, || async { enough(refused(edge).await.len()) });
    assert!(reached.await, "{:?}", refused(edge).await);
    refused(edge).await
}

#[tokio::test]
async fn a_list_is_counted_in_shadow_then_refuses_half_and_then_all_of_whom_it_names() {
    let sidecar = sidecar_that_blocks(&[]);
    let role = "block = true\nshadow = true";
    let sidecar = sidecar.list("new", role, "plain", &clients().join("\n"));
    let edge = Edge::start(sidecar.unwrap()).await;
    let shadow = edge.sidecar.config();

    let counted = kit::eventually_async(LIMIT, || async {
        assert_eq!(refused(&edge).await, Vec::<String>::new());
        edge.envoy.metric(VERDICTS, &WOULD_DENY).await >= 32.0
    });
    assert!(counted.await, "{}", edge.envoy.log());
    let explained = edge.cli(&["explain", "8.8.4.1"]).await;
    assert!(explained.contains("in shadow: counted only"), "{explained}");

    let half = shadow.replace("shadow = true", "enforce_percent = 50");
    edge.sidecar.rewrite(&half).unwrap();
    let some = until_refused(&edge, |count| count > 0).await;
    assert!((8..=24).contains(&some.len()), "{some:?}");
    for _ in 0..3 {
        assert_eq!(refused(&edge).await, some);
    }

    edge.sidecar
        .rewrite(&shadow.replace("shadow = true\n", ""))
        .unwrap();
    until_refused(&edge, |count| count == 32).await;
    let before = edge.envoy.metric(VERDICTS, &WOULD_DENY).await;
    assert_eq!(refused(&edge).await.len(), 32);
    assert!(
        until_metric(
            &edge.envoy,
            VERDICTS,
            &["action=\"deny\"", "mode=\"enforce\""],
            96.0
        )
        .await
    );
    assert_eq!(edge.envoy.metric(VERDICTS, &WOULD_DENY).await, before);
}
