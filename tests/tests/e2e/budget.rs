//! The budget of provider calls against the real sidecar: what a flood of addresses costs, who is looked
//! up all the same, and that a slow provider costs no client anything.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kit::abuseipdb::{AbuseIpDb, KEY};
use kit::{Connection, Redis, Request, Sidecar, eventually};
use tokio::task::JoinSet;

use crate::common::{Edge, LIMIT, cli, sidecar_that_blocks};

const CONNECTIONS: u32 = 16;
const SECONDS_A_DAY: u64 = 86_400;

/// The day's first share of 1000 calls, and what is released of the rest by now.
fn released() -> usize {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let elapsed = since.unwrap().as_secs() % SECONDS_A_DAY;
    usize::try_from(100 + 700 * elapsed / SECONDS_A_DAY).unwrap()
}

/// Asks about addresses `from..to`, each in a network of its own, as proxies do: without waiting.
async fn flood(edge: SocketAddr, from: u32, to: u32) {
    let mut running = JoinSet::new();
    for lane in 0..CONNECTIONS {
        running.spawn(async move {
            let mut connection = Connection::open(edge).await.unwrap();
            let mine = (from..to).filter(|index| index % CONNECTIONS == lane);
            for index in mine {
                let address = std::net::Ipv4Addr::from(0x0b00_0000 + index * 257);
                let ask = Request::get(&format!("/v1/verdict/{address}"));
                let answer = connection.send(&ask).await.unwrap();
                assert_eq!(answer.status, 200);
            }
        });
    }
    running.join_all().await;
}

async fn ask_about(sidecar: &Sidecar, address: &str) {
    let ask = Request::get(&format!("/v1/verdict/{address}?wait_ms=2000"));
    assert_eq!(ask.send(sidecar.edge()).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_hundred_thousand_rotating_addresses_cost_what_is_released_and_kill_9_refills_nothing() {
    let abuseipdb = AbuseIpDb::start().await.unwrap();
    let role = "score = 60\nweight = 0.5";
    let sidecar = sidecar_that_blocks(&[])
        .list("soft", role, "plain", "8.8.4.0/24\n")
        .unwrap()
        .toml(&abuseipdb.toml())
        .env("ABUSEIPDB_KEY", KEY);
    let mut sidecar = sidecar.start().await.unwrap();
    flood(sidecar.edge(), 0, 50_000).await;
    sidecar.kill();
    sidecar.restart().await.unwrap();
    flood(sidecar.edge(), 50_000, 100_000).await;
    let (strangers, most) = (abuseipdb.asked().len(), released());
    assert!(strangers <= most, "{strangers} calls, {most} released");
    assert!(
        strangers >= 50,
        "{strangers}: a quiet day's first addresses are looked up"
    );
    // Who returns is looked up, and so is who is listed; a stranger is not.
    for _ in 0..4 {
        ask_about(&sidecar, "9.9.9.9").await;
    }
    ask_about(&sidecar, "8.8.4.4").await;
    ask_about(&sidecar, "5.5.5.5").await;
    let asked = abuseipdb.asked();
    let newly: Vec<_> = asked.iter().skip(strangers).collect();
    assert_eq!(newly, ["9.9.9.9", "8.8.4.4"]);
    let skipped = sidecar
        .metric("portcullis_provider_skipped_total", &[])
        .await;
    assert!(skipped > 49_000.0, "{skipped}");
    let shown = cli(&sidecar, &["providers"]).await;
    assert!(
        shown.contains("RESERVE") && shown.contains("200"),
        "{shown}"
    );
}

#[tokio::test]
async fn two_sidecars_on_one_redis_cost_together_what_is_released_and_kill_9_refills_nothing() {
    let (abuseipdb, redis) = (
        AbuseIpDb::start().await.unwrap(),
        Redis::start().await.unwrap(),
    );
    let member = || {
        let sidecar = sidecar_that_blocks(&[]).redis(&redis.url());
        let sidecar = sidecar.toml(&abuseipdb.toml()).env("ABUSEIPDB_KEY", KEY);
        // Whoever comes is asked about while anything is left: so both race for the last call.
        sidecar.toml("[budget]\nsightings = 1").start()
    };
    let (mut one, other) = (member().await.unwrap(), member().await.unwrap());
    tokio::join!(flood(one.edge(), 0, 3000), flood(other.edge(), 3000, 6000));
    one.kill();
    one.restart().await.unwrap();
    tokio::join!(
        flood(one.edge(), 6000, 9000),
        flood(other.edge(), 9000, 12_000)
    );
    assert!(eventually(LIMIT, || abuseipdb.asked().len() >= 50).await);
    let calls = abuseipdb.asked().len();
    let book = redis
        .command(&["HVALS", "pc:quota:abuseipdb"])
        .await
        .unwrap();
    let booked: usize = book.items()[0].text().parse().unwrap();
    let most = released();
    // A call that was booked when its sidecar was killed may never have gone out.
    assert!(
        calls <= booked && booked <= most,
        "{calls} calls, {booked} booked, {most} released"
    );
}

#[tokio::test]
async fn a_provider_that_takes_five_seconds_delays_no_client() {
    let abuseipdb = AbuseIpDb::start().await.unwrap();
    abuseipdb.delay(Duration::from_secs(5));
    abuseipdb.knows("8.8.4.1", 100);
    let patient = abuseipdb
        .toml()
        .replace("timeout = \"2s\"", "timeout = \"20s\"");
    let sidecar = sidecar_that_blocks(&[])
        .toml(&patient)
        .env("ABUSEIPDB_KEY", KEY);
    let edge = Edge::start(sidecar).await;
    let mut slowest = Duration::ZERO;
    for host in 1..=40 {
        let began = Instant::now();
        assert_eq!(edge.envoy.status_for(&format!("8.8.4.{host}")).await, 200);
        slowest = slowest.max(began.elapsed());
    }
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    // It is asked all the same, and its word counts when it comes.
    assert!(eventually(LIMIT, || abuseipdb.asked().len() == 40).await);
    assert!(crate::common::until_status(&edge.envoy, "8.8.4.1", 403).await);
}
