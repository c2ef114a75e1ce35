//! Only so many clients have a bucket at a time: what a client gains by having others push his out.

use std::time::Instant;

use kit::config::EdgeConfig;
use kit::{Envoy, KitError, Request};

use super::{
    BURST, CLIENT, ask_as, edge, edge_with, finds_it_empty, limit, refilled, spend, spend_as,
};

const PLACES: usize = 50;

fn few_places(config: &mut EdgeConfig) -> Result<(), KitError> {
    limit(config, "throttled")?["max_dynamic_descriptors"] = PLACES.into();
    Ok(())
}

/// So many other throttled clients, none of which was seen before, ask once each.
async fn others_come(envoy: &Envoy, series: u8, count: usize) {
    let requests = (0..count).map(|number| {
        let client = format!("11.{series}.{}.{}", number / 256, number % 256);
        Request::get("/").from_client(&client)
    });
    let mut connection = envoy.connect().await.unwrap();
    assert_eq!(spend(&mut connection, requests).await.passed, count);
}

#[tokio::test]
async fn who_goes_on_sending_is_not_freed_however_many_others_come() {
    let edge = edge_with(|envoy| envoy.change(few_places).unwrap()).await;
    let spent = spend_as(&edge.envoy, CLIENT, 100).await;
    assert!(spent.is_limited_to(BURST), "{spent:?}");
    let begun = Instant::now();
    let mut passed = 0;
    for series in 0..20 {
        others_come(&edge.envoy, series, PLACES - 1).await;
        // Refused requests count as a sign of life too.
        passed += usize::from(ask_as(&edge.envoy, CLIENT).await.status == 200);
    }
    let most = refilled(begun);
    assert!(passed <= most, "{passed} instead of {most}");
}

#[tokio::test]
async fn who_is_silent_until_as_many_others_have_come_starts_with_a_full_bucket() {
    let edge = edge_with(|envoy| envoy.change(few_places).unwrap()).await;
    spend_as(&edge.envoy, CLIENT, 100).await;
    others_come(&edge.envoy, 0, PLACES).await;
    let spent = spend_as(&edge.envoy, CLIENT, 100).await;
    assert!(spent.is_limited_to(BURST), "{spent:?}");
}

#[tokio::test]
async fn clients_that_are_not_throttled_push_nobody_out() {
    let edge = edge_with(|envoy| envoy.change(few_places).unwrap()).await;
    let begun = Instant::now();
    spend_as(&edge.envoy, CLIENT, 100).await;
    for host in 1..=PLACES * 2 {
        assert_eq!(
            edge.envoy.status_for(&format!("203.0.113.{host}")).await,
            200
        );
    }
    assert!(finds_it_empty(&edge.envoy, CLIENT, begun).await);
}

#[tokio::test]
async fn as_shipped_thousands_of_others_push_nobody_out() {
    let edge = edge().await;
    let begun = Instant::now();
    spend_as(&edge.envoy, CLIENT, 80).await;
    others_come(&edge.envoy, 0, 3000).await;
    assert!(finds_it_empty(&edge.envoy, CLIENT, begun).await);
}
