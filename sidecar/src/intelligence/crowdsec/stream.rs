//! One Local API: its configuration, what is known of its decisions, and what went wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reputation::UnixSeconds;
use tokio_util::sync::CancellationToken;

use super::batch::{Batch, LeftOut};
use super::book;
use super::bouncer::{Bouncer, Caller};
use super::copy::Kept;
use super::lapi::Question;
use crate::chance::spread;
use crate::config::CrowdSec;
use crate::intelligence::FeedStatus;
use crate::intelligence::feeds::guard::Dropped;
use crate::intelligence::words::Entries;

/// How often everything is asked for anew, so that whatever got lost on the way is made good.
const RENEW: u32 = 3600;
/// What changed is told by the time at which a decision was made, and a long import is written later than that:
/// what is written after we asked is never told. So after so many new decisions at once everything is asked for,
/// once the import had this time to end.
const IMPORT_FROM: usize = 64;
const IMPORT_TAKES: u32 = 10;
/// The longest pause after failures, unless the refresh interval is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Below this many decisions a factor says nothing.
const FACTOR_FROM: usize = 64;

pub struct Stream {
    pub config: Arc<CrowdSec>,
    pub bouncer: Bouncer,
    /// Ends the stream's life.
    pub ended: CancellationToken,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: Arc<Entries>,
    /// When everything was asked for last; absent if it has to be again.
    complete: Option<UnixSeconds>,
    /// As whom was asked last.
    told_to: Option<Caller>,
    /// From when on it has to be although nothing failed.
    doubtful_from: Option<UnixSeconds>,
    /// The last complete answer had so few decisions that it is believed only if the next one agrees.
    doubted: bool,
    left_out: LeftOut,
    last_success: Option<UnixSeconds>,
    last_error: Option<String>,
    failures: u32,
}

/// What became of an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    Changed,
    Unchanged,
    /// It has far fewer decisions than are known: asked again before it is believed.
    Doubted {
        before: usize,
        now: usize,
    },
}

impl Stream {
    pub fn new(config: CrowdSec, entries: Arc<Entries>, ended: CancellationToken) -> Self {
        let state = State {
            entries,
            ..State::default()
        };
        let config = Arc::new(config);
        Self {
            bouncer: Bouncer::new(Arc::clone(&config)),
            config,
            ended,
            state: Mutex::new(state),
        }
    }

    pub fn entries(&self) -> Arc<Entries> {
        Arc::clone(&self.state().entries)
    }

    /// What is known, and when the Local API answered last.
    pub fn known(&self) -> (Arc<Entries>, Option<UnixSeconds>) {
        let state = self.state();
        (Arc::clone(&state.entries), state.last_success)
    }

    /// Whether the Local API answered last, and that in this process.
    pub fn is_answered(&self) -> bool {
        let state = self.state();
        state.told_to.is_some() && state.failures == 0
    }

    /// Begins with what was kept on disk.
    pub fn restore(&self, kept: Kept) {
        let mut state = self.state();
        state.entries = kept.entries;
        state.left_out.dropped = kept.dropped;
        state.last_success = Some(kept.told);
    }

    /// What to ask for as `caller`. To one that was not told before, only everything is an answer.
    pub fn question(&self, caller: &Caller, now: UnixSeconds) -> Question {
        let state = self.state();
        if !state.told_to.as_ref().is_some_and(|told| told.is(caller)) {
            return Question::Everything;
        }
        let fresh = state.complete.is_some_and(|at| at.until(now) < RENEW);
        let sure = state.doubtful_from.is_none_or(|from| now < from);
        if fresh && sure {
            Question::Changes
        } else {
            Question::Everything
        }
    }

    /// The Local API answered `caller`.
    pub fn told_to(&self, caller: &Caller) {
        self.state().told_to = Some(caller.clone());
    }

    /// Everything is to be asked for again: some of what is known may not be so under another guard.
    pub fn begin_anew(&self) {
        self.state().complete = None;
    }

