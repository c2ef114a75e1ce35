//! Several stores on one server.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use reputation::DecisionId;
use reputation::mode::{Mode, ModeOverride};
use tokio::time::timeout;

use super::server::{PATIENCE, Server, open};
use crate::clock::Day;
use crate::store::suite::{CREATED, decision, key, next_version, verdict};
use crate::store::{Booking, Number, Step, Store, VerdictKey};

#[tokio::test]
async fn what_one_writes_the_other_hears_of_at_once_and_its_own_words_not() {
    let server = Server::start("").await;
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let one = server.open(here.path()).await;
    let other = server.open(there.path()).await;
    for store in [&one, &other] {
        timeout(PATIENCE, store.changed()).await.unwrap();
    }
    let ban = decision(1, "203.0.113.7");
    one.put_decision(&ban).await.unwrap();
    timeout(Duration::from_millis(400), other.changed())
        .await
        .expect("a change is heard of within half a second");
    assert_eq!(other.decisions().await.unwrap(), [ban]);
    let mut heard = 0;
    for id in 2..30 {
        one.put_decision(&decision(id, "203.0.113.8"))
            .await
            .unwrap();
        let hearing = timeout(Duration::from_millis(20), one.changed());
        heard += u32::from(hearing.await.is_ok());
    }
    assert!(heard < 5, "it heard of its own changes");

    let mode = ModeOverride {
        mode: Mode::Off,
        route: None,
        until: None,
    };
    other.put_modes(std::slice::from_ref(&mode)).await.unwrap();
    timeout(PATIENCE, one.changed()).await.unwrap();
    assert_eq!(one.modes().await.unwrap(), [mode]);
    let epoch = u64::from(CREATED.0) + 5;
    one.raise_epoch(epoch).await.unwrap();
    timeout(PATIENCE, other.changed()).await.unwrap();
    assert_eq!(other.epoch().await.unwrap(), epoch);
}

#[tokio::test]
async fn a_change_that_is_not_announced_is_found_all_the_same() {
    let server = Server::start("").await;
    let directory = tempfile::tempdir().unwrap();
    let store = server.open(directory.path()).await;
    timeout(PATIENCE, store.changed()).await.unwrap();
    server.command::<u64>(&["INCR", "pc:changes"]).await;
    timeout(PATIENCE, store.changed()).await.unwrap();
}

#[tokio::test]
async fn no_version_and_no_call_is_handed_out_twice_and_no_call_beyond_the_limit() {
    let server = Server::start("").await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(server.open(directory.path()).await);
        tasks.spawn(async move {
            let mut handed_out = Vec::new();
            for _ in 0..50 {
                let version = next_version(&*store).await;
                // Each knows only what it booked itself: what is left is Redis's to say.
                let call = store.book_call("p", Day(5), 120).await.unwrap();
                handed_out.push((version, call));
            }
            drop(directory);
            handed_out
        });
    }
    let all: Vec<_> = tasks.join_all().await.concat();
    let versions: HashSet<_> = all.iter().map(|(version, _)| *version).collect();
    let mut calls: Vec<_> = all
        .iter()
        .filter_map(|(_, call)| match call {
            Booking::Made(count) => Some(*count),
            Booking::Full(count) => {
                assert_eq!(*count, 120);
                None
            }
        })
        .collect();
    calls.sort_unstable();
    assert_eq!(versions.len(), 200);
    assert_eq!(calls, (1..=120).collect::<Vec<_>>());
    assert!(
        versions
            .iter()
            .all(|version| version.epoch == u64::from(CREATED.0))
    );
}

#[tokio::test]
async fn a_store_in_another_namespace_sees_nothing() {
    let server = Server::start("").await;
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let one = server.open(here.path()).await;
    let mut config = server.config();
    config.namespace = "portcullis2".to_owned();
    let other = open(&config, there.path()).await;
    for store in [&one, &other] {
        timeout(PATIENCE, store.changed()).await.unwrap();
    }
    let provider: VerdictKey = key("abuseipdb", "203.0.113.7");
    one.put_decision(&decision(1, "203.0.113.7")).await.unwrap();
    one.book_call("abuseipdb", Day(5), u32::MAX).await.unwrap();
    one.put_verdict(provider.clone(), verdict(1, 100))
        .await
        .unwrap();
    next_version(&one).await;
    assert!(other.decisions().await.unwrap().is_empty());
    assert_eq!(other.quota("abuseipdb", Day(5)).await.unwrap(), 0);
    assert_eq!(other.verdicts(&[provider]).await.unwrap(), [None]);
    assert_eq!(other.latest().await.unwrap().version, 0);
    let silence = timeout(Duration::from_millis(1500), other.changed()).await;
    assert!(silence.is_err());
}

#[tokio::test]
async fn decisions_are_never_seen_half_changed() {
    let server = Server::start("").await;
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let writer = Arc::new(server.open(here.path()).await);
    let reader = server.open(there.path()).await;
    writer
        .put_decision(&decision(1, "203.0.113.7"))
        .await
        .unwrap();
    let writing = Arc::clone(&writer);
    let changing = tokio::spawn(async move {
        for id in 1..300 {
            let change = crate::store::DecisionChange {
                put: vec![decision(id + 1, "203.0.113.7")],
                delete: vec![DecisionId(id)],
            };
            writing.change_decisions(change).await.unwrap();
        }
    });
    while !changing.is_finished() {
        assert_eq!(reader.decisions().await.unwrap().len(), 1);
    }
    changing.await.unwrap();
}

#[tokio::test]
async fn all_who_are_numbered_after_a_take_back_have_its_generation() {
    let server = Server::start("").await;
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, other) = (
        server.open(here.path()).await,
        server.open(there.path()).await,
    );
    let generation = async |number: Step, store: &super::super::RedisStore| {
        let number = store.next_number(number).await;
        number.map(Number::generation).unwrap()
    };
    let first = generation(Step::Adds, &one).await;
    assert_eq!(generation(Step::Adds, &other).await, first);
    let second = generation(Step::TakesBack, &other).await;
    assert_ne!(second, first);
    assert_eq!(generation(Step::Adds, &one).await, second);
    // What is not known any more may have been anything.
    for lost in [
        &["DEL", "pc:taken_back"][..],
        &["SET", "pc:taken_back", "9999"],
        &["SET", "pc:version", "1"],
    ] {
        let before = generation(Step::Adds, &one).await;
        server.command::<redis::Value>(lost).await;
        let after = generation(Step::Adds, &one).await;
        assert_ne!(after, before, "{lost:?}");
        assert_eq!(generation(Step::Adds, &other).await, after, "{lost:?}");
    }
}
