//! Redis full, stopped, killed and back: nobody's request fails or waits for it, and words are taken
//! again once it works.

use std::time::{Duration, Instant};

use kit::abuseipdb::{AbuseIpDb, KEY};
use kit::child::Signal;
use kit::redis::Reply;
use kit::{Redis, Relay, Request, Sidecar, eventually_async};

use super::{durable, look_up, refused, sidecar_on, until_concern, until_done, until_store_is};
use crate::common::{CANARY, Edge, LIMIT, sidecar_that_blocks, until_status};
use crate::strangers::{self, Load, SLACK};

const BANNED: &str = "203.0.113.5";
const OTHER: &str = "203.0.113.6";

/// An edge that holds strangers, and whose sidecar may ask a provider about them.
async fn edge(redis: &Redis, abuseipdb: &AbuseIpDb) -> Edge {
    let sidecar = sidecar_on(redis)
        .toml(&abuseipdb.toml())
        .env("ABUSEIPDB_KEY", KEY);
    let edge = Edge::start_with(sidecar, |envoy| envoy.plugin(strangers::held()).unwrap()).await;
    edge.cli(&["ban", BANNED]).await;
    assert!(until_status(&edge.envoy, BANNED, 403).await);
    edge
}

#[tokio::test]
async fn a_full_redis_refuses_a_ban_with_a_reason_and_nothing_else_stops() {
    let redis = Redis::builder().unwrap().memory("4mb", "noeviction");
    let redis = redis.start().await.unwrap();
    let abuseipdb = AbuseIpDb::start().await.unwrap();
    let edge = edge(&redis, &abuseipdb).await;
    let load = Load::on(edge.envoy.edge());
    fill(&redis).await;
    assert!(
        until_concern(&edge.sidecar, "full", true).await,
        "{}",
        edge.sidecar.log()
    );
    let said = refused(&edge.sidecar, &["ban", OTHER]).await;
    assert!(
        said.contains("memory") && said.contains("maxmemory"),
        "{said}"
    );
    refused(&edge.sidecar, &["allow", OTHER]).await;
    assert_eq!(edge.envoy.status_for(BANNED).await, 403);
    // The brake works all the same, and is let go again.
    for (command, status) in [(["mode", "monitor"], 200), (["mode", "--clear"], 403)] {
        let said = refused(&edge.sidecar, &command).await;
        assert!(
            said.contains("it holds at this sidecar's proxies"),
            "{said}"
        );
        assert!(until_status(&edge.envoy, BANNED, status).await);
    }
    assert_eq!(edge.envoy.status_for(OTHER).await, 200);
    assert_eq!(look_up(&edge.sidecar, "8.8.4.4").await.0, 200);
    load.was_served().await;

    redis.command(&["DEL", "filler"]).await.unwrap();
    assert!(until_concern(&edge.sidecar, "full", false).await);
    assert!(until_done(&edge.sidecar, &["ban", OTHER]).await);
    assert!(until_status(&edge.envoy, OTHER, 403).await);
}

/// One list, which grows until there is no memory left.
async fn fill(redis: &Redis) {
    let mut client = redis.connect().await.unwrap();
    let value = "x".repeat(50_000);
    loop {
        let reply = client.command(&["RPUSH", "filler", &value]).await.unwrap();
        if matches!(reply, Reply::Error(_)) {
            break;
        }
    }
    // What connections that end give back would be room for a small write.
    let less = ["CONFIG", "SET", "maxmemory", "3mb"];
    redis.command(&less).await.unwrap();
}

