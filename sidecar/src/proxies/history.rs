//! What was counted in each minute of the last hour.

use std::collections::VecDeque;

use reputation::UnixSeconds;
use serde::Serialize;

use super::counts::Counts;

/// One minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Minute {
    /// When it began, in seconds since 1970.
    pub at: u32,
    pub counts: Counts,
}

/// The minutes of the last hour in which anything was read, the oldest first.
#[derive(Debug, Clone, Default)]
pub struct History(VecDeque<Minute>);

pub const MINUTES: u32 = 60;
const SECONDS: u32 = 60;

impl History {
    pub fn add(&mut self, now: UnixSeconds, counts: &Counts) {
        let at = now.0 - now.0 % SECONDS;
        match self.0.back_mut() {
            // A clock that was put back adds to the latest minute.
            Some(latest) if latest.at >= at => latest.counts.add(counts),
            _ => self.0.push_back(Minute {
                at,
                counts: *counts,
            }),
        }
        let oldest = at.saturating_sub((MINUTES - 1) * SECONDS);
        self.0.retain(|minute| minute.at >= oldest);
    }

    pub fn minutes(&self) -> impl Iterator<Item = &Minute> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxies::{Figure, Stats};

    fn failures(number: u64) -> Counts {
        let text = format!("portcullis_failures_total{{}} {number}");
        Counts::read(&Stats::parse(&text))
    }

    #[test]
    fn counts_are_kept_by_minute_for_an_hour() {
        let mut history = History::default();
        for second in (0..7200).step_by(20) {
            history.add(UnixSeconds(600_000 + second), &failures(1));
        }
        let minutes: Vec<_> = history.minutes().collect();
        assert_eq!(minutes.len(), 60);
        let (first, last) = (minutes[0], minutes[59]);
        assert_eq!((first.at, last.at), (603_600, 607_140));
        assert!(
            minutes
                .iter()
                .all(|minute| minute.counts.get(Figure::Failures) == 3)
        );
    }

    #[test]
    fn a_clock_that_is_put_back_loses_nothing() {
        let mut history = History::default();
        history.add(UnixSeconds(600_060), &failures(1));
        history.add(UnixSeconds(600_000), &failures(2));
        let minutes: Vec<_> = history.minutes().collect();
        assert_eq!(minutes.len(), 1);
        assert_eq!(minutes[0].counts.get(Figure::Failures), 3);
    }
}
