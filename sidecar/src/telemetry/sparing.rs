//! For log lines whose cause can come a thousand times a second: one now and then says it all.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub struct Sparing {
    pause: Duration,
    last: Mutex<Option<Instant>>,
}

impl Sparing {
    pub const fn once_a_minute() -> Self {
        Self::once_in(Duration::from_secs(60))
    }

    pub const fn once_in(pause: Duration) -> Self {
        Self {
            pause,
            last: Mutex::new(None),
        }
    }

    /// Whether to say it this time.
    pub fn is_due(&self) -> bool {
        self.is_due_at(Instant::now())
    }

    fn is_due_at(&self, now: Instant) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| now.saturating_duration_since(last) >= self.pause);
        if due {
            *last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_in_each_pause() {
        let (sparing, start) = (Sparing::once_a_minute(), Instant::now());
        let said =
            (0..180).filter(|second| sparing.is_due_at(start + Duration::from_secs(*second)));
        assert_eq!(said.count(), 3);
    }
}
