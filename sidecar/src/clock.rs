//! The time of day, passed in wherever it matters so that tests can set it. Waiting is tokio's.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use reputation::UnixSeconds;

pub trait Clock: Send + Sync {
    fn now(&self) -> UnixSeconds;

    /// Whole days since 1970-01-01 UTC: the day that a provider's quota counts for.
    fn today(&self) -> Day {
        Day::of(self.now())
    }
}

/// Whole days since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub u32);

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// A clock that stands still until it is told to move; for tests.
#[derive(Debug)]
pub struct ManualClock(AtomicU32);

pub const SECONDS_PER_DAY: u32 = 86_400;

impl Day {
    pub fn of(now: UnixSeconds) -> Self {
        Self(now.0 / SECONDS_PER_DAY)
    }

    pub fn begin(self) -> UnixSeconds {
        UnixSeconds(self.0.saturating_mul(SECONDS_PER_DAY))
    }

    /// When this day ends and the next one's quota begins.
    pub fn end(self) -> UnixSeconds {
        Self(self.0.saturating_add(1)).begin()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> UnixSeconds {
        // A clock before 1970 is broken beyond repair; zero keeps every expiry in the future.
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        UnixSeconds::from_secs(since.map_or(0, |elapsed| elapsed.as_secs()))
    }
}

impl ManualClock {
    pub fn at(now: UnixSeconds) -> Self {
        Self(AtomicU32::new(now.0))
    }

    pub fn advance(&self, seconds: u32) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixSeconds {
        UnixSeconds(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_at_midnight_utc() {
        let clock = ManualClock::at(UnixSeconds(SECONDS_PER_DAY - 1));
        assert_eq!(clock.today(), Day(0));
        assert_eq!(clock.today().end(), UnixSeconds(SECONDS_PER_DAY));
        clock.advance(1);
        assert_eq!(clock.today(), Day(1));
    }
}
