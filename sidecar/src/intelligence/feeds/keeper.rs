//! Runs each feed's life: the last good copy at start, then looking for newer versions, judging them,
//! putting them in force or holding them until a person releases them.

use std::sync::Arc;
use std::time::Duration;

use reputation::{Policy, UnixSeconds};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::fetch::{FetchError, Fetched, Fetcher, Stamp, pause, pause_after};
use super::last_good::{Copy, LastGood};
use super::slot::{Judged, Slot, judge};
use super::{FeedStatus, FeedsView, LoadedFeed};
use crate::clock::Clock;
use crate::config::{Config, FeedSource, Guard};
use crate::intelligence::recent::RecentlyClean;
use crate::intelligence::sources::Sources;
use crate::snapshot::{Changed, Publisher};
use crate::telemetry::{Metrics, chain};

/// All feeds. Cheap to share.
pub struct Keeper {
    slots: Vec<Slot>,
    needs: Needs,
    guard: Guard,
    policy: Policy,
    last_good: LastGood,
}

/// What keeping feeds needs of its surroundings.
pub struct Needs {
    pub fetcher: Fetcher,
    pub sources: Arc<Sources>,
    pub recent: Arc<RecentlyClean>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
}

/// Why a feed cannot be released.
#[derive(Debug, Error)]
pub enum ReleaseError {
    #[error("there is no feed named {0:?}: `portcullis feeds` lists them")]
    Unknown(String),
    #[error("the feed {0:?} is not held: its newest version is in force")]
    NotHeld(String),
}

impl Keeper {
    pub fn new(config: &Config, needs: Needs) -> Self {
        let feeds = config.feeds.iter().cloned().enumerate();
        Self {
            slots: feeds.map(|(at, feed)| Slot::new(at, feed)).collect(),
            needs,
            guard: config.guard.clone(),
            policy: config.policy,
            last_good: LastGood::under(&config.store.path),
        }
    }

    /// Puts in force what needs no network: last good copies, and the files as they are now.
    pub async fn load(&self) {
        for slot in &self.slots {
            self.load_last_good(slot).await;
            if matches!(slot.feed.source, FeedSource::File(_)) {
                self.poll(slot).await;
            }
        }
    }

    /// Looks for newer versions until `shutdown`, and tells the publisher of each.
    pub fn run(self: &Arc<Self>, publisher: &Publisher, shutdown: &CancellationToken) {
        for at in 0..self.slots.len() {
            let keeper = Arc::clone(self);
            let (publisher, shutdown) = (publisher.clone(), shutdown.clone());
            tokio::spawn(async move {
                let life = keeper.live(at, &publisher);
                shutdown.run_until_cancelled(life).await;
            });
        }
    }

    pub fn statuses(&self) -> Vec<FeedStatus> {
        let now = self.needs.clock.now();
        self.slots.iter().map(|slot| slot.status(now)).collect()
    }

    /// Puts the held version of `name` in force.
    pub async fn release(&self, name: &str) -> Result<(), ReleaseError> {
        let slot = self.slots.iter().find(|slot| slot.feed.name == name);
        let slot = slot.ok_or_else(|| ReleaseError::Unknown(name.to_owned()))?;
        let held = slot.state().held.take();
        let held = held.ok_or_else(|| ReleaseError::NotHeld(name.to_owned()))?;
        tracing::info!(feed = name, "the held version is released");
        self.take(slot, held.guarded, held.copy).await;
        Ok(())
    }

