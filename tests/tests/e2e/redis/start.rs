//! Who comes first does not matter: the sidecar starts without its Redis, and finds it when it is there.

use std::time::{Duration, Instant};

use kit::child::Signal;
use kit::{Redis, Upstream};

use super::{
    durable, look_up, published, refused, sidecar_on, until_done, until_logged, until_store_is,
};
use crate::common::{CANARY, Edge, LIMIT, between, until_status};

const BANNED: &str = "203.0.113.5";
const OTHER: &str = "203.0.113.6";

#[tokio::test]
async fn a_sidecar_that_is_started_before_its_redis_serves_and_finds_it_later() {
    let mut redis = Redis::builder().unwrap().prepare().unwrap();
    let edge = Edge::start(sidecar_on(&redis)).await;
    assert_eq!(edge.envoy.status_for(CANARY).await, 403);
    assert_eq!(look_up(&edge.sidecar, "8.8.4.4").await.0, 200);
    assert!(until_store_is(&edge.sidecar, false).await);
    assert!(until_logged(&edge.sidecar, "the store does not work").await);
    let said = refused(&edge.sidecar, &["ban", BANNED]).await;
    assert!(said.contains(&redis.url()), "{said}");
    redis.restart().await.unwrap();
    assert!(
        until_store_is(&edge.sidecar, true).await,
        "{}",
        edge.sidecar.log()
    );
    assert!(until_done(&edge.sidecar, &["ban", BANNED]).await);
    assert!(
        until_status(&edge.envoy, BANNED, 403).await,
        "{}",
        edge.envoy.log()
    );
}

#[tokio::test]
async fn a_redis_that_does_not_answer_delays_the_start_by_seconds_only() {
    let redis = Redis::start().await.unwrap();
    redis.signal(Signal::Stop);
    let begun = Instant::now();
    let sidecar = sidecar_on(&redis).start().await.unwrap();
    let taken = begun.elapsed();
    assert!(taken < Duration::from_secs(10), "{taken:?}");
    assert_eq!(look_up(&sidecar, "8.8.4.4").await.0, 200);
    redis.signal(Signal::Continue);
    assert!(until_store_is(&sidecar, true).await, "{}", sidecar.log());
    assert!(until_done(&sidecar, &["ban", BANNED]).await);
}

#[tokio::test]
async fn a_sidecar_that_is_restarted_while_redis_is_down_still_knows_what_was_decided() {
    let mut redis = durable().await;
    let mut edge = Edge::start(sidecar_on(&redis)).await;
    edge.cli(&["ban", BANNED]).await;
    assert!(until_status(&edge.envoy, BANNED, 403).await);
    let before = published(&edge.sidecar).await;
    redis.kill();
    edge.sidecar.kill();
    edge.sidecar.restart().await.unwrap();

    // A proxy that starts now, and knows nothing, learns it.
    let upstream = Upstream::start().await.unwrap();
    let newcomer = between(&upstream, &edge.sidecar.addresses())
        .start()
        .await
        .unwrap();
    assert!(newcomer.until_snapshot(LIMIT).await.unwrap());
    assert_eq!(newcomer.status_for(BANNED).await, 403);
    assert_eq!(edge.envoy.status_for(BANNED).await, 403);

    redis.restart().await.unwrap();
    assert!(
        until_done(&edge.sidecar, &["ban", OTHER]).await,
        "{}",
        edge.sidecar.log()
    );
    assert!(until_done(&edge.sidecar, &["unban", BANNED]).await);
    for envoy in [&edge.envoy, &newcomer] {
        assert!(until_status(envoy, OTHER, 403).await, "{}", envoy.log());
        assert!(until_status(envoy, BANNED, 200).await, "{}", envoy.log());
    }
    let after = published(&edge.sidecar).await;
    assert!(after > before, "{before:?}, then {after:?}");
    assert_eq!(
        after.0,
        before.0,
        "an epoch was opened: {}",
        edge.sidecar.log()
    );
}
