//! How the scores of addresses that were weighed lately are spread: what a moved threshold would change.
//!
//! Counts answers, not addresses: a client that is asked about again counts again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use reputation::{Band, Policy, UnixSeconds};

/// How many were weighed to each score, 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread([u32; SCORES]);

/// The last hour at least, two at most.
pub struct Scores {
    hours: Mutex<Hours>,
}

struct Hours {
    began: UnixSeconds,
    this: Spread,
    before: Spread,
}

const SCORES: usize = 101;
const HOUR: u32 = 3600;

impl Scores {
    pub fn note(&self, score: u8, now: UnixSeconds) {
        let mut hours = self.hours(now);
        if let Some(count) = hours.this.0.get_mut(usize::from(score)) {
            *count = count.saturating_add(1);
        }
    }

    pub fn spread(&self, now: UnixSeconds) -> Spread {
        let hours = self.hours(now);
        let mut spread = hours.this;
        for (sum, before) in spread.0.iter_mut().zip(hours.before.0) {
            *sum = sum.saturating_add(before);
        }
        spread
    }

    fn hours(&self, now: UnixSeconds) -> MutexGuard<'_, Hours> {
        let mut hours = self.hours.lock().unwrap_or_else(PoisonError::into_inner);
        let age = hours.began.until(now);
        if age >= HOUR {
            let last = std::mem::take(&mut hours.this);
            hours.before = if age < 2 * HOUR {
                last
            } else {
                Spread::default()
            };
            hours.began = UnixSeconds(now.0 - now.0 % HOUR);
        }
        hours
    }
}

impl Default for Scores {
    fn default() -> Self {
        Self {
            hours: Mutex::new(Hours {
                began: UnixSeconds(0),
                this: Spread::default(),
                before: Spread::default(),
            }),
        }
    }
}

impl Default for Spread {
    fn default() -> Self {
        Self([0; SCORES])
    }
}

impl Spread {
    /// Score and count, from 0 to 100.
    pub fn counts(&self) -> impl Iterator<Item = (u8, u32)> + '_ {
        (0..).zip(self.0)
    }

    /// How many are in a band under `policy`.
    pub fn in_band(&self, policy: Policy, band: Band) -> u64 {
        let there = self
            .counts()
            .filter(|(score, _)| policy.band(*score) == band);
        there.map(|(_, count)| u64::from(count)).sum()
    }

    pub fn total(&self) -> u64 {
        self.counts().map(|(_, count)| u64::from(count)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_counted_by_band_and_forgotten_after_two_hours() {
        let scores = Scores::default();
        let start = UnixSeconds(1_795_000_000 / HOUR * HOUR);
        for score in [0, 49, 50, 79, 80, 100, 255] {
            scores.note(score, start);
        }
        let policy = Policy::default();
        let bands = |spread: Spread| Band::ALL.map(|band| spread.in_band(policy, band));
        assert_eq!(bands(scores.spread(start)), [2, 2, 2]);
        scores.note(90, start.plus(HOUR));
        assert_eq!(bands(scores.spread(start.plus(HOUR))), [2, 2, 3]);
        assert_eq!(bands(scores.spread(start.plus(2 * HOUR))), [0, 0, 1]);
        assert_eq!(scores.spread(start.plus(9 * HOUR)).total(), 0);
    }
}