    async fn live(&self, at: usize, publisher: &Publisher) {
        let Some(slot) = self.slots.get(at) else {
            return;
        };
        tokio::time::sleep(self.first_pause(slot)).await;
        loop {
            let (changed, pause) = self.poll(slot).await;
            if changed {
                publisher.changed(Changed::Feeds);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// A copy that is younger than the refresh interval need not be fetched again at once.
    fn first_pause(&self, slot: &Slot) -> Duration {
        let Some(fetched) = slot.state().fetched() else {
            return Duration::ZERO;
        };
        let age = Duration::from_secs(fetched.until(self.needs.clock.now()).into());
        pause(&slot.feed).saturating_sub(age)
    }

    async fn load_last_good(&self, slot: &Slot) {
        let (last_good, feed) = (self.last_good.clone(), Arc::clone(&slot.feed));
        let loaded = tokio::task::spawn_blocking(move || last_good.load(&feed)).await;
        let copy = match loaded {
            Ok(Ok(Some(copy))) => copy,
            Ok(Ok(None)) | Err(_) => return,
            Ok(Err(error)) => return self.fail(slot, "last_good", &error),
        };
        slot.state().seen = match slot.feed.source {
            FeedSource::Url(_) => copy.stamp.clone(),
            FeedSource::File(_) => None,
        };
        let judged = self.judge(slot, &copy).await;
        match judged {
            Judged::Taken(guarded) => self.put_in_force(slot, guarded, copy.fetched),
            Judged::Held(..) => {}
            Judged::Refused { cause, why } => self.refuse(slot, cause, why),
        }
    }

    /// Looks for a newer version. Says whether something changed, and when to look again.
    async fn poll(&self, slot: &Slot) -> (bool, Duration) {
        let now = self.needs.clock.now();
        let seen = slot.state().seen.clone();
        let fetched = self.needs.fetcher.fetch(&slot.feed, seen.as_ref(), now);
        match fetched.await {
            Ok(Fetched::Unchanged) => {
                if slot.state().confirm(now) {
                    self.needs.metrics.feed_unchanged(&slot.feed.name, now);
                }
                (false, pause(&slot.feed))
            }
            Ok(Fetched::New { body, stamp }) => {
                slot.state().see(&stamp);
                let changed = self.offer(slot, copy(body, stamp, now)).await;
                (changed, pause(&slot.feed))
            }
            Err(error) => {
                let failures = slot.state().count_failure();
                self.note_unreachable(slot, &error, failures);
                (false, pause_after(&slot.feed, failures, &error))
            }
        }
    }

    async fn offer(&self, slot: &Slot, copy: Copy) -> bool {
        match self.judge(slot, &copy).await {
            Judged::Taken(guarded) => {
                self.take(slot, guarded, copy).await;
                true
            }
            Judged::Held(guarded, hold) => {
                self.needs
                    .metrics
                    .feed_refused(&slot.feed.name, hold.cause());
                tracing::warn!(feed = slot.feed.name, %hold, "a new version is held: \
                    `portcullis feeds release {}` lets it in", slot.feed.name);
                slot.state().hold(guarded, copy, &hold);
                false
            }
            Judged::Refused { cause, why } => {
                self.refuse(slot, cause, why);
                false
            }
        }
    }

    /// Off the async threads: a list may have millions of lines.
    async fn judge(&self, slot: &Slot, copy: &Copy) -> Judged {
        let (body, feed, at) = (copy.body.clone(), Arc::clone(&slot.feed), slot.at);
        let before = slot.state().loaded.clone();
        let (guard, policy) = (self.guard.clone(), self.policy);
        let (view, clean) = (self.needs.sources.feeds(), self.needs.recent.all());
        let fetched = copy.fetched;
        let task = tokio::task::spawn_blocking(move || {
            let judged = judge(&body, &feed, &guard, before.as_deref());
            let (Judged::Taken(guarded), Some(_), false) = (&judged, before, clean.is_empty())
            else {
                return judged;
            };
            let next = LoadedFeed::new(feed, guarded.listing.clone(), fetched);
            let next = view.with(at, Arc::new(next));
            judged.tried_in_shadow(&clean, |address| {
                next.deny(address, policy) && !view.deny(address, policy)
            })
        });
        task.await.unwrap_or_else(|error| Judged::Refused {
            cause: "internal",
            why: error.to_string(),
        })
    }

    /// Saves and puts in force.
    async fn take(&self, slot: &Slot, guarded: super::guard::Guarded, copy: Copy) {
        let (last_good, feed) = (self.last_good.clone(), Arc::clone(&slot.feed));
        let fetched = copy.fetched;
        self.put_in_force(slot, guarded, fetched);
        let saved = tokio::task::spawn_blocking(move || last_good.save(&feed, &copy)).await;
        if let Ok(Err(error)) = saved {
            // The feed is in force; only a restart while its source is down would lose it.
            tracing::warn!(
                feed = slot.feed.name,
                error = chain(&error),
                "no last good copy"
            );
        }
    }

    fn put_in_force(&self, slot: &Slot, guarded: super::guard::Guarded, fetched: UnixSeconds) {
        let feed = slot.state().put_in_force(&slot.feed, guarded, fetched);
        let entries = feed.listing.len();
        self.needs
            .metrics
            .feed_taken(&slot.feed.name, entries, fetched);
        tracing::info!(feed = slot.feed.name, entries, "feed in force");
        let change = |view: &FeedsView| view.with(slot.at, Arc::clone(&feed));
        self.needs.sources.change_feeds(change);
    }

    fn refuse(&self, slot: &Slot, cause: &'static str, why: String) {
        self.needs.metrics.feed_refused(&slot.feed.name, cause);
        tracing::warn!(
            feed = slot.feed.name,
            why,
            "a version of the feed is refused"
        );
        slot.state().refuse(why);
    }

    fn fail(&self, slot: &Slot, cause: &'static str, error: &dyn std::error::Error) {
        self.refuse(slot, cause, chain(error));
    }

    fn note_unreachable(&self, slot: &Slot, error: &FetchError, failures: u32) {
        let why = chain(error);
        if failures == 1 {
            tracing::warn!(feed = slot.feed.name, why, "the feed cannot be fetched");
        }
        self.needs.metrics.feed_refused(&slot.feed.name, "fetch");
        slot.state().last_error = Some(why);
    }
}

fn copy(body: hyper::body::Bytes, stamp: Stamp, fetched: UnixSeconds) -> Copy {
    Copy {
        body,
        stamp: Some(stamp),
        fetched,
    }
}
