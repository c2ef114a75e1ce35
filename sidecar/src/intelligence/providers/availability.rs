//! Whether a provider may be asked now, from what came of the calls before. Pure state: time is passed
//! in, and nothing here ever waits.

use std::time::Duration;

use reputation::UnixSeconds;
use serde::{Deserialize, Serialize};

use super::Outcome;
use super::limits::{LONGEST_ABSENCE, Limits, whole_seconds};
use crate::chance::{lengthened_seconds, spread_seconds};

/// So many failures in a row close the gate.
const FAILURES: u32 = 3;
/// The first pause after that in seconds; it doubles up to the longest.
const FIRST_PAUSE: u32 = 5;
const LONGEST_PAUSE: u32 = 300;
/// After so many seconds another call may probe: no call takes that long.
const PROBE_LOST: u32 = 120;
/// The longest that a failing provider's `Retry-After` is obeyed, in seconds.
const LONGEST_OBEYED: u32 = 3600;
/// The first pause in seconds after "too many", whatever shorter one is said; it doubles with each one after
/// it up to the longest. A call that is refused is a call of the day all the same.
const FIRST_REFUSAL: u32 = 5;
const LONGEST_REFUSAL: u32 = 3600;
/// By how many seconds at most the end of such a pause differs from one of us to another.
const APART: u32 = 60;
/// How long a refused key stays refused if it does not change, in seconds.
const KEY_PAUSE: u32 = 3600;

/// Why a provider is not asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Closed {
    /// It failed several times in a row.
    Failing,
    /// The calls of the day are used up, or those of a shorter time.
    Quota,
    /// Its key is missing or was refused.
    Key,
    /// The store cannot book its calls.
    Store,
}

impl Closed {
    /// The metric's label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::Quota => "quota",
            Self::Key => "key",
            Self::Store => "store",
        }
    }
}

#[derive(Debug, Default)]
pub struct Availability {
    failures: u32,
    /// How often it was "too many" since the last answer, each time after a pause.
    refusals: u32,
    closed: Option<(Closed, UnixSeconds)>,
    /// Since when one call is out to see whether the provider is back.
    probing: Option<UnixSeconds>,
}

impl Availability {
    /// Whether a call may go out. After a pause only one does, until it comes back.
    pub fn admit(&mut self, now: UnixSeconds) -> Result<(), Closed> {
        let Some((why, _)) = self.closed else {
            return Ok(());
        };
        // A probe that never came back is lost.
        let probing = self.probing.filter(|since| since.until(now) < PROBE_LOST);
        if self.closed_at(now).is_some() || probing.is_some() {
            return Err(why);
        }
        self.probing = Some(now);
        Ok(())
    }

    /// What was admitted did not go out: nothing was learnt, and the next one may.
    pub fn give_back(&mut self) {
        self.probing = None;
    }

    /// Why it is closed at `now`, and until when.
    pub fn closed_at(&self, now: UnixSeconds) -> Option<(Closed, UnixSeconds)> {
        // Nothing closes for longer than that: the clock was wrong then, or is now.
        let longest = LONGEST_ABSENCE.saturating_add(LONGEST_ABSENCE / 4);
        let believable = |until| now < until && now.until(until) <= longest;
        self.closed.filter(|(_, until)| believable(*until))
    }

    /// What was last said, whether it still holds or not.
    pub fn state(&self) -> Option<(Closed, UnixSeconds)> {
        self.closed
    }

    pub fn close(&mut self, why: Closed, until: UnixSeconds) {
        self.closed = Some((why, until));
        self.probing = None;
    }

    /// The key changed: whatever was said about the old one no longer counts.
    pub fn key_changed(&mut self) {
        if matches!(self.closed, Some((Closed::Key | Closed::Quota, _))) {
            *self = Self::default();
        }
    }

    /// Learns from a call that was booked at `booked`.
    pub fn learn(
        &mut self,
        outcome: &Outcome,
        limits: Limits,
        booked: UnixSeconds,
        now: UnixSeconds,
    ) {
        match outcome {
            Outcome::Said(_) | Outcome::BadQuestion(_) => {
                *self = Self::default();
                if limits.remaining == Some(0) {
                    self.close_quota(limits.over(booked, now), now);
                }
            }
            Outcome::KeyRefused(_) => self.close(Closed::Key, now.plus(spread_seconds(KEY_PAUSE))),
            Outcome::QuotaUsed(_) => self.refuse(limits.over(booked, now), now),
            Outcome::TimedOut(_) | Outcome::Unavailable(_) | Outcome::Malformed(_) => {
                self.fail(limits.retry_after, now);
            }
        }
    }

