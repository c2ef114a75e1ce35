//! When the copy on disk is written: soon after something changed, but so seldom that a large one costs next to
//! nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reputation::UnixSeconds;

use crate::intelligence::words::Entries;

/// The pause after a copy was written, as a multiple of how long that took.
const PAUSE: u32 = 50;
/// How old the copy of what does not change may become: it says when the Local API answered last.
const UNCHANGED: Duration = Duration::from_secs(600);

/// What was written last, and from when on the next may be.
#[derive(Debug, Default)]
pub struct Copying {
    written: Option<Written>,
    pause_ends: Option<Instant>,
}

#[derive(Debug)]
struct Written {
    entries: Arc<Entries>,
    told: UnixSeconds,
    at: Instant,
}

impl Copying {
    /// Whether `entries`, told at `told`, are to be written now.
    pub fn is_due(&self, entries: &Arc<Entries>, told: UnixSeconds, now: Instant) -> bool {
        if self.pause_ends.is_some_and(|ends| now < ends) {
            return false;
        }
        let Some(written) = &self.written else {
            return true;
        };
        let is_old = written.told != told && now >= written.at + UNCHANGED;
        !Arc::ptr_eq(&written.entries, entries) || is_old
    }

    pub fn wrote(&mut self, entries: Arc<Entries>, told: UnixSeconds, begun: Instant) {
        let at = Instant::now();
        self.written = Some(Written { entries, told, at });
        self.tried(begun);
    }

    /// It was written, or could not be.
    pub fn tried(&mut self, begun: Instant) {
        let took = begun.elapsed();
        self.pause_ends = Some(begun + took + took * PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: UnixSeconds = UnixSeconds(7);

    #[test]
    fn what_changed_is_written_and_what_did_not_only_now_and_then() {
        let (entries, other) = (Arc::<Entries>::default(), Arc::<Entries>::default());
        let mut copying = Copying::default();
        let begun = Instant::now();
        assert!(copying.is_due(&entries, TOLD, begun));
        copying.wrote(Arc::clone(&entries), TOLD, begun);
        let soon = begun + Duration::from_secs(30);
        let later = begun + UNCHANGED + Duration::from_secs(30);
        assert!(!copying.is_due(&entries, TOLD.plus(9), soon));
        assert!(copying.is_due(&other, TOLD.plus(9), soon));
        assert!(copying.is_due(&entries, TOLD.plus(9), later));
        assert!(!copying.is_due(&entries, TOLD, later));
    }

    #[test]
    fn a_copy_that_takes_long_is_written_seldom() {
        let (entries, other) = (Arc::<Entries>::default(), Arc::<Entries>::default());
        let mut copying = Copying::default();
        let now = Instant::now();
        let Some(begun) = now.checked_sub(Duration::from_secs(2)) else {
            return;
        };
        copying.wrote(entries, TOLD, begun);
        assert!(!copying.is_due(&other, TOLD, now + Duration::from_secs(90)));
        assert!(copying.is_due(&other, TOLD, now + Duration::from_secs(110)));
    }
}