    /// Takes an answer. `shrink` is by what factor a list may shrink and still be believed at once.
    pub fn take(&self, question: Question, batch: Batch, now: UnixSeconds, shrink: f64) -> Taken {
        let mut state = self.state();
        let before = Arc::clone(&state.entries);
        let (left_out, new) = (batch.left_out.clone(), batch.new.len());
        let after = match question {
            Question::Changes => book::changed(&before, batch, now),
            Question::Everything => book::replaced(&before, batch),
        };
        (state.failures, state.last_error) = (0, None);
        if question == Question::Everything {
            state.left_out = left_out;
            if is_doubtful(before.len(), after.len(), shrink) && !state.doubted {
                // With a new key the last full answer may be fresh still: only another one settles it.
                (state.doubted, state.complete) = (true, None);
                return Taken::Doubted {
                    before: before.len(),
                    now: after.len(),
                };
            }
            (state.doubted, state.complete) = (false, Some(now));
            state.doubtful_from = None;
        } else {
            state.left_out.add(left_out);
            if new >= IMPORT_FROM {
                state.doubtful_from.get_or_insert(now.plus(IMPORT_TAKES));
            }
        }
        state.last_success = Some(now);
        if *after == *before {
            return Taken::Unchanged;
        }
        state.entries = after;
        Taken::Changed
    }

    /// The API may have forgotten what it told us: everything is asked for next. Says how often in a row.
    pub fn fail(&self, why: String) -> u32 {
        let mut state = self.state();
        state.complete = None;
        state.last_error = Some(why);
        state.failures = state.failures.saturating_add(1);
        state.failures
    }

    /// Drops what lapsed; says whether anything did.
    pub fn drop_lapsed(&self, now: UnixSeconds) -> bool {
        let mut state = self.state();
        if state.entries.iter().all(|(_, word)| word.in_force(now)) {
            return false;
        }
        state.entries = book::changed(&state.entries, Batch::default(), now);
        true
    }

    pub fn pause(&self) -> Duration {
        let (failures, refresh) = (self.state().failures, self.config.refresh);
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
        let longest = LONGEST_PAUSE.max(refresh);
        match failures {
            // Not spread upwards: within one interval is what is promised.
            0 => refresh - (spread(refresh).saturating_sub(refresh)),
            _ => spread(refresh.saturating_mul(doubled).min(longest)),
        }
    }

    pub fn status(&self, now: UnixSeconds) -> FeedStatus {
        let state = self.state();
        let left_out = &state.left_out;
        FeedStatus {
            entries: state.entries.len(),
            in_shadow: 0,
            skipped: left_out.unreadable,
            dropped: left_out.dropped,
            last_success: state.last_success,
            age_s: state.last_success.map(|success| success.until(now)),
            last_error: state.last_error.clone(),
            left_out: left_out.by_cause(),
            ..FeedStatus::of_crowdsec(&self.config, self.config.refresh)
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LeftOut {
    fn add(&mut self, other: Self) {
        let Dropped {
            special,
            too_wide,
            protected,
        } = other.dropped;
        self.dropped.special += special;
        self.dropped.too_wide += too_wide;
        self.dropped.protected += protected;
        self.unreadable += other.unreadable;
        self.simulated += other.simulated;
        self.ignored += other.ignored;
        for (scope, count) in other.scopes {
            *self.scopes.entry(scope).or_default() += count;
        }
    }

    /// What only CrowdSec has.
    fn by_cause(&self) -> BTreeMap<String, usize> {
        let scopes = self.scopes.iter();
        let scopes = scopes.map(|(scope, count)| (format!("scope {scope}"), *count));
        let others = [
            ("simulated".to_owned(), self.simulated),
            ("type to ignore".to_owned(), self.ignored),
        ];
        let all = scopes.chain(others);
        all.filter(|(_, count)| *count > 0).collect()
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a share of two counts that are far below 2^52"
)]
fn is_doubtful(before: usize, now: usize, shrink: f64) -> bool {
    before >= FACTOR_FROM && before as f64 > now as f64 * shrink
}
