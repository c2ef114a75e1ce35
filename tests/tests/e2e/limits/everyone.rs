//! The limit for everyone: it counts in shadow, and refuses only after the operator has chosen a figure.

use kit::config::EdgeConfig;
use kit::{KitError, Request};
use serde_json::json;

use super::{
    BURST, CLEAN, CLIENT, ask_as, counted, edge, edge_with, has_no_limit_headers, limit, refusal,
    spend_as,
};

const FIGURE: usize = 5;

/// A small figure in place of the generous one.
fn set_figure(config: &mut EdgeConfig) -> Result<(), KitError> {
    let bucket = json!({"max_tokens": FIGURE, "tokens_per_fill": FIGURE, "fill_interval": "60s"});
    let descriptors = limit(config, "everyone")?["descriptors"].as_array_mut();
    // The last one takes clients together that the second tells apart.
    for descriptor in descriptors.into_iter().flatten().take(2) {
        descriptor["token_bucket"] = bucket.clone();
    }
    Ok(())
}

fn enforce(config: &mut EdgeConfig) -> Result<(), KitError> {
    set_figure(config)?;
    limit(config, "everyone")?["filter_enforced"] = json!({"default_value": {"numerator": 100}});
    Ok(())
}

#[tokio::test]
async fn in_shadow_everyone_is_counted_and_nobody_refused() {
    let edge = edge_with(|envoy| envoy.change(set_figure).unwrap()).await;
    let before = counted(&edge.envoy, "everyone", "rate_limited").await;
    assert_eq!(spend_as(&edge.envoy, CLEAN, 50).await.passed, 50);
    let counted_now = counted(&edge.envoy, "everyone", "rate_limited").await;
    assert!(
        (50 - FIGURE as u64 - 1..=50).contains(&(counted_now - before)),
        "{counted_now}"
    );
    assert_eq!(counted(&edge.envoy, "everyone", "enforced").await, 0);
    assert!(has_no_limit_headers(&ask_as(&edge.envoy, CLEAN).await));
}

#[tokio::test]
async fn the_shipped_figure_leaves_a_busy_client_alone() {
    let edge = edge().await;
    assert_eq!(spend_as(&edge.envoy, CLEAN, 1500).await.passed, 1500);
    assert_eq!(counted(&edge.envoy, "everyone", "rate_limited").await, 0);
    assert!(counted(&edge.envoy, "everyone", "ok").await >= 1500);
}

#[tokio::test]
async fn an_enforced_figure_holds_for_each_client_alone() {
    let edge = edge_with(|envoy| envoy.change(enforce).unwrap()).await;
    for client in [
        CLEAN,
        "203.0.113.81",
        "2001:db8:9::1",
        "::ffff:203.0.113.82",
        "::ffff:203.0.113.83",
    ] {
        let spent = spend_as(&edge.envoy, client, 20).await;
        assert!(spent.is_limited_to(FIGURE), "{client}: {spent:?}");
    }
    let refused = refusal(&edge.envoy, &Request::get("/").from_client(CLEAN)).await;
    assert_eq!(refused.header("retry-after").as_deref(), Some("1"));
    assert_eq!(refused.json()["status"], json!(429));
}

#[tokio::test]
async fn a_flood_from_many_addresses_refuses_nobody_else() {
    let edge = edge_with(|envoy| {
        let smaller = |config: &mut EdgeConfig| {
            // A bucket for all, were there one, would be empty after a few.
            let few = json!({"max_tokens": 3, "tokens_per_fill": 1, "fill_interval": "60s"});
            limit(config, "everyone")?["token_bucket"] = few;
            enforce(config)
        };
        envoy.change(smaller).unwrap()
    })
    .await;
    for host in 1..=200 {
        spend_as(&edge.envoy, &format!("198.18.0.{host}"), 8).await;
    }
    assert!(counted(&edge.envoy, "everyone", "enforced").await >= 200 * 2);
    assert_eq!(spend_as(&edge.envoy, CLEAN, FIGURE).await.passed, FIGURE);
}

#[tokio::test]
async fn a_throttled_client_has_one_limit_not_two() {
    let edge = edge_with(|envoy| envoy.change(enforce).unwrap()).await;
    let spent = spend_as(&edge.envoy, CLIENT, 100).await;
    assert!(spent.is_limited_to(BURST), "{spent:?}");
}