#[tokio::test]
async fn a_stopped_redis_delays_nobody_beyond_the_hold() {
    let redis = Redis::start().await.unwrap();
    let abuseipdb = AbuseIpDb::start().await.unwrap();
    let edge = edge(&redis, &abuseipdb).await;
    let load = Load::on(edge.envoy.edge());
    redis.signal(Signal::Stop);
    for host in 0..30 {
        let (status, taken) = look_up(&edge.sidecar, &format!("8.8.4.{host}")).await;
        assert_eq!(status, 200);
        assert!(
            taken < Duration::from_millis(100) + SLACK,
            "{host}: {taken:?}"
        );
        assert_eq!(edge.envoy.status_for(BANNED).await, 403);
        assert_eq!(edge.envoy.status_for(CANARY).await, 403);
    }
    assert!(until_store_is(&edge.sidecar, false).await);
    let begun = Instant::now();
    let said = refused(&edge.sidecar, &["ban", OTHER]).await;
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}: {said}",
        begun.elapsed()
    );
    // A call that cannot be booked is not made.
    let asked = abuseipdb.asked().len();
    look_up(&edge.sidecar, "8.8.5.1").await;
    assert_eq!(abuseipdb.asked().len(), asked, "an unbooked call went out");
    load.was_served().await;

    redis.signal(Signal::Continue);
    assert!(
        until_store_is(&edge.sidecar, true).await,
        "{}",
        edge.sidecar.log()
    );
    assert!(until_done(&edge.sidecar, &["ban", OTHER]).await);
    assert!(until_status(&edge.envoy, OTHER, 403).await);
}

#[tokio::test]
async fn a_redis_that_answers_late_takes_no_look_up_longer_than_it_waits() {
    let (redis, abuseipdb) = (
        Redis::start().await.unwrap(),
        AbuseIpDb::start().await.unwrap(),
    );
    abuseipdb.knows("8.8.4.4", 93);
    let far = Relay::late(redis.address(), Duration::from_millis(30)).await;
    let far = far.unwrap();
    let member = async |url: &str| {
        let sidecar = sidecar_that_blocks(&[]).redis(url);
        let sidecar = sidecar.store("timeout = \"2s\"").toml(&abuseipdb.toml());
        let sidecar = sidecar.env("ABUSEIPDB_KEY", KEY).start().await.unwrap();
        assert!(until_store_is(&sidecar, true).await, "{}", sidecar.log());
        sidecar
    };
    let near = member(&redis.url()).await;
    let far = member(
        &redis
            .url()
            .replace(&redis.address().to_string(), &far.address().to_string()),
    )
    .await;
    let ask = async |sidecar: &Sidecar, wait_ms: u32| {
        let path = format!("/v1/verdict/8.8.4.4?wait_ms={wait_ms}");
        let verdict = Request::get(&path).send(sidecar.edge()).await;
        let verdict = verdict.unwrap().json();
        (verdict["provisional"] == true, verdict["score"] == 93)
    };
    assert_eq!(ask(&near, 2000).await, (false, true));
    assert_eq!(ask(&far, 8).await, (true, false), "it waited for Redis");
    // What Redis said meanwhile is there for who comes again, and nobody else was asked.
    assert!(eventually_async(LIMIT, async || ask(&far, 8).await == (false, true)).await);
    assert_eq!(abuseipdb.asked().len(), 1);
}

#[tokio::test]
async fn a_redis_that_dies_under_load_and_comes_back_costs_no_answer() {
    let mut redis = durable().await;
    let abuseipdb = AbuseIpDb::start().await.unwrap();
    let edge = edge(&redis, &abuseipdb).await;
    for _ in 0..2 {
        let load = Load::on(edge.envoy.edge());
        redis.kill();
        assert!(until_store_is(&edge.sidecar, false).await);
        for _ in 0..20 {
            assert_eq!(edge.envoy.status_for(BANNED).await, 403);
            assert_eq!(look_up(&edge.sidecar, "8.8.4.4").await.0, 200);
        }
        refused(&edge.sidecar, &["ban", OTHER]).await;
        redis.restart().await.unwrap();
        assert!(
            until_store_is(&edge.sidecar, true).await,
            "{}",
            edge.sidecar.log()
        );
        load.was_served().await;
        assert!(until_done(&edge.sidecar, &["ban", OTHER]).await);
        assert!(until_status(&edge.envoy, OTHER, 403).await);
        edge.cli(&["unban", OTHER]).await;
        assert!(until_status(&edge.envoy, OTHER, 200).await);
        assert_eq!(edge.envoy.status_for(BANNED).await, 403);
    }
    // Every answer of the provider was paid for, and counted.
    let booked = edge.cli(&["providers", "--json"]).await;
    let booked: serde_json::Value = serde_json::from_str(&booked).unwrap();
    let remaining = booked.to_string();
    let asked = abuseipdb.asked().len();
    let told = |calls: usize| remaining.contains(&format!("\"remaining\":{}", 1000 - calls));
    assert!(asked >= 1000 || told(asked), "{asked} calls, {remaining}");
}