    /// Calls that were out together are refused together: only the first of them counts.
    fn refuse(&mut self, until: UnixSeconds, now: UnixSeconds) {
        let again = !matches!(self.closed_at(now), Some((Closed::Quota, _)));
        self.refusals = self.refusals.saturating_add(u32::from(again));
        let before = self.refusals.saturating_sub(1).min(16);
        let least = FIRST_REFUSAL.saturating_mul(2_u32.saturating_pow(before));
        self.close_quota(until.max(now.plus(least.min(LONGEST_REFUSAL))), now);
    }

    /// Not all who share a key come back at the same second.
    fn close_quota(&mut self, until: UnixSeconds, now: UnixSeconds) {
        let pause = lengthened_seconds(now.until(until), APART);
        self.close(Closed::Quota, now.plus(pause));
    }

    /// One that says how long to stay away needs not fail again to be believed.
    fn fail(&mut self, retry_after: Option<Duration>, now: UnixSeconds) {
        self.probing = None;
        self.failures = self.failures.saturating_add(1);
        let beyond = self.failures.saturating_sub(FAILURES);
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(beyond.min(16)));
        let pause = (self.failures >= FAILURES).then(|| spread_seconds(pause.min(LONGEST_PAUSE)));
        let said = retry_after.map(|said| whole_seconds(said).min(LONGEST_OBEYED));
        if let Some(pause) = pause.max(said) {
            self.close(Closed::Failing, now.plus(pause));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};
    use crate::intelligence::providers::Word;

    fn noon() -> ManualClock {
        ManualClock::at(UnixSeconds(86_400 * 20_000 + 43_200))
    }

    fn learn(
        availability: &mut Availability,
        clock: &ManualClock,
        outcome: Outcome,
        limits: Limits,
    ) {
        availability.learn(&outcome, limits, clock.now(), clock.now());
    }

    fn word() -> Outcome {
        Outcome::Said(Word {
            score: 0,
            stance: reputation::score::Stance::Rated,
            categories: Vec::new(),
            observed: None,
        })
    }

    #[test]
    fn three_failures_in_a_row_close_it_and_one_probe_opens_it() {
        let (clock, mut availability) = (noon(), Availability::default());
        for _ in 0..3 {
            assert_eq!(availability.admit(clock.now()), Ok(()));
            let failed = Outcome::Unavailable(String::new());
            learn(&mut availability, &clock, failed, Limits::default());
        }
        assert_eq!(availability.admit(clock.now()), Err(Closed::Failing));
        clock.advance(6);
        assert_eq!(availability.admit(clock.now()), Ok(()), "one probe");
        assert_eq!(
            availability.admit(clock.now()),
            Err(Closed::Failing),
            "only one"
        );
        learn(&mut availability, &clock, word(), Limits::default());
        assert_eq!(availability.admit(clock.now()), Ok(()));
        assert_eq!(availability.admit(clock.now()), Ok(()));
    }

    #[test]
    fn the_pauses_double_up_to_the_longest_and_differ_by_a_tenth() {
        let (clock, mut availability) = (noon(), Availability::default());
        let mut pauses = Vec::new();
        for _ in 0..12 {
            let failed = Outcome::TimedOut(String::new());
            learn(&mut availability, &clock, failed, Limits::default());
            if let Some((_, until)) = availability.closed_at(clock.now()) {
                pauses.push(clock.now().until(until));
                clock.advance(pauses[pauses.len() - 1]);
            }
        }
        let middles = [5, 10, 20, 40, 80, 160, 300, 300, 300, 300];
        assert_eq!(pauses.len(), middles.len());
        for (pause, middle) in pauses.iter().zip(middles) {
            assert!(
                (middle * 9 / 10..=middle * 11 / 10).contains(pause),
                "{pauses:?}"
            );
        }
    }

