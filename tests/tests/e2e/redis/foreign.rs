//! What others put where a sidecar keeps its words: it is not believed, it is named in the log, and it
//! harms nobody.

use std::net::Ipv4Addr;

use kit::abuseipdb::{AbuseIpDb, KEY};
use kit::redis::Reply;
use kit::sidecar::SidecarBuilder;
use kit::{Redis, Request, eventually};

use super::{look_up, published, sidecar_on, until_done, until_logged, until_store_is};
use crate::common::{CANARY, Edge, LIMIT, until_status};

const BANNED: &str = "203.0.113.5";
const OTHER: &str = "203.0.113.6";
const LARGE: usize = 100 * 1024 * 1024;
/// Far more than a sidecar needs, and less than it takes to read all that is too large at once.
const MOST_MEMORY: u64 = 150 * 1024 * 1024;

const EPOCH: &str = "pc:epoch";
const VERSION: &str = "pc:version";
const DECISIONS: &str = "pc:decisions";
const MODES: &str = "pc:modes";
const CHANGES: &str = "pc:changes";
const QUOTA: &str = "pc:quota:abuseipdb";

fn sidecar(redis: &Redis, abuseipdb: &AbuseIpDb) -> SidecarBuilder {
    sidecar_on(redis)
        .toml(&abuseipdb.toml())
        .env("ABUSEIPDB_KEY", KEY)
}

/// Where AbuseIPDB's word on an address is kept.
fn verdict_key(address: &str) -> Vec<u8> {
    let octets = address.parse::<Ipv4Addr>().unwrap().octets();
    [b"pc:v\x01", &octets[..]].concat()
}

async fn put(redis: &Redis, words: &[&[u8]]) {
    let reply = redis.connect().await.unwrap().command(words).await.unwrap();
    assert!(!matches!(reply, Reply::Error(_)), "{reply:?}");
}

/// Days since 1970, by which calls are counted.
fn today() -> String {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    (since.as_secs() / 86_400).to_string()
}

#[tokio::test]
async fn foreign_types_in_our_namespace_are_named_and_stop_nobody() {
    let (redis, abuseipdb) = (
        Redis::start().await.unwrap(),
        AbuseIpDb::start().await.unwrap(),
    );
    for key in [EPOCH, DECISIONS, MODES, CHANGES, QUOTA] {
        put(&redis, &[b"RPUSH", key.as_bytes(), b"foreign"]).await;
    }
    put(&redis, &[b"SADD", &verdict_key("8.8.4.4"), b"foreign"]).await;
    let mut edge = Edge::start(sidecar(&redis, &abuseipdb)).await;
    let process = edge.sidecar.process_id();
    for key in [DECISIONS, MODES, QUOTA] {
        look_up(&edge.sidecar, "8.8.4.4").await;
        let named = until_logged(&edge.sidecar, key).await;
        assert!(named, "{key} is not in {}", edge.sidecar.log());
    }
    for host in 0..20 {
        assert_eq!(
            look_up(&edge.sidecar, &format!("8.8.4.{host}")).await.0,
            200
        );
    }
    assert_eq!(edge.envoy.status_for(CANARY).await, 403);
    assert_eq!(edge.envoy.status_for("8.8.4.4").await, 200);

    for key in [EPOCH, DECISIONS, MODES, CHANGES, QUOTA] {
        put(&redis, &[b"DEL", key.as_bytes()]).await;
    }
    assert!(
        until_done(&edge.sidecar, &["ban", BANNED]).await,
        "{}",
        edge.sidecar.log()
    );
    assert!(until_status(&edge.envoy, BANNED, 403).await);
    assert!(until_store_is(&edge.sidecar, true).await);
    assert_eq!(edge.sidecar.process_id(), process);
}

#[tokio::test]
async fn poisoned_decisions_are_left_out_and_the_others_hold() {
    let redis = Redis::start().await.unwrap();
    let mut edge = Edge::start(sidecar_on(&redis)).await;
    edge.cli(&["ban", BANNED]).await;
    assert!(until_status(&edge.envoy, BANNED, 403).await);
    let everybody = r#"{"id":"00000000000000aa","cidr":"0.0.0.0/0","type":"ban","origin":"operator",
        "reason":"x","author":"x","created":1,"expires":null}"#;
    let another = everybody.replace("0.0.0.0/0", "203.0.113.0/24");
    let large = "x".repeat(1_000_000);
    for (field, value) in [
        ("00000000000000aa", everybody),
        ("00000000000000ab", another.as_str()),
        ("00000000000000ac", "{"),
        ("00000000000000ad", large.as_str()),
        ("not an id", "{}"),
        ("", ""),
    ] {
        put(
            &redis,
            &[
                b"HSET",
                DECISIONS.as_bytes(),
                field.as_bytes(),
                value.as_bytes(),
            ],
        )
        .await;
    }
    put(
        &redis,
        &[
            b"SET",
            MODES.as_bytes(),
            b"[{\"mode\":\"off\"},{\"mode\":\"loud\"}]",
        ],
    )
    .await;
    edge.sidecar.kill();
    edge.sidecar.restart().await.unwrap();
    for named in [
        "something in Redis is not what a sidecar keeps there: it is left out",
        "pc:modes is not what a sidecar keeps there",
    ] {
        assert!(
            until_logged(&edge.sidecar, named).await,
            "{named:?} is not in {}",
            edge.sidecar.log()
        );
    }
    // A word after the restart shows that the proxy has what the sidecar made of it all.
    edge.cli(&["ban", "198.51.100.7"]).await;
    assert!(until_status(&edge.envoy, "198.51.100.7", 403).await);
    assert_eq!(
        edge.envoy.status_for(BANNED).await,
        403,
        "the good one is gone"
    );
    assert_eq!(
        edge.envoy.status_for(OTHER).await,
        200,
        "a poisoned one counts"
    );
}

