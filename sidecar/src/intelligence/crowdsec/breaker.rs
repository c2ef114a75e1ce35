//! Keeps from asking a Local API that does not answer: after some failures in a row it is left alone, for longer
//! each time, and then asked by one question at a time.

use std::time::{Duration, Instant};

use crate::chance::spread;

/// So many failures in a row open it.
const FAILURES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub struct Breaker {
    failures: u32,
    ends: Option<Instant>,
}

impl Breaker {
    /// Whether a question may go out.
    pub fn admits(&mut self, now: Instant) -> bool {
        match self.ends {
            Some(ends) if now < ends => false,
            Some(_) => {
                // The others wait for what comes of this one.
                self.ends = Some(now + FIRST_PAUSE);
                true
            }
            None => true,
        }
    }

    pub fn succeed(&mut self) {
        *self = Self::default();
    }

    pub fn fail(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        let beyond = self.failures.checked_sub(FAILURES);
        self.ends = beyond.map(|beyond| {
            let doubled = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(beyond.min(16)));
            now + spread(doubled.min(LONGEST_PAUSE))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_and_then_lets_one_question_out_at_a_time() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..FAILURES {
            assert!(breaker.admits(now));
            breaker.fail(now);
        }
        assert!(!breaker.admits(now + Duration::from_millis(500)));
        let later = now + Duration::from_secs(2);
        assert!(breaker.admits(later));
        assert!(!breaker.admits(later));
        breaker.fail(later);
        assert!(!breaker.admits(later + Duration::from_millis(1500)));
        breaker.succeed();
        assert!(breaker.admits(later) && breaker.admits(later));
    }

    #[test]
    fn a_single_failure_does_not_open_it_and_no_pause_is_long() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        breaker.fail(now);
        assert!(breaker.admits(now));
        for _ in 0..100 {
            breaker.fail(now);
        }
        assert!(breaker.admits(now + LONGEST_PAUSE * 2));
    }
}
