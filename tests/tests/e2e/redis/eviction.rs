//! A Redis that runs out of memory and evicts: it may take what providers said, and nothing else.

use std::net::{Ipv4Addr, SocketAddr};

use kit::abuseipdb::{AbuseIpDb, KEY};
use kit::redis::Reply;
use kit::serve::Answer;
use kit::{Connection, Redis, Request};
use serde_json::json;
use tokio::task::JoinSet;

use super::sidecar_on;
use crate::common::{Edge, cli, until_status};

const BANNED: &str = "203.0.113.5";
/// What is asked for before the quota has three calls left.
const BOOKED: u32 = 997;
const QUOTA: usize = 1000;
/// After that, of addresses that nobody asked about before.
const LOOK_UPS: u32 = 300_000;
/// The first of the addresses that are looked up, all of them public.
const FIRST: Ipv4Addr = Ipv4Addr::new(11, 0, 0, 0);
const CONNECTIONS: u32 = 8;
/// The whole day's calls may go out in a moment, whoever they are about.
const AT_ONCE: &str = "[budget]\nreserve_percent = 0\nburst_percent = 100\nnetwork_percent = 100\n\
                       sightings = 1\n";
/// So many requests are on the way on one connection.
const PIPELINE: u32 = 100;

#[tokio::test]
async fn an_evicting_redis_takes_neither_a_ban_nor_the_quota() {
    let redis = Redis::builder().unwrap().memory("20mb", "volatile-lru");
    let redis = redis.start().await.unwrap();
    let abuseipdb = AbuseIpDb::start().await.unwrap();
    // It does not say how many calls are left: only the book in Redis does.
    let clean = json!({"data": {"abuseConfidenceScore": 0}});
    abuseipdb.fail_with(Some(Answer::json(&clean)));
    let sidecar = sidecar_on(&redis).toml(&abuseipdb.toml()).toml(AT_ONCE);
    let mut edge = Edge::start(sidecar.env("ABUSEIPDB_KEY", KEY)).await;

    look_up(edge.sidecar.edge(), 0, BOOKED, 5000).await;
    assert_eq!(abuseipdb.asked().len(), usize::try_from(BOOKED).unwrap());
    edge.cli(&["ban", BANNED, "--for", "24h"]).await;
    assert!(until_status(&edge.envoy, BANNED, 403).await);

    fill(&redis).await;
    look_up(edge.sidecar.edge(), BOOKED, LOOK_UPS / 2, 0).await;
    edge.sidecar.kill();
    fill(&redis).await;
    edge.sidecar.restart().await.unwrap();
    look_up(edge.sidecar.edge(), BOOKED + LOOK_UPS / 2, LOOK_UPS / 2, 0).await;
    fill(&redis).await;
    edge.sidecar.restart().await.unwrap();
    look_up(edge.sidecar.edge(), 0, BOOKED, 0).await;

    assert!(
        redis.info("evicted_keys").await.unwrap() > 0,
        "nothing was evicted"
    );
    assert!(
        abuseipdb.asked().len() <= QUOTA,
        "{} calls",
        abuseipdb.asked().len()
    );
    let decisions = cli(&edge.sidecar, &["decisions"]).await;
    assert!(decisions.contains(BANNED), "{decisions}");
    assert_eq!(edge.envoy.status_for(BANNED).await, 403);
    // The proxy would hold by itself; the sidecar must still know why.
    edge.cli(&["unban", BANNED]).await;
    assert!(until_status(&edge.envoy, BANNED, 200).await);
}

/// Asks about `count` addresses, each once, over several connections.
async fn look_up(sidecar: SocketAddr, from: u32, count: u32, wait_ms: u32) {
    let each = count.div_ceil(CONNECTIONS);
    let mut tasks = JoinSet::new();
    for number in 0..CONNECTIONS {
        let (first, end) = (from + number * each, from + count.min((number + 1) * each));
        tasks.spawn(async move {
            let mut connection = Connection::open(sidecar).await.unwrap();
            for start in (first..end).step_by(usize::try_from(PIPELINE).unwrap()) {
                let asked = start..end.min(start + PIPELINE);
                let requests = asked.clone().flat_map(|host| question(host, wait_ms));
                connection
                    .write(&requests.collect::<Vec<_>>())
                    .await
                    .unwrap();
                for _ in asked {
                    let answer = connection.receive("GET").await.unwrap();
                    assert_eq!(answer.status, 200, "{}", answer.text());
                }
            }
        });
    }
    tasks.join_all().await;
}

fn question(host: u32, wait_ms: u32) -> Vec<u8> {
    let address = Ipv4Addr::from(u32::from(FIRST) + host);
    Request::get(&format!("/v1/verdict/{address}?wait_ms={wait_ms}")).head()
}

/// Others' keys that expire, until Redis has to evict.
async fn fill(redis: &Redis) {
    let mut client = redis.connect().await.unwrap();
    let before = redis.info("evicted_keys").await.unwrap();
    let value = "x".repeat(200);
    let mut number = 0_u32;
    while redis.info("evicted_keys").await.unwrap() < before + 1000 {
        let mut commands = Vec::new();
        for _ in 0..5000 {
            number += 1;
            let key = format!("filler:{before}:{number}");
            commands.push(["SET", &key, &value, "EX", "86400"].map(str::to_owned));
        }
        let replies = client.pipeline(&commands).await.unwrap();
        assert!(
            !replies.iter().any(|reply| matches!(reply, Reply::Error(_))),
            "{replies:?}"
        );
    }
}
