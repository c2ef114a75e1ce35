//! Several sidecars on one Redis speak with one voice.

use std::time::{Duration, Instant};

use kit::config::Endpoint;
use kit::sidecar::Addresses;
use kit::{Envoy, Redis, Relay, Sidecar, Upstream, eventually_async};

use super::{published, sidecar_on};
use crate::common::{CANARY, LIMIT, between, cli, until_status};

const CLIENT: &str = "203.0.113.5";
/// A word given at one sidecar is enforced at the others' proxies within this.
const SOON: Duration = Duration::from_millis(500);
const ROUNDS: usize = 5;

/// One sidecar with a proxy of its own.
async fn member(redis: &Redis, upstream: &Upstream) -> (Sidecar, Envoy) {
    let sidecar = sidecar_on(redis).start().await.unwrap();
    let envoy = between(upstream, &sidecar.addresses())
        .start()
        .await
        .unwrap();
    assert!(
        envoy.until_snapshot(LIMIT).await.unwrap(),
        "{}",
        envoy.log()
    );
    (sidecar, envoy)
}

#[tokio::test]
async fn a_word_given_at_one_is_enforced_at_the_proxy_of_another_within_half_a_second() {
    let (redis, upstream) = (
        Redis::start().await.unwrap(),
        Upstream::start().await.unwrap(),
    );
    let (here, _) = member(&redis, &upstream).await;
    let (there, envoy) = member(&redis, &upstream).await;
    for _ in 0..ROUNDS {
        for (command, status) in [
            (&["ban", CLIENT][..], 403),
            (&["unban", CLIENT], 200),
            (&["ban", CLIENT], 403),
            (&["mode", "off"], 200),
            (&["mode", "--clear"], 403),
            (&["unban", CLIENT], 200),
        ] {
            cli(&here, command).await;
            let begun = Instant::now();
            assert!(
                until_status(&envoy, CLIENT, status).await,
                "{command:?}: {}",
                there.log()
            );
            let taken = begun.elapsed();
            assert!(taken < SOON, "{command:?} took {taken:?}");
        }
    }
    assert_eq!(
        cli(&here, &["decisions"]).await,
        cli(&there, &["decisions"]).await
    );
}

#[tokio::test]
async fn a_proxy_that_fails_over_keeps_its_snapshot_and_stirs_nobody_up() {
    let (redis, upstream) = (
        Redis::start().await.unwrap(),
        Upstream::start().await.unwrap(),
    );
    let mut here = sidecar_on(&redis).start().await.unwrap();
    let there = sidecar_on(&redis).start().await.unwrap();
    let (edge, probes) = (
        Relay::to(here.edge()).await.unwrap(),
        Relay::to(here.metrics()).await.unwrap(),
    );
    let turn_to = |sidecar: &Sidecar| {
        edge.turn_to(sidecar.edge());
        probes.turn_to(sidecar.metrics());
    };
    let addresses = Addresses {
        edge: Endpoint::Tcp(edge.address()),
        probes: Some(probes.address()),
    };
    let envoy = between(&upstream, &addresses).start().await.unwrap();
    assert!(envoy.until_snapshot(LIMIT).await.unwrap());
    cli(&here, &["ban", CLIENT]).await;
    assert!(until_status(&envoy, CLIENT, 403).await);
    assert!(eventually_async(LIMIT, || async { published(&there).await.1 >= 2 }).await);
    let before = published(&here).await.max(published(&there).await);

    for round in 0..ROUNDS {
        turn_to(if round % 2 == 0 { &there } else { &here });
        // The proxy polls its new sidecar: what is said there now reaches it.
        let address = format!("198.51.100.{round}");
        cli(
            if round % 2 == 0 { &there } else { &here },
            &["ban", &address],
        )
        .await;
        assert!(until_status(&envoy, &address, 403).await, "{}", envoy.log());
        assert_eq!(envoy.status_for(CLIENT).await, 403);
        assert_eq!(envoy.status_for(CANARY).await, 403);
    }
    here.kill();
    turn_to(&there);
    cli(&there, &["unban", CLIENT]).await;
    assert!(until_status(&envoy, CLIENT, 200).await, "{}", envoy.log());

    let after = published(&there).await;
    assert_eq!(
        after.0,
        before.0,
        "a fail-over opened an epoch: {}",
        there.log()
    );
    // Each of the words is published by both, and nothing else is.
    let words = u64::try_from(ROUNDS + 1).unwrap();
    let versions = after.1 - before.1;
    assert!(
        versions <= 2 * words + 2,
        "{versions} versions for {words} words"
    );
    for sidecar in [&here, &there] {
        assert!(!sidecar.log().contains("higher epoch"), "{}", sidecar.log());
    }
}

#[tokio::test]
async fn one_that_starts_later_knows_what_was_said_and_takes_over_the_epoch() {
    let (redis, upstream) = (
        Redis::start().await.unwrap(),
        Upstream::start().await.unwrap(),
    );
    let (here, envoy) = member(&redis, &upstream).await;
    cli(&here, &["ban", CLIENT]).await;
    assert!(until_status(&envoy, CLIENT, 403).await);
    let (there, newcomer) = member(&redis, &upstream).await;
    assert_eq!(newcomer.status_for(CLIENT).await, 403);
    assert_eq!(published(&here).await.0, published(&there).await.0);
    assert_eq!(envoy.status_for(CLIENT).await, 403);
}
