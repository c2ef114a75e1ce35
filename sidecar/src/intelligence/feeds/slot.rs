//! One feed: its configuration, the version in force, the version that is held, and what went wrong.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reputation::{ClientAddress, UnixSeconds};
use tokio_util::sync::CancellationToken;

use super::fetch::Stamp;
use super::formats::{self, LineFault};
use super::guard::{self, Dropped, Guarded, Hold};
use super::last_good::Copy;
use super::{FeedStatus, LoadedFeed, list_score};
use crate::config::{Feed, Guard};
use crate::telemetry::chain;

pub struct Slot {
    pub feed: Arc<Feed>,
    /// Ends the feed's life.
    pub ended: CancellationToken,
    state: Mutex<State>,
}

#[derive(Default)]
pub struct State {
    pub loaded: Option<Arc<LoadedFeed>>,
    /// What the feed of this name listed before its configuration changed: in force, as it was meant
    /// then, until a version of its own is.
    pub inherited: Option<Arc<LoadedFeed>>,
    pub held: Option<Held>,
    /// The version that is tried in shadow.
    pub trial: Option<Trial>,
    /// The version that was last looked at, taken or not.
    pub seen: Option<Stamp>,
    pub last_error: Option<String>,
    /// Whether the version last seen is the one in force.
    current: bool,
    failures: u32,
    unreadable: usize,
    faults: Vec<LineFault>,
    dropped: Dropped,
    /// When the first entry of the version in force ends.
    first_end: Option<UnixSeconds>,
    pub last_success: Option<UnixSeconds>,
}

/// A version that waits for a person.
pub struct Held {
    pub guarded: Guarded,
    pub copy: Copy,
    because: String,
}

/// A version of which what it adds is in shadow for a while.
pub struct Trial {
    pub copy: Copy,
    /// What is in force meanwhile.
    pub before: Arc<LoadedFeed>,
    pub ends: UnixSeconds,
}

/// What becomes of a version.
pub enum Judged {
    Taken(Guarded),
    Held(Guarded, Hold),
    Refused { cause: &'static str, why: String },
}

impl Slot {
    pub fn new(feed: Feed, ended: CancellationToken) -> Self {
        Self {
            feed: Arc::new(feed),
            ended,
            state: Mutex::default(),
        }
    }

    /// What of it is in force.
    pub fn in_force(&self) -> Option<Arc<LoadedFeed>> {
        let state = self.state();
        state.loaded.as_ref().or(state.inherited.as_ref()).cloned()
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn status(&self, now: UnixSeconds) -> FeedStatus {
        let in_force = self.in_force();
        let state = self.state();
        FeedStatus {
            entries: in_force.as_ref().map_or(0, |feed| feed.entries()),
            in_shadow: in_force.map_or(0, |feed| feed.shadow.len()),
            skipped: state.unreadable,
            faults: state.faults.clone(),
            dropped: state.dropped,
            last_success: state.last_success,
            age_s: state.last_success.map(|success| success.until(now)),
            last_error: state.last_error.clone(),
            trial_until: state.trial.as_ref().map(|trial| trial.ends),
            held: state.held.is_some(),
            held_because: state.held.as_ref().map(|held| held.because.clone()),
            ..FeedStatus::new(&self.feed)
        }
    }
}

impl State {
    pub fn fetched(&self) -> Option<UnixSeconds> {
        Some(self.loaded.as_ref()?.fetched)
    }

    /// A version was got; from now on it is not got again.
    pub fn see(&mut self, stamp: &Stamp) {
        self.seen = Some(stamp.clone());
        self.failures = 0;
        self.current = false;
    }

    /// Whether an entry of the version in force ended since that was read.
    pub fn has_ended(&self, now: UnixSeconds) -> bool {
        self.first_end.is_some_and(|end| end <= now)
    }

    /// The version last seen, unless it has to be got again because something in it ended.
    pub fn seen_at(&self, now: UnixSeconds) -> Option<Stamp> {
        self.seen.clone().filter(|_| !self.has_ended(now))
    }

    /// The source still has the version last seen. Says whether that is the one in force.
    pub fn confirm(&mut self, now: UnixSeconds) -> bool {
        self.failures = 0;
        if self.current {
            self.last_success = Some(now);
            self.last_error = None;
        }
        self.current
    }

    pub fn count_failure(&mut self) -> u32 {
        self.failures = self.failures.saturating_add(1);
        self.failures
    }

    pub fn hold(&mut self, guarded: Guarded, copy: Copy, hold: &Hold) {
        self.held = Some(Held {
            guarded,
            copy,
            because: hold.to_string(),
        });
    }

    pub fn refuse(&mut self, why: String) {
        self.held = None;
        self.last_error = Some(why);
    }

    pub fn put_in_force(
        &mut self,
        feed: &Arc<Feed>,
        guarded: Guarded,
        fetched: UnixSeconds,
    ) -> Arc<LoadedFeed> {
        self.inherited = None;
        self.held = None;
        self.trial = None;
        self.last_error = None;
        self.current = true;
        self.last_success = Some(fetched);
        self.read(feed, guarded, fetched)
    }

    /// Notes what a version lists: a new one, or the one in force under another guard.
    pub fn read(
        &mut self,
        feed: &Arc<Feed>,
        guarded: Guarded,
        fetched: UnixSeconds,
    ) -> Arc<LoadedFeed> {
        let loaded = LoadedFeed::new(Arc::clone(feed), guarded.listing, fetched);
        let loaded = Arc::new(loaded);
        self.loaded = Some(Arc::clone(&loaded));
        self.unreadable = guarded.unreadable;
        self.faults = guarded.faults;
        self.dropped = guarded.dropped;
        self.first_end = guarded.first_end;
        loaded
    }
}

/// Reads a version and applies the guard, but for the trial in shadow.
pub fn judge(
    body: &[u8],
    feed: &Feed,
    guard: &Guard,
    before: Option<&LoadedFeed>,
    now: UnixSeconds,
) -> Judged {
    let parsed = match formats::parse(body, &feed.format, list_score(feed.role), now) {
        Ok(parsed) => parsed,
        Err(error) => {
            return Judged::Refused {
                cause: "format",
                why: chain(&error),
            };
        }
    };
    let before = before.map(LoadedFeed::entries);
    let guarded = match guard::screen(parsed, guard, feed, before) {
        Ok(guarded) => guarded,
        Err(refusal) => {
            return Judged::Refused {
                cause: refusal.cause(),
                why: refusal.to_string(),
            };
        }
    };
    let jump = before.and_then(|before| guard::size_jump(before, guarded.listing.len(), guard));
    match jump {
        Some(hold) => Judged::Held(guarded, hold),
        None => Judged::Taken(guarded),
    }
}

impl Judged {
    /// Holds a version that would refuse too many of `clean`; `denied` says of an address whether this
    /// version is what refuses it.
    pub fn tried_in_shadow(
        self,
        clean: &[ClientAddress],
        denied: impl Fn(ClientAddress) -> bool,
    ) -> Self {
        let Self::Taken(guarded) = self else {
            return self;
        };
        match guard::shadow(clean, denied) {
            Some(hold) => Self::Held(guarded, hold),
            None => Self::Taken(guarded),
        }
    }
}
