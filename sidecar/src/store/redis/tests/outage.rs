//! Redis away, silent, full, read-only, emptied.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::io::AsyncWriteExt;

use super::server::{PATIENCE, Server, open, until};
use crate::clock::Day;
use crate::config::store::RedisServer;
use crate::store::suite::{CREATED, decision, key, next_version, verdict};
use crate::store::{Booking, Concern, Store};
use crate::telemetry::chain;

#[tokio::test]
async fn without_redis_the_copy_serves_and_versions_go_on_above_it() {
    let (mut server, directory) = (
        Server::start("--appendonly yes --appendfsync always").await,
        tempfile::tempdir().unwrap(),
    );
    let ban = decision(1, "203.0.113.7");
    let store = server.open(directory.path()).await;
    store.put_decision(&ban).await.unwrap();
    let before = next_version(&store).await;
    store.flush().await.unwrap();
    drop(store);
    server.kill();

    let store = server.open(directory.path()).await;
    assert_eq!(store.decisions().await.unwrap(), std::slice::from_ref(&ban));
    let meanwhile = next_version(&store).await;
    assert!(meanwhile > before && meanwhile.epoch == before.epoch);
    let refused = store.put_decision(&decision(2, "203.0.113.8")).await;
    let refused = chain(&refused.unwrap_err());
    assert!(refused.contains("cannot be used now"), "{refused}");
    store.book_call("p", Day(5), u32::MAX).await.unwrap_err();

    server.restart().await;
    until("it finds Redis again", async || {
        store.health().await.fault.is_none()
    })
    .await;
    tokio::time::timeout(PATIENCE, store.changed())
        .await
        .unwrap();
    assert_eq!(store.decisions().await.unwrap(), [ban]);
    let after = next_version(&store).await;
    assert!(
        after > meanwhile && after.epoch == before.epoch,
        "{meanwhile}, then {after}"
    );
    store
        .put_decision(&decision(2, "203.0.113.8"))
        .await
        .unwrap();
}

#[tokio::test]
async fn without_redis_and_without_a_copy_any_real_epoch_is_higher() {
    let (mut server, directory) = (Server::start("").await, tempfile::tempdir().unwrap());
    server.kill();
    let store = server.open(directory.path()).await;
    assert!(store.decisions().await.unwrap().is_empty());
    let version = next_version(&store).await;
    assert_eq!((version.epoch, version.version), (1, 1));
    server.restart().await;
    until("it finds Redis", async || {
        store.health().await.fault.is_none()
    })
    .await;
    assert_eq!(next_version(&store).await.epoch, u64::from(CREATED.0));
}

#[tokio::test]
async fn a_redis_that_lost_everything_gets_it_back() {
    let (mut server, directory) = (Server::start("").await, tempfile::tempdir().unwrap());
    let store = server.open(directory.path()).await;
    let ban = decision(1, "203.0.113.7");
    store.put_decision(&ban).await.unwrap();
    for _ in 0..3 {
        store.book_call("p", Day(5), u32::MAX).await.unwrap();
    }
    let before = next_version(&store).await;
    server.restart().await;
    until("it finds Redis again", async || {
        store.health().await.fault.is_none()
    })
    .await;
    let held: u32 = server.command(&["HLEN", "pc:decisions"]).await;
    assert_eq!(held, 1);
    assert_eq!(store.decisions().await.unwrap(), [ban]);
    assert_eq!(
        store.book_call("p", Day(5), u32::MAX).await.unwrap(),
        Booking::Made(4)
    );
    assert!(next_version(&store).await > before);
}

#[tokio::test]
async fn a_redis_that_is_emptied_under_way_gets_everything_back() {
    let (server, directory) = (Server::start("").await, tempfile::tempdir().unwrap());
    let store = server.open(directory.path()).await;
    let ban = decision(1, "203.0.113.7");
    store.put_decision(&ban).await.unwrap();
    let off = serde_json::from_str::<Vec<_>>(r#"[{"mode":"off","route":"shop"}]"#).unwrap();
    store.put_modes(&off).await.unwrap();
    let before = next_version(&store).await;
    server.command::<()>(&["FLUSHALL"]).await;
    // Snapshots go on meanwhile: their numbers are no sign that Redis still has the rest.
    assert!(next_version(&store).await > before);
    until("Redis has the decision again", async || {
        let held: u32 = server.command(&["HLEN", "pc:decisions"]).await;
        held == 1
    })
    .await;
    assert_eq!(store.decisions().await.unwrap(), [ban]);
    assert_eq!(store.modes().await.unwrap(), off);
}

#[tokio::test]
async fn a_ban_given_to_a_redis_emptied_a_moment_ago_does_not_replace_all_others() {
    let server = Server::start("").await;
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let one = server.open(directories[0].path()).await;
    let (first, second) = (decision(1, "203.0.113.7"), decision(2, "203.0.113.8"));
    one.put_decision(&first).await.unwrap();
    let other = server.open(directories[1].path()).await;
    assert_eq!(
        other.decisions().await.unwrap(),
        std::slice::from_ref(&first)
    );
    server.command::<()>(&["FLUSHALL"]).await;
    one.put_decision(&second).await.unwrap();
    let mut held = other.decisions().await.unwrap();
    held.sort_by_key(|decision| decision.id);
    assert_eq!(held, [first, second]);
}

#[tokio::test]
async fn a_newcomer_who_reaches_an_empty_redis_first_does_not_cost_others_decisions() {
    let (mut server, directory) = (Server::start("").await, tempfile::tempdir().unwrap());
    let ban = decision(1, "203.0.113.7");
    let store = server.open(directory.path()).await;
    store.put_decision(&ban).await.unwrap();
    store.flush().await.unwrap();
    drop(store);
    server.restart().await;
    let newcomer = tempfile::tempdir().unwrap();
    let newcomer = server.open(newcomer.path()).await;
    next_version(&newcomer).await;
    assert!(newcomer.decisions().await.unwrap().is_empty());

    let store = server.open(directory.path()).await;
    assert_eq!(store.decisions().await.unwrap(), std::slice::from_ref(&ban));
    assert_eq!(newcomer.decisions().await.unwrap(), [ban]);
}

#[tokio::test]
async fn a_redis_too_slow_for_verdicts_still_takes_a_ban() {
    let (server, directory) = (Server::start("").await, tempfile::tempdir().unwrap());
    let mut config = server.config();
    config.timeout = Duration::from_secs(2);
    let store = open(&config, directory.path()).await;
    server.signal(Signal::STOP);
    store
        .verdicts(&[key("abuseipdb", "203.0.113.7")])
        .await
        .unwrap_err();
    let ban = decision(1, "203.0.113.7");
    let (given, ()) = tokio::join!(store.put_decision(&ban), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.signal(Signal::CONT);
    });
    given.unwrap();
    until("it is trusted again", async || {
        store.health().await.fault.is_none()
    })
    .await;
}