    #[test]
    fn a_provider_that_says_how_long_it_is_away_is_left_alone_for_that_long() {
        for (said, expected) in [(30, 30), (86_400, LONGEST_OBEYED)] {
            let (clock, mut availability) = (noon(), Availability::default());
            let limits = Limits {
                retry_after: Some(Duration::from_secs(said)),
                ..Limits::default()
            };
            let failed = Outcome::Unavailable(String::new());
            learn(&mut availability, &clock, failed, limits);
            let until = clock.now().plus(expected);
            assert_eq!(
                availability.closed_at(clock.now()),
                Some((Closed::Failing, until))
            );
        }
    }

    #[test]
    fn a_probe_that_never_returns_does_not_keep_it_closed() {
        let (clock, mut availability) = (noon(), Availability::default());
        availability.close(Closed::Failing, clock.now().plus(5));
        clock.advance(5);
        assert_eq!(availability.admit(clock.now()), Ok(()));
        clock.advance(PROBE_LOST - 1);
        assert_eq!(availability.admit(clock.now()), Err(Closed::Failing));
        clock.advance(1);
        assert_eq!(availability.admit(clock.now()), Ok(()));
        availability.give_back();
        assert_eq!(availability.admit(clock.now()), Ok(()), "it did not go out");
    }

    #[test]
    fn a_used_up_day_lasts_until_the_reset_the_pause_or_midnight() {
        let clock = noon();
        let now = clock.now();
        let cases = [
            (Some(now.plus(100)), Some(5), 100),
            (None, Some(50), 50),
            (None, None, 43_200),
            (Some(now.plus(1_000_000)), None, LONGEST_ABSENCE),
        ];
        for (reset, pause, expected) in cases {
            let limits = Limits {
                reset,
                retry_after: pause.map(Duration::from_secs),
                ..Limits::default()
            };
            let mut availability = Availability::default();
            learn(
                &mut availability,
                &clock,
                Outcome::QuotaUsed(String::new()),
                limits,
            );
            let Some((Closed::Quota, until)) = availability.state() else {
                panic!("it is open");
            };
            let most = expected + (expected / 10).min(APART);
            assert!((expected..=most).contains(&now.until(until)), "{expected}");
        }
    }

    #[test]
    fn the_least_pause_doubles_with_each_refusal_until_there_is_an_answer() {
        let (clock, mut availability) = (noon(), Availability::default());
        let at_once = Limits {
            retry_after: Some(Duration::ZERO),
            ..Limits::default()
        };
        let refuse = |availability: &mut Availability| {
            let refused = Outcome::QuotaUsed(String::new());
            learn(availability, &clock, refused, at_once);
            let (_, until) = availability.closed_at(clock.now()).unwrap();
            clock.now().until(until)
        };
        for middle in [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600] {
            let pause = refuse(&mut availability);
            assert!((middle..=middle * 11 / 10).contains(&pause), "{pause}");
            // Another that was out with it.
            let pause = refuse(&mut availability);
            assert!((middle..=middle * 11 / 10).contains(&pause), "{pause}");
            clock.advance(pause);
        }
        learn(&mut availability, &clock, word(), Limits::default());
        assert_eq!(refuse(&mut availability), 5);
    }

    #[test]
    fn the_last_permitted_call_closes_it_without_waiting_for_a_refusal() {
        let (clock, mut availability) = (noon(), Availability::default());
        let limits = Limits {
            remaining: Some(0),
            ..Limits::default()
        };
        learn(&mut availability, &clock, word(), limits);
        assert_eq!(availability.admit(clock.now()), Err(Closed::Quota));
    }

    #[test]
    fn a_clock_that_was_years_ahead_does_not_close_it_for_years() {
        let (clock, mut availability) = (noon(), Availability::default());
        availability.close(Closed::Failing, clock.now().plus(10 * 365 * 86_400));
        assert_eq!(availability.closed_at(clock.now()), None);
        assert_eq!(availability.admit(clock.now()), Ok(()));
    }

    #[test]
    fn a_refused_key_is_tried_again_when_it_changes() {
        let (clock, mut availability) = (noon(), Availability::default());
        let refused = Outcome::KeyRefused(String::new());
        learn(&mut availability, &clock, refused, Limits::default());
        clock.advance(600);
        assert_eq!(availability.admit(clock.now()), Err(Closed::Key));
        availability.key_changed();
        assert_eq!(availability.admit(clock.now()), Ok(()));
    }
}
