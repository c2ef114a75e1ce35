//! The Redis store on a real server: what every store must do, and what is Redis' own.

mod foreign;
mod outage;
pub mod server;
mod sharing;

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::Pipeline;
use reputation::ClientAddress;

use super::codec::write_verdict;
use super::keys::Keys;
use crate::clock::Day;
use crate::store::suite::{self, CREATED, Factory, decision, key, verdict};
use crate::store::{Step, Store, StoredVerdict, VerdictKey};
use server::Server;

struct OnServer {
    server: Server,
    directory: tempfile::TempDir,
}

#[async_trait::async_trait]
impl Factory for OnServer {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.server.open(self.directory.path()).await)
    }
}

#[tokio::test]
async fn the_redis_store_does_what_every_store_must() {
    // One server for each part: the suite makes its factories without waiting.
    let mut servers = Vec::new();
    for _ in 0..suite::PARTS {
        servers.push(OnServer {
            server: Server::start("").await,
            directory: tempfile::tempdir().unwrap(),
        });
    }
    let servers = std::cell::RefCell::new(servers);
    suite::run(|| servers.borrow_mut().pop().unwrap()).await;
}

#[tokio::test]
async fn what_must_not_be_evicted_has_no_expiry_and_verdicts_have() {
    let (server, directory) = (Server::start("").await, tempfile::tempdir().unwrap());
    let store = server.open(directory.path()).await;
    let ban = decision(1, "203.0.113.7");
    store.put_decision(&ban).await.unwrap();
    store.put_modes(&[]).await.unwrap();
    store.next_number(Step::Adds).await.unwrap();
    store
        .book_call("abuseipdb", Day(5), u32::MAX)
        .await
        .unwrap();
    let provider = key("abuseipdb", "203.0.113.7");
    let put = store.put_verdict(provider, verdict(1, 100));
    put.await.unwrap();
    let mut lasting = 0;
    for name in server.command::<Vec<Vec<u8>>>(&["KEYS", "*"]).await {
        let mut client = server.client().await.unwrap();
        let ttl: i64 = redis::cmd("TTL")
            .arg(&name)
            .query_async(&mut client)
            .await
            .unwrap();
        let is_verdict = name.starts_with(b"pc:v\x01");
        assert_eq!(ttl > 0, is_verdict, "{name:?}: {ttl}");
        lasting += usize::from(!is_verdict);
    }
    assert_eq!(lasting, 7);
}

#[tokio::test]
async fn the_counts_of_days_long_gone_are_forgotten() {
    let (server, directory) = (Server::start("").await, tempfile::tempdir().unwrap());
    let store = server.open(directory.path()).await;
    for day in 100..110 {
        store.book_call("p", Day(day), u32::MAX).await.unwrap();
    }
    let days: Vec<u32> = server.command(&["HKEYS", "pc:quota:p"]).await;
    assert_eq!(days, [108, 109]);
}

/// The tables of Redis have just doubled: the worst case, 16 octets above the best.
#[tokio::test]
async fn a_verdict_takes_at_most_160_octets_with_its_key() {
    const COUNT: u32 = 140_000;
    let server = Server::start("").await;
    let keys = Keys::new("pc");
    let before = used_memory(&server).await;
    let mut client = server.client().await.unwrap();
    let said = StoredVerdict {
        observed: Some(CREATED),
        categories: vec!["tor".to_owned()],
        ..verdict(93, 86_400)
    };
    let value = write_verdict(&said);
    for page in 0..COUNT / 1000 {
        let mut commands = Pipeline::new();
        for at in 0..1000 {
            let network = u128::from(page * 1000 + at) << 64 | 0x2001_0db8 << 96;
            let name = keys.verdict(&VerdictKey {
                provider: "abuseipdb".to_owned(),
                address: ClientAddress::V6(network),
            });
            let set = commands.cmd("SET").arg(name).arg(&value);
            set.arg("EX").arg(345_600).ignore();
        }
        commands.exec_async(&mut client).await.unwrap();
    }
    let each = (used_memory(&server).await - before) / u64::from(COUNT);
    assert!(each <= 160, "{each} octets");
}

async fn used_memory(server: &Server) -> u64 {
    let info: String = server.command(&["INFO", "memory"]).await;
    let mut lines = info
        .lines()
        .filter_map(|line| line.strip_prefix("used_memory:"));
    lines.next().unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn opening_waits_for_redis_but_not_for_ever() {
    let (mut server, directory) = (Server::start("").await, tempfile::tempdir().unwrap());
    let store = server.open(directory.path()).await;
    assert_eq!(store.health().await.fault, None, "it was not waited for");
    drop(store);
    server.kill();
    let begun = Instant::now();
    let store = server.open(directory.path()).await;
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert!(store.health().await.fault.is_some());
}