#[tokio::test]
async fn a_silent_redis_is_waited_for_once() {
    let (server, directory) = (Server::start("").await, tempfile::tempdir().unwrap());
    let mut config = server.config();
    config.timeout = Duration::from_millis(250);
    let store = open(&config, directory.path()).await;
    let ours = [key("abuseipdb", "203.0.113.7")];
    store
        .put_verdict(ours[0].clone(), verdict(7, 100))
        .await
        .unwrap();
    server.signal(Signal::STOP);
    let begun = Instant::now();
    for _ in 0..1000 {
        store.verdicts(&ours).await.unwrap_err();
    }
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    assert!(
        store
            .health()
            .await
            .fault
            .unwrap()
            .contains("did not answer")
    );
    server.signal(Signal::CONT);
    until("it answers again", async || {
        store.verdicts(&ours).await.is_ok()
    })
    .await;
    assert_eq!(
        store.verdicts(&ours).await.unwrap(),
        [Some(verdict(7, 100))]
    );
}

#[tokio::test]
async fn a_full_redis_refuses_writes_with_a_reason_and_is_read_on() {
    let (server, directory) = (Server::start("").await, tempfile::tempdir().unwrap());
    let store = server.open(directory.path()).await;
    let ban = decision(1, "203.0.113.7");
    store.put_decision(&ban).await.unwrap();
    server
        .command::<()>(&["CONFIG", "SET", "maxmemory", "1"])
        .await;
    let refused = chain(
        &store
            .put_decision(&decision(2, "203.0.113.8"))
            .await
            .unwrap_err(),
    );
    assert!(refused.contains("Redis is full"), "{refused}");
    store.book_call("p", Day(5), u32::MAX).await.unwrap_err();
    assert_eq!(store.decisions().await.unwrap(), std::slice::from_ref(&ban));
    let before = store.latest().await.unwrap();
    let numbered = next_version(&store).await;
    assert!(numbered > before);
    until("it is told", async || {
        store.health().await.concerns.contains(&Concern::Full)
    })
    .await;
    // To take a ban back needs no memory.
    store.delete_decision(ban.id).await.unwrap();
    assert!(store.decisions().await.unwrap().is_empty());

    server
        .command::<()>(&["CONFIG", "SET", "maxmemory", "0"])
        .await;
    store
        .put_decision(&decision(2, "203.0.113.8"))
        .await
        .unwrap();
    assert!(next_version(&store).await > numbered);
    until("it is told", async || {
        !store.health().await.concerns.contains(&Concern::Full)
    })
    .await;
}

#[tokio::test]
async fn a_server_that_speaks_rubbish_or_without_end_is_refused() {
    for (rubbish, endless) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], false),
        (b"\0\x01\x02\xff\xfe", false),
        (b"*1000000000\r\n", false),
        (b"+OK\r\n+OK\r\n+OK\r\n", false),
        (b":1\r\n", true),
        (&[b'x'; 4096], true),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let serving = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    while stream.write_all(rubbish).await.is_ok() && endless {}
                    tokio::time::sleep(PATIENCE).await;
                });
            }
        });
        let server = Server::start("").await;
        let mut config = server.config();
        config.server = RedisServer::Unix(path);
        let store = open(&config, directory.path()).await;
        assert!(store.health().await.fault.is_some(), "{rubbish:?}");
        store
            .put_decision(&decision(1, "203.0.113.7"))
            .await
            .unwrap_err();
        assert_eq!(next_version(&store).await.epoch, 1);
        serving.abort();
    }
}

/// Opening an epoch is the first change that an emptied Redis counts, and no sign that the rest is there.
#[tokio::test]
async fn an_epoch_that_is_opened_in_an_emptied_redis_loses_no_decision() {
    let (server, directory) = (Server::start("").await, tempfile::tempdir().unwrap());
    let store = server.open(directory.path()).await;
    let ban = decision(1, "203.0.113.7");
    store.put_decision(&ban).await.unwrap();
    server.command::<()>(&["FLUSHALL"]).await;
    let epoch = store.epoch().await.unwrap();
    store.raise_epoch(epoch + 9).await.unwrap();
    let given_back: u32 = server.command(&["HLEN", "pc:decisions"]).await;
    assert_eq!(given_back, 1);
    assert_eq!(store.decisions().await.unwrap(), [ban]);
}
