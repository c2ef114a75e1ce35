//! Runs each feed's life: the last good copy at start, then looking for newer versions, judging them,
//! putting them in force or holding them until a person releases them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reputation::{ClientAddress, UnixSeconds};
use thiserror::Error;
use tokio::sync::RwLock;
use tokio_util::sync::CancellationToken;

use super::fetch::{FetchError, Fetched, Fetcher, Stamp, pause, pause_after};
use super::guard::{Guarded, Hold};
use super::last_good::{Copy, LastGood};
use super::slot::{Judged, Slot, judge};
use super::{FeedStatus, LoadedFeed};
use crate::clock::Clock;
use crate::config::FeedSource;
use crate::http::HttpClient;
use crate::intelligence::recent::RecentlyClean;
use crate::intelligence::sources::Sources;
use crate::snapshot::{Changed, Publisher};
use crate::telemetry::{Metrics, chain};

/// All feeds. Which there are and what the guard says is in `sources`.
pub struct Keeper {
    pub(super) needs: Needs,
    last_good: LastGood,
    /// Versions are taken side by side, but none while the configuration changes beneath.
    pub(super) taking: RwLock<()>,
}

/// What a new version is compared with.
pub(super) struct Earlier {
    pub(super) loaded: Arc<LoadedFeed>,
    /// Whom it may not refuse, beyond a few.
    pub(super) clean: Vec<ClientAddress>,
}

/// What keeping feeds needs of its surroundings.
pub struct Needs {
    pub http: HttpClient,
    pub publisher: Publisher,
    /// Ends every feed's life.
    pub shutdown: CancellationToken,
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
    /// Keeps the feeds' last good copies under `store`.
    pub fn new(store: &Path, needs: Needs) -> Self {
        Self {
            needs,
            last_good: LastGood::under(store),
            taking: RwLock::default(),
        }
    }

    /// Puts in force what needs no network: the last good copy, and a file as it is now.
    pub(super) async fn load(&self, slot: &Arc<Slot>) {
        {
            let _taking = self.taking.read().await;
            self.load_last_good(slot).await;
        }
        if matches!(slot.feed.source, FeedSource::File(_)) {
            self.poll(slot).await;
        }
    }

    /// Looks for newer versions until its life ends, and tells the publisher of each.
    pub(super) fn keep(self: &Arc<Self>, slot: &Arc<Slot>) {
        let (keeper, slot) = (Arc::clone(self), Arc::clone(slot));
        tokio::spawn(async move {
            let ended = slot.ended.clone();
            ended.run_until_cancelled(keeper.live(&slot)).await;
        });
    }

    pub fn statuses(&self) -> Vec<FeedStatus> {
        let now = self.needs.clock.now();
        let view = self.needs.sources.view();
        let slots = view.setup.feeds.iter();
        slots.map(|slot| slot.status(now)).collect()
    }

    /// Puts the held version of `name` in force.
    pub async fn release(&self, name: &str) -> Result<(), ReleaseError> {
        let _taking = self.taking.read().await;
        let view = self.needs.sources.view();
        let slot = view.setup.feed(name);
        let slot = slot.ok_or_else(|| ReleaseError::Unknown(name.to_owned()))?;
        if self.end_trial(slot).await {
            return Ok(());
        }
        let held = slot.state().held.take();
        let held = held.ok_or_else(|| ReleaseError::NotHeld(name.to_owned()))?;
        tracing::info!(feed = name, "the held version is released");
        self.take(slot, held.guarded, held.copy).await;
        Ok(())
    }

    async fn live(&self, slot: &Arc<Slot>) {
        tokio::time::sleep(self.first_pause(slot)).await;
        loop {
            let (changed, pause) = self.poll(slot).await;
            if changed {
                self.needs.publisher.changed(Changed::Feeds);
            }
            tokio::time::sleep(slot.within_trial(pause)).await;
        }
    }

    /// A copy that is younger than the refresh interval need not be fetched again at once.
    fn first_pause(&self, slot: &Arc<Slot>) -> Duration {
        let Some(fetched) = slot.state().fetched() else {
            return Duration::ZERO;
        };
        let age = Duration::from_secs(fetched.until(self.needs.clock.now()).into());
        pause(&slot.feed).saturating_sub(age)
    }

    async fn load_last_good(&self, slot: &Arc<Slot>) {
        let Some(copy) = self.last_good(slot).await else {
            return;
        };
        slot.state().seen = match slot.feed.source {
            FeedSource::Url(_) => copy.stamp.clone(),
            FeedSource::File(_) => None,
        };
        match self.judge(slot, &copy, None).await {
            Judged::Taken(guarded) => self.put_in_force(slot, guarded, copy.fetched),
            Judged::Held(..) => {}
            Judged::Refused { cause, why } => self.refuse(slot, cause, why),
        }
    }

    /// The last good copy, if there is one to be read.
    pub(super) async fn last_good(&self, slot: &Arc<Slot>) -> Option<Copy> {
        let (last_good, feed) = (self.last_good.clone(), Arc::clone(&slot.feed));
        let loaded = tokio::task::spawn_blocking(move || last_good.load(&feed)).await;
        match loaded {
            Ok(Ok(copy)) => copy,
            Ok(Err(error)) => {
                self.fail(slot, "last_good", &error);
                None
            }
            Err(_shutting_down) => None,
        }
    }