#[tokio::test]
async fn a_poisoned_verdict_is_none_and_the_provider_is_asked() {
    let (redis, abuseipdb) = (
        Redis::start().await.unwrap(),
        AbuseIpDb::start().await.unwrap(),
    );
    let edge = Edge::start(sidecar(&redis, &abuseipdb)).await;
    let poisons: [&[u8]; 7] = [
        b"",
        b"x",
        b"{\"s\":100}",
        &[0xff; 12],
        &[100, 0xff, 0xff, 0xff, 0xff, 0, 0, 60, 0, 0, 0, 0],
        &[0; 64],
        &[0; 65],
    ];
    for (host, poison) in poisons.into_iter().enumerate() {
        let address = format!("8.8.4.{host}");
        put(&redis, &[b"SET", &verdict_key(&address), poison]).await;
        let path = format!("/v1/verdict/{address}?wait_ms=2000");
        let answer = Request::get(&path).send(edge.sidecar.edge()).await.unwrap();
        assert_eq!(answer.status, 200, "{poison:?}: {}", answer.text());
        assert_eq!(
            answer.json()["action"],
            "allow",
            "{poison:?}: {}",
            answer.text()
        );
        let asked = eventually(LIMIT, || abuseipdb.asked().contains(&address)).await;
        assert!(asked, "{poison:?} was believed");
    }
}

#[tokio::test]
async fn a_poisoned_epoch_is_replaced_by_one_that_proxies_take() {
    for (epoch, version) in [
        ("18446744073709551615", "1"),
        ("-1", "x"),
        ("1e300", "99999999999999999999999999"),
        ("", ""),
    ] {
        let redis = Redis::start().await.unwrap();
        let mut edge = Edge::start(sidecar_on(&redis)).await;
        edge.cli(&["ban", BANNED]).await;
        assert!(until_status(&edge.envoy, BANNED, 403).await);
        let before = published(&edge.sidecar).await;
        put(&redis, &[b"SET", EPOCH.as_bytes(), epoch.as_bytes()]).await;
        put(&redis, &[b"SET", VERSION.as_bytes(), version.as_bytes()]).await;
        edge.sidecar.restart().await.unwrap();
        edge.cli(&["unban", BANNED]).await;
        assert!(
            until_status(&edge.envoy, BANNED, 200).await,
            "{epoch}: {}",
            edge.sidecar.log()
        );
        let after = published(&edge.sidecar).await;
        assert!(
            after > before && after.0 < 10_000_000_000,
            "{epoch}: {before:?}, {after:?}"
        );
    }
}

#[tokio::test]
async fn a_poisoned_quota_is_no_reason_to_call_and_is_named() {
    for poison in ["-5", "many", "1e3", "99999999999999999999"] {
        let (redis, abuseipdb) = (
            Redis::start().await.unwrap(),
            AbuseIpDb::start().await.unwrap(),
        );
        put(
            &redis,
            &[
                b"HSET",
                QUOTA.as_bytes(),
                today().as_bytes(),
                poison.as_bytes(),
            ],
        )
        .await;
        let edge = sidecar(&redis, &abuseipdb).start().await.unwrap();
        for host in 0..5 {
            assert_eq!(look_up(&edge, &format!("8.8.4.{host}")).await.0, 200);
        }
        assert_eq!(abuseipdb.asked(), [""; 0], "{poison:?} let calls out");
        assert!(
            until_logged(&edge, QUOTA).await,
            "{poison:?}: {}",
            edge.log()
        );
    }
}

#[tokio::test]
async fn a_hundred_megabytes_anywhere_cost_neither_memory_nor_answers() {
    let (redis, abuseipdb) = (
        Redis::start().await.unwrap(),
        AbuseIpDb::start().await.unwrap(),
    );
    let mut edge = Edge::start(sidecar(&redis, &abuseipdb)).await;
    let process = edge.sidecar.process_id();
    edge.cli(&["ban", BANNED]).await;
    assert!(until_status(&edge.envoy, BANNED, 403).await);
    let large = vec![b'7'; LARGE];
    for host in 0..2 {
        put(
            &redis,
            &[b"SET", &verdict_key(&format!("8.8.4.{host}")), &large],
        )
        .await;
    }
    for key in [MODES, CHANGES] {
        put(&redis, &[b"SET", key.as_bytes(), &large]).await;
    }
    put(
        &redis,
        &[b"HSET", DECISIONS.as_bytes(), b"00000000000000aa", &large],
    )
    .await;
    put(
        &redis,
        &[b"HSET", QUOTA.as_bytes(), today().as_bytes(), &large],
    )
    .await;
    // Makes every sidecar read all of it.
    put(&redis, &[b"PUBLISH", b"pc:changed", b"somebody"]).await;
    for _ in 0..50 {
        for host in 0..3 {
            assert_eq!(
                look_up(&edge.sidecar, &format!("8.8.4.{host}")).await.0,
                200
            );
        }
        let memory = edge.sidecar.memory();
        assert!(memory < MOST_MEMORY, "{memory} bytes");
    }
    assert_eq!(edge.envoy.status_for(BANNED).await, 403);
    assert_eq!(edge.envoy.status_for(CANARY).await, 403);
    assert_eq!(edge.sidecar.process_id(), process, "{}", edge.sidecar.log());
    edge.sidecar.kill();
    edge.sidecar.restart().await.unwrap();
    let memory = edge.sidecar.memory();
    assert!(memory < MOST_MEMORY, "{memory} bytes after a restart");
    assert_eq!(look_up(&edge.sidecar, "8.8.4.0").await.0, 200);
    assert_eq!(edge.envoy.status_for(BANNED).await, 403);
}
