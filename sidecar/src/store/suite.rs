//! What every implementation of `Store` must do, run against each by its own tests.

use std::sync::Arc;

use reputation::decision::Origin;
use reputation::manifest::SnapshotVersion;
use reputation::mode::{Mode, ModeOverride};
use reputation::score::Stance;
use reputation::{Decision, DecisionId, DecisionKind, UnixSeconds};

use super::{Booking, DecisionChange, Number, Step, Store, StoredVerdict, VerdictKey};
use crate::clock::Day;

/// Opens the same store again and again: the first time it is new and its epoch is [`CREATED`], later
/// it holds what was written before.
#[async_trait::async_trait]
pub trait Factory {
    async fn open(&self) -> Arc<dyn Store>;
}

pub const CREATED: UnixSeconds = UnixSeconds(1_800_000_000);

/// How many factories the suite makes.
pub const PARTS: usize = 8;

/// Runs the whole suite; each part on a factory of its own.
pub async fn run<F: Factory>(new_factory: impl Fn() -> F) {
    decisions_survive_and_change_in_one_step(&new_factory()).await;
    modes_are_replaced_as_a_whole(&new_factory()).await;
    quota_is_counted_per_provider_and_day(&new_factory()).await;
    calls_that_race_are_booked_up_to_the_limit_and_no_further(&new_factory()).await;
    versions_rise_across_restarts_and_begin_anew_with_an_epoch(&new_factory()).await;
    a_take_back_is_remembered_until_the_next_one_across_restarts(&new_factory()).await;
    verdicts_are_found_again_in_the_order_asked(&new_factory()).await;
    a_store_that_works_says_so(&new_factory()).await;
}

async fn decisions_survive_and_change_in_one_step(factory: &impl Factory) {
    let store = factory.open().await;
    assert!(store.decisions().await.unwrap().is_empty());
    let (first, second) = (decision(1, "203.0.113.0/24"), decision(2, "2001:db8::/48"));
    store.put_decision(&first).await.unwrap();
    let change = DecisionChange {
        put: vec![second.clone()],
        delete: vec![first.id],
    };
    store.change_decisions(change).await.unwrap();
    drop(store);
    let store = factory.open().await;
    assert_eq!(store.decisions().await.unwrap(), vec![second.clone()]);
    store.delete_decision(second.id).await.unwrap();
    store.delete_decision(second.id).await.unwrap();
    assert!(store.decisions().await.unwrap().is_empty());
}

async fn modes_are_replaced_as_a_whole(factory: &impl Factory) {
    let store = factory.open().await;
    assert!(store.modes().await.unwrap().is_empty());
    let route = |route: &str| ModeOverride {
        mode: Mode::Monitor,
        route: Some(route.to_owned()),
        until: Some(UnixSeconds(7)),
    };
    store.put_modes(&[route("a"), route("b")]).await.unwrap();
    store.put_modes(&[route("c")]).await.unwrap();
    drop(store);
    assert_eq!(
        factory.open().await.modes().await.unwrap(),
        vec![route("c")]
    );
}

async fn quota_is_counted_per_provider_and_day(factory: &impl Factory) {
    let store = factory.open().await;
    assert_eq!(
        store.book_call("one", Day(5), u32::MAX).await.unwrap(),
        Booking::Made(1)
    );
    assert_eq!(
        store.book_call("one", Day(5), u32::MAX).await.unwrap(),
        Booking::Made(2)
    );
    assert_eq!(
        store.book_call("two", Day(5), u32::MAX).await.unwrap(),
        Booking::Made(1)
    );
    assert_eq!(store.raise_quota("one", Day(5), 40).await.unwrap(), 40);
    assert_eq!(store.raise_quota("one", Day(5), 3).await.unwrap(), 40);
    drop(store);
    let store = factory.open().await;
    assert_eq!(store.quota("one", Day(5)).await.unwrap(), 40);
    assert_eq!(store.quota("one", Day(6)).await.unwrap(), 0);
    assert_eq!(
        store.book_call("one", Day(6), u32::MAX).await.unwrap(),
        Booking::Made(1)
    );
    assert_eq!(store.quota("three", Day(5)).await.unwrap(), 0);
}

async fn calls_that_race_are_booked_up_to_the_limit_and_no_further(factory: &impl Factory) {
    let store = factory.open().await;
    let mut racing = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let store = Arc::clone(&store);
        racing.spawn(async move { store.book_call("one", Day(5), 10).await.unwrap() });
    }
    let mut booked = racing.join_all().await;
    booked.sort_unstable_by_key(|booking| (matches!(booking, Booking::Full(_)), booking.count()));
    let made: Vec<_> = (1..=10).map(Booking::Made).collect();
    assert_eq!(booked.get(..10), Some(&made[..]));
    assert!(
        booked.iter().skip(10).all(|it| *it == Booking::Full(10)),
        "{booked:?}"
    );
    drop(store);
    let store = factory.open().await;
    assert_eq!(store.quota("one", Day(5)).await.unwrap(), 10);
    assert_eq!(
        store.book_call("one", Day(5), 0).await.unwrap(),
        Booking::Full(10)
    );
    assert_eq!(
        store.book_call("one", Day(5), 11).await.unwrap(),
        Booking::Made(11)
    );
    assert_eq!(
        store.book_call("one", Day(6), 0).await.unwrap(),
        Booking::Full(0)
    );
}