    /// Lets go of what ended and looks for a newer version. Says whether something changed, and when to
    /// look again.
    async fn poll(&self, slot: &Arc<Slot>) -> (bool, Duration) {
        let now = self.needs.clock.now();
        if let Some(progress) = self.go_on_trying(slot, now).await {
            return progress;
        }
        let has_ended = slot.state().has_ended(now);
        if has_ended {
            // From our own copy: the source may be away, and what shrinks by this is not to be held.
            self.read_again(slot).await;
        }
        let (changed, pause) = self.look(slot, now).await;
        (changed || has_ended, pause)
    }

    async fn look(&self, slot: &Arc<Slot>, now: UnixSeconds) -> (bool, Duration) {
        let seen = slot.state().seen_at(now);
        let fetcher = Fetcher {
            http: self.needs.http.clone(),
            secrets: Arc::clone(&self.needs.sources.view().setup.secrets),
        };
        match fetcher.fetch(&slot.feed, seen.as_ref(), now).await {
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

    /// Says whether it is in force now.
    async fn offer(&self, slot: &Arc<Slot>, copy: Copy) -> bool {
        let _taking = self.taking.read().await;
        self.try_in(slot, copy).await
    }

    pub(super) async fn try_in(&self, slot: &Arc<Slot>, copy: Copy) -> bool {
        let loaded = slot.state().loaded.clone();
        let before = loaded.map(|loaded| Earlier {
            loaded,
            clean: self.needs.recent.served_well(),
        });
        match self.judge(slot, &copy, before).await {
            Judged::Taken(guarded) => {
                if !self.begin_trial(slot, &guarded, &copy).await {
                    self.take(slot, guarded, copy).await;
                }
                true
            }
            Judged::Held(guarded, hold) => {
                self.hold(slot, guarded, copy, &hold);
                false
            }
            Judged::Refused { cause, why } => {
                self.refuse(slot, cause, why);
                false
            }
        }
    }

    pub(super) fn hold(&self, slot: &Slot, guarded: Guarded, copy: Copy, hold: &Hold) {
        let name = &slot.feed.name;
        self.needs.metrics.feed_refused(name, hold.cause());
        tracing::warn!(feed = name, %hold, "a new version is held: \
            `portcullis feeds release {name}` lets it in");
        slot.state().hold(guarded, copy, hold);
    }

    /// Off the async threads: a list may have millions of lines. Without a version `before` it is not
    /// held.
    pub(super) async fn judge(
        &self,
        slot: &Arc<Slot>,
        copy: &Copy,
        before: Option<Earlier>,
    ) -> Judged {
        let (body, slot) = (copy.body.clone(), Arc::clone(slot));
        let view = self.needs.sources.view();
        let (fetched, now) = (copy.fetched, self.needs.clock.now());
        let task = tokio::task::spawn_blocking(move || {
            let (feed, policy) = (Arc::clone(&slot.feed), view.setup.policy);
            let (loaded, clean) = match before {
                Some(before) => (Some(before.loaded), before.clean),
                None => (None, Vec::new()),
            };
            let judged = judge(&body, &feed, &view.setup.guard, loaded.as_deref(), now);
            let (Judged::Taken(guarded), false) = (&judged, clean.is_empty()) else {
                return judged;
            };
            let next = LoadedFeed::new(feed, guarded.listing.clone(), fetched);
            let next = view.with(&slot, Arc::new(next)).feeds;
            judged.tried_in_shadow(&clean, |address| {
                next.deny(address, policy) && !view.feeds.deny(address, policy)
            })
        });
        task.await.unwrap_or_else(|error| Judged::Refused {
            cause: "internal",
            why: error.to_string(),
        })
    }

    /// Saves and puts in force.
    pub(super) async fn take(&self, slot: &Arc<Slot>, guarded: Guarded, copy: Copy) {
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

    pub(super) fn put_in_force(&self, slot: &Arc<Slot>, guarded: Guarded, fetched: UnixSeconds) {
        let feed = slot.state().put_in_force(&slot.feed, guarded, fetched);
        let entries = feed.entries();
        self.needs
            .metrics
            .feed_taken(&slot.feed.name, entries, fetched);
        tracing::info!(feed = slot.feed.name, entries, "feed in force");
        self.needs.sources.put_in_force(slot, &feed);
    }

    /// The version in force, read under another guard.
    pub(super) fn put_in_force_again(&self, slot: &Arc<Slot>, guarded: Guarded) {
        let Some(fetched) = slot.state().fetched() else {
            return;
        };
        let feed = slot.state().read(&slot.feed, guarded, fetched);
        let entries = feed.entries();
        self.needs.metrics.feed_entries(&slot.feed.name, entries);
        tracing::info!(feed = slot.feed.name, entries, "feed in force, read again");
        self.needs.sources.put_in_force(slot, &feed);
    }

    pub(super) fn refuse(&self, slot: &Arc<Slot>, cause: &'static str, why: String) {
        self.needs.metrics.feed_refused(&slot.feed.name, cause);
        tracing::warn!(
            feed = slot.feed.name,
            why,
            "a version of the feed is refused"
        );
        slot.state().refuse(why);
    }

    fn fail(&self, slot: &Arc<Slot>, cause: &'static str, error: &dyn std::error::Error) {
        self.refuse(slot, cause, chain(error));
    }

    fn note_unreachable(&self, slot: &Arc<Slot>, error: &FetchError, failures: u32) {
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
