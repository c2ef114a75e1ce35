//! What survives a crash, of the sidecar and of Redis; and that it is said aloud where it would not.

use kit::abuseipdb::{AbuseIpDb, KEY};
use kit::{Redis, Request, eventually};

use super::{durable, published, sidecar_on, until_concern, until_logged, until_store_is};
use crate::common::{Edge, LIMIT, cli, until_status};

const BANNED: &str = "203.0.113.5";
const PARDONED: &str = "203.0.113.6";
const ROUTE: &str = "checkout";

/// One ban, one unban and a mode, and a provider that was asked three times.
async fn given(redis: &Redis, abuseipdb: &AbuseIpDb) -> Edge {
    let sidecar = sidecar_on(redis)
        .toml(&abuseipdb.toml())
        .env("ABUSEIPDB_KEY", KEY);
    let edge = Edge::start(sidecar).await;
    edge.cli(&["ban", BANNED, "--reason", "tried the door"])
        .await;
    edge.cli(&["ban", PARDONED]).await;
    edge.cli(&["unban", PARDONED]).await;
    edge.cli(&["mode", "monitor", "--route", ROUTE]).await;
    assert!(until_status(&edge.envoy, BANNED, 403).await);
    for host in 1..=3 {
        ask_about(&edge, &format!("8.8.4.{host}")).await;
    }
    assert!(eventually(LIMIT, || abuseipdb.asked().len() == 3).await);
    edge
}

async fn ask_about(edge: &Edge, address: &str) {
    let path = format!("/v1/verdict/{address}?wait_ms=2000");
    let answer = Request::get(&path).send(edge.sidecar.edge()).await;
    assert_eq!(answer.unwrap().status, 200);
}

/// Snapshots are numbered on in the same epoch, and what was decided can be taken back.
async fn goes_on_from(before: (u64, u64), edge: &Edge) {
    let after = published(&edge.sidecar).await;
    assert!(
        after > before && after.0 == before.0,
        "{before:?}, then {after:?}"
    );
    edge.cli(&["unban", BANNED]).await;
    assert!(until_status(&edge.envoy, BANNED, 200).await);
}

async fn still_holds(edge: &Edge, abuseipdb: &AbuseIpDb) {
    let decisions = cli(&edge.sidecar, &["decisions"]).await;
    assert!(
        decisions.contains(BANNED) && decisions.contains("tried the door"),
        "{decisions}"
    );
    assert!(!decisions.contains(PARDONED), "{decisions}");
    let mode = cli(&edge.sidecar, &["mode"]).await;
    assert!(mode.contains("monitor") && mode.contains(ROUTE), "{mode}");
    let providers = cli(&edge.sidecar, &["providers", "--json"]).await;
    assert!(
        providers.contains("\"remaining\":997") || providers.contains("\"remaining\": 997"),
        "{providers}"
    );
    // What a provider said before is not asked again.
    ask_about(edge, "8.8.4.1").await;
    assert_eq!(abuseipdb.asked().len(), 3, "{:?}", abuseipdb.asked());
}

#[tokio::test]
async fn bans_unbans_modes_and_the_quota_survive_kill_9_of_the_sidecar() {
    let redis = Redis::start().await.unwrap();
    let abuseipdb = AbuseIpDb::start().await.unwrap();
    let mut edge = given(&redis, &abuseipdb).await;
    let before = published(&edge.sidecar).await;
    edge.sidecar.kill();
    edge.sidecar.restart().await.unwrap();
    still_holds(&edge, &abuseipdb).await;
    goes_on_from(before, &edge).await;
}

#[tokio::test]
async fn with_an_append_only_file_they_survive_kill_9_of_both() {
    let mut redis = durable().await;
    let abuseipdb = AbuseIpDb::start().await.unwrap();
    let mut edge = given(&redis, &abuseipdb).await;
    assert!(until_concern(&edge.sidecar, "no_persistence", false).await);
    let before = published(&edge.sidecar).await;
    redis.kill();
    edge.sidecar.kill();
    redis.restart().await.unwrap();
    edge.sidecar.restart().await.unwrap();
    still_holds(&edge, &abuseipdb).await;
    goes_on_from(before, &edge).await;
}

#[tokio::test]
async fn without_persistence_it_is_said_aloud_and_proxies_follow_an_emptied_redis() {
    let mut redis = Redis::start().await.unwrap();
    let edge = Edge::start(sidecar_on(&redis)).await;
    assert!(until_concern(&edge.sidecar, "no_persistence", true).await);
    let sentence = "its restart loses every decision: set appendonly yes";
    assert!(
        until_logged(&edge.sidecar, sentence).await,
        "{}",
        edge.sidecar.log()
    );
    edge.cli(&["ban", BANNED]).await;
    assert!(until_status(&edge.envoy, BANNED, 403).await);
    redis.kill();
    assert!(until_store_is(&edge.sidecar, false).await);
    redis.restart().await.unwrap();
    assert!(until_store_is(&edge.sidecar, true).await);
    // Whatever became of the ban: command line and edge agree, and later words are followed.
    edge.cli(&["ban", PARDONED]).await;
    assert!(
        until_status(&edge.envoy, PARDONED, 403).await,
        "{}",
        edge.sidecar.log()
    );
    let listed = edge.cli(&["decisions"]).await.contains(BANNED);
    let status = if listed { 403 } else { 200 };
    assert!(
        until_status(&edge.envoy, BANNED, status).await,
        "{}",
        edge.sidecar.log()
    );
    redis
        .command(&["CONFIG", "SET", "appendonly", "yes"])
        .await
        .unwrap();
    assert!(until_concern(&edge.sidecar, "no_persistence", false).await);
}
