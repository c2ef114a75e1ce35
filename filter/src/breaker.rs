//! Stops asking a sidecar that does not answer. After five failures in a row nothing is asked and nothing
//! held for a second plus jitter; then one look-up probes.

/// Failures in a row that open the breaker.
const FAILURES_TO_OPEN: u32 = 5;
const OPEN_MICROS: u64 = 1_000_000;
const JITTER_MICROS: u64 = 500_000;
const QUIET_MICROS: u64 = 60_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Breaker {
    failures: u32,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Closed,
    Open {
        until_micros: u64,
    },
    /// One look-up is out; until it is back, or was lost, nothing else is asked.
    Probing {
        until_micros: u64,
    },
}

/// What the log was told of the breaker: under a load that opens it every other second a line a minute is
/// enough.
#[derive(Default)]
pub struct Told {
    at_micros: Option<u64>,
    open: bool,
}

impl Breaker {
    /// Whether a look-up may be sent now. A yes while open makes that look-up the probe.
    pub fn permits(&mut self, now_micros: u64) -> bool {
        match self.state {
            State::Closed => true,
            State::Open { until_micros } | State::Probing { until_micros } => {
                let permitted = now_micros >= until_micros;
                if permitted {
                    // A probe whose answer never comes (its root is gone) must not block for ever.
                    let until_micros = now_micros.saturating_add(OPEN_MICROS);
                    self.state = State::Probing { until_micros };
                }
                permitted
            }
        }
    }

    /// Says whether this closed it. An answer to what was asked before it opened does not: the probe
    /// decides.
    pub fn succeeded(&mut self) -> bool {
        if matches!(self.state, State::Open { .. }) {
            return false;
        }
        let was_open = self.state != State::Closed;
        *self = Self::default();
        was_open
    }

    /// Says whether this opened it.
    pub fn failed(&mut self, now_micros: u64, random: u64) -> bool {
        let was_closed = self.state == State::Closed;
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES_TO_OPEN {
            let pause = OPEN_MICROS.saturating_add(random % JITTER_MICROS);
            self.state = State::Open {
                until_micros: now_micros.saturating_add(pause),
            };
        }
        was_closed && self.state != State::Closed
    }
}

impl Told {
    /// Whether to say that it opened.
    pub fn on_open(&mut self, now: u64) -> bool {
        let told = self.at_micros;
        self.open = told.is_none_or(|told| now.saturating_sub(told) >= QUIET_MICROS);
        if self.open {
            self.at_micros = Some(now);
        }
        self.open
    }

    /// Whether to say that it closed: only if the log was told that it opened.
    pub fn on_close(&mut self) -> bool {
        std::mem::take(&mut self.open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_in_a_row_open_it_and_one_probe_decides() {
        let mut breaker = Breaker::default();
        for _ in 0..4 {
            assert!(!breaker.failed(0, 7));
            assert!(breaker.permits(0));
        }
        assert!(breaker.failed(0, 7), "opened");
        assert!(!breaker.succeeded(), "asked before it opened");
        assert!(!breaker.permits(1_000_000));
        assert!(breaker.permits(1_000_007));
        assert!(!breaker.permits(1_000_008), "one probe only");
        assert!(!breaker.failed(1_000_100, 0), "was open before");
        assert!(!breaker.permits(2_000_000));
        assert!(breaker.permits(2_000_100));
        assert!(breaker.succeeded(), "closed");
        assert!(!breaker.succeeded(), "was closed before");
        assert!(breaker.permits(2_000_101));
    }

    #[test]
    fn a_success_in_between_starts_the_count_anew() {
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            (0..4).for_each(|_| assert!(!breaker.failed(0, 0)));
            breaker.succeeded();
            assert!(breaker.permits(0));
        }
    }

    #[test]
    fn a_lost_probe_is_replaced_after_a_second() {
        let mut breaker = Breaker::default();
        (0..5).for_each(|_| {
            breaker.failed(0, 0);
        });
        assert!(breaker.permits(1_000_000));
        assert!(!breaker.permits(1_999_999));
        assert!(breaker.permits(2_000_000));
    }

    #[test]
    fn one_that_opens_every_other_second_gives_a_line_a_minute() {
        let mut told = Told::default();
        let lines = (0..120_u64).filter(|second| {
            let opened = told.on_open(second * 1_000_000);
            let closed = told.on_close();
            assert_eq!(opened, closed, "an end is told of what was told");
            opened
        });
        assert_eq!(lines.count(), 2);
    }
}
