//! What a gate learnt of its provider, kept while the configuration changes elsewhere. Pure state, but for
//! what it tells the log.

use reputation::UnixSeconds;

use super::availability::{Availability, Closed};
use super::ledger::Ledger;
use super::limits::Limits;
use super::{Keys, Outcome};
use crate::clock::Day;
use crate::telemetry::Sparing;

pub struct State {
    pub availability: Availability,
    pub ledger: Ledger,
    pub last_keys: Option<Keys>,
    pub last_error: Option<String>,
    pub last_success: Option<UnixSeconds>,
    pub unbooked: Sparing,
}

impl State {
    pub fn new(daily_quota: u32) -> Self {
        Self {
            availability: Availability::default(),
            ledger: Ledger::new(daily_quota),
            last_keys: None,
            last_error: None,
            last_success: None,
            unbooked: Sparing::once_a_minute(),
        }
    }

    pub fn note_keys(&mut self, keys: &Keys) {
        let found_again =
            matches!(self.availability.state(), Some((Closed::Key, _))) && self.last_keys.is_none();
        if found_again || self.last_keys.as_ref().is_some_and(|last| !last.are(keys)) {
            self.availability.key_changed();
        }
        self.last_keys = Some(keys.clone());
    }

    pub fn learn(
        &mut self,
        name: &str,
        outcome: &Outcome,
        limits: Limits,
        booked: UnixSeconds,
        now: UnixSeconds,
    ) {
        let was_closed = self.availability.state().is_some();
        self.availability.learn(outcome, limits, booked, now);
        if let Some(limit) = limits.of_day().filter(|_| outcome.is_the_sources_own()) {
            self.ledger.budget.note_limit(Day::of(booked), limit);
        }
        let (why, alarm) = match outcome {
            Outcome::Said(_) => {
                self.last_success = Some(now);
                self.last_error = None;
                return;
            }
            Outcome::KeyRefused(why) => (why, true),
            Outcome::BadQuestion(why)
            | Outcome::QuotaUsed(why)
            | Outcome::TimedOut(why)
            | Outcome::Unavailable(why)
            | Outcome::Malformed(why) => (why, false),
        };
        self.last_error = Some(why.clone());
        let outcome = outcome.name();
        if alarm {
            tracing::error!(
                provider = name,
                outcome,
                why,
                "the provider refuses our key: \
                it is not asked until the secret changes, or for an hour"
            );
        } else if !was_closed {
            tracing::warn!(provider = name, outcome, why, "the provider gave no word");
        }
    }
}