async fn versions_rise_across_restarts_and_begin_anew_with_an_epoch(factory: &impl Factory) {
    let store = factory.open().await;
    let epoch = u64::from(CREATED.0);
    let version = |epoch, version| SnapshotVersion { epoch, version };
    assert_eq!(store.epoch().await.unwrap(), epoch);
    assert_eq!(store.latest().await.unwrap(), version(epoch, 0));
    assert_eq!(next_version(&*store).await, version(epoch, 1));
    drop(store);
    let store = factory.open().await;
    assert_eq!(next_version(&*store).await, version(epoch, 2));
    assert_eq!(store.raise_epoch(epoch - 1).await.unwrap(), epoch);
    assert_eq!(next_version(&*store).await, version(epoch, 3));
    assert_eq!(store.latest().await.unwrap(), version(epoch, 3));
    assert_eq!(store.raise_epoch(epoch + 9).await.unwrap(), epoch + 9);
    assert_eq!(store.latest().await.unwrap(), version(epoch + 9, 0));
    assert_eq!(next_version(&*store).await, version(epoch + 9, 1));
    drop(store);
    assert_eq!(factory.open().await.epoch().await.unwrap(), epoch + 9);
}

async fn a_take_back_is_remembered_until_the_next_one_across_restarts(factory: &impl Factory) {
    let store = factory.open().await;
    let first = next(&*store, Step::TakesBack).await.generation();
    assert_eq!(next(&*store, Step::Adds).await.generation(), first);
    drop(store);
    let store = factory.open().await;
    assert_eq!(next(&*store, Step::Adds).await.generation(), first);
    let second = next(&*store, Step::TakesBack).await.generation();
    assert_ne!(second, first);
    assert_eq!(next(&*store, Step::Adds).await.generation(), second);
    let epoch = store.epoch().await.unwrap();
    store.raise_epoch(epoch + 1).await.unwrap();
    let third = next(&*store, Step::TakesBack).await.generation();
    assert!(third != second && third != first);
}

async fn next(store: &dyn Store, step: Step) -> Number {
    store.next_number(step).await.unwrap()
}

/// The version of a snapshot that takes nothing back.
pub async fn next_version(store: &dyn Store) -> SnapshotVersion {
    next(store, Step::Adds).await.version
}

async fn verdicts_are_found_again_in_the_order_asked(factory: &impl Factory) {
    let store = factory.open().await;
    let (one, other) = (key("one", "203.0.113.7"), key("one", "2001:db8::7"));
    let put = |key: &VerdictKey, verdict| store.put_verdict(key.clone(), verdict);
    put(&one, verdict(10, 100)).await.unwrap();
    put(&other, verdict(20, 200)).await.unwrap();
    put(&one, verdict(30, 100)).await.unwrap();
    let asked = [other, key("two", "203.0.113.7"), one];
    let found = vec![Some(verdict(20, 200)), None, Some(verdict(30, 100))];
    assert_eq!(store.verdicts(&asked).await.unwrap(), found);
    assert_eq!(store.verdicts(&[]).await.unwrap(), vec![]);
    store.flush().await.unwrap();
    drop(store);
    let store = factory.open().await;
    assert_eq!(store.verdicts(&asked).await.unwrap(), found);
}

async fn a_store_that_works_says_so(factory: &impl Factory) {
    let store = factory.open().await;
    assert_eq!(store.health().await.fault, None);
}

pub fn decision(id: u64, cidr: &str) -> Decision {
    Decision {
        id: DecisionId(id),
        cidr: cidr.parse().unwrap(),
        kind: DecisionKind::Ban,
        origin: Origin::Operator,
        reason: "scanner".to_owned(),
        author: "anna".to_owned(),
        created: CREATED,
        expires: Some(CREATED.plus(60)),
    }
}

pub fn key(provider: &str, address: &str) -> VerdictKey {
    VerdictKey {
        provider: provider.to_owned(),
        address: address.parse().unwrap(),
    }
}

/// Expires so many seconds after [`CREATED`].
pub fn verdict(score: u8, expires: u32) -> StoredVerdict {
    StoredVerdict {
        score,
        stance: Stance::Rated,
        categories: vec!["ssh".to_owned()],
        observed: None,
        fetched: CREATED,
        expires: CREATED.plus(expires),
    }
}
