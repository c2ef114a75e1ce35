//! How often a fault is sent: each at once, the same again after a while, and all together not too many.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// What was sent lately.
#[derive(Debug, Default)]
pub struct Pace {
    /// By the place in the code that the fault comes from.
    faults: HashMap<String, Fault>,
    window: Option<Instant>,
    sent: u32,
}

#[derive(Debug)]
struct Fault {
    last: Instant,
    left_out: u64,
}

/// Before the same fault is sent again.
const PAUSE: Duration = Duration::from_secs(60);
/// All faults together, within [`WINDOW`].
const MOST: u32 = 60;
const WINDOW: Duration = Duration::from_secs(600);
/// More places than there are lines of ours that tell of an error.
const MOST_PLACES: usize = 4096;

impl Pace {
    /// Whether a fault from this place is sent; if so, how many from there were left out before.
    pub fn next(&mut self, place: String, now: Instant) -> Option<u64> {
        let begun = self.window.get_or_insert(now);
        if now.saturating_duration_since(*begun) >= WINDOW {
            (*begun, self.sent) = (now, 0);
        }
        let full = self.sent >= MOST;
        let room = self.faults.len() < MOST_PLACES;
        match self.faults.get_mut(&place) {
            Some(fault) if full || now.saturating_duration_since(fault.last) < PAUSE => {
                fault.left_out = fault.left_out.saturating_add(1);
                None
            }
            Some(fault) => {
                self.sent = self.sent.saturating_add(1);
                fault.last = now;
                Some(std::mem::take(&mut fault.left_out))
            }
            None if full || !room => None,
            None => {
                self.sent = self.sent.saturating_add(1);
                let fault = Fault {
                    last: now,
                    left_out: 0,
                };
                self.faults.insert(place, fault);
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_fault_is_sent_once_a_minute_with_how_often_it_came() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let mut at = |second| pace.next("a.rs:7".to_owned(), start + Duration::from_secs(second));
        assert_eq!(at(0), Some(0));
        assert_eq!((at(1), at(59)), (None, None));
        assert_eq!(at(60), Some(2));
    }

    #[test]
    fn many_faults_at_once_are_not_all_sent_and_later_ones_are() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let place = |line: u32| format!("a.rs:{line}");
        let sent = (0..200).filter(|line| pace.next(place(*line), start).is_some());
        assert_eq!(sent.count(), 60);
        let later = start + WINDOW;
        assert_eq!(pace.next(place(199), later), Some(0));
    }
}
