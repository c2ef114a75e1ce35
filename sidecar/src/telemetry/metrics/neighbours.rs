//! Who asks the edge API, by the version of the wire that he speaks. Counted for every look-up, so
//! without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use reputation::wire::Neighbour;

use super::Metrics;
use super::families::{Families, WireLabels};

/// Who asks, as far as it matters for an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    Understood(Neighbour),
    /// Too far away, or tells no number.
    Refused,
}

/// When whom was last seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AskersSeen {
    pub older: Option<Duration>,
    pub same: Option<Duration>,
    pub newer: Option<Duration>,
    pub refused: Option<Duration>,
}

pub struct Askers {
    started: Instant,
    older: Seen,
    same: Seen,
    newer: Seen,
    refused: Seen,
}

struct Seen {
    questions: Counter,
    /// Milliseconds since the start, and one: 0 is never.
    last: AtomicU64,
}

impl Askers {
    pub fn new(families: &Families) -> Self {
        let seen = |asker: Asker| {
            let labels = WireLabels { wire: asker.name() };
            Seen {
                questions: families.edge_questions.get_or_create(&labels).clone(),
                last: AtomicU64::new(0),
            }
        };
        Self {
            started: Instant::now(),
            older: seen(Asker::Understood(Neighbour::Older)),
            same: seen(Asker::Understood(Neighbour::Same)),
            newer: seen(Asker::Understood(Neighbour::Newer)),
            refused: seen(Asker::Refused),
        }
    }

    fn of(&self, asker: Asker) -> &Seen {
        match asker {
            Asker::Understood(Neighbour::Older) => &self.older,
            Asker::Understood(Neighbour::Same) => &self.same,
            Asker::Understood(Neighbour::Newer) => &self.newer,
            Asker::Refused => &self.refused,
        }
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }
}

impl Metrics {
    /// A filter asks.
    pub fn asked_by(&self, asker: Asker) {
        let seen = self.askers.of(asker);
        seen.questions.inc();
        seen.last.store(self.askers.millis() + 1, Ordering::Relaxed);
    }

    pub fn askers_seen(&self) -> AskersSeen {
        let now = self.askers.millis();
        let ago = |asker: &Seen| {
            let last = asker.last.load(Ordering::Relaxed).checked_sub(1)?;
            Some(Duration::from_millis(now.saturating_sub(last)))
        };
        let Askers {
            older,
            same,
            newer,
            refused,
            ..
        } = &self.askers;
        AskersSeen {
            older: ago(older),
            same: ago(same),
            newer: ago(newer),
            refused: ago(refused),
        }
    }
}

impl Asker {
    fn name(self) -> &'static str {
        match self {
            Self::Understood(Neighbour::Older) => "older",
            Self::Understood(Neighbour::Same) => "same",
            Self::Understood(Neighbour::Newer) => "newer",
            Self::Refused => "refused",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asked_is_counted_and_remembered() {
        let metrics = Metrics::new();
        assert_eq!(metrics.askers_seen(), AskersSeen::default());
        metrics.asked_by(Asker::Understood(Neighbour::Older));
        metrics.asked_by(Asker::Refused);
        let seen = metrics.askers_seen();
        assert!(seen.older.is_some() && seen.refused.is_some());
        assert!(seen.same.is_none() && seen.newer.is_none());
        let text = metrics.encode().unwrap();
        for (wire, count) in [("older", 1), ("same", 0), ("newer", 0), ("refused", 1)] {
            let line = format!("portcullis_edge_questions_total{{wire=\"{wire}\"}} {count}\n");
            assert!(text.contains(&line), "{line} in {text}");
        }
    }
}
