//! What is counted of the history. Nothing of it is exported where none is kept.

use reputation::UnixSeconds;

use super::Metrics;
use super::families::{HistoryLossLabels, HistoryWrittenLabels};

/// Why something was not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryLoss {
    /// The queue was full: the database is away, or too slow.
    Full,
    /// The database took the rest, and not this.
    Refused,
    /// Of a time that the database's clock does not know.
    Clock,
    /// It was not written when the process ended.
    Stopped,
}

impl HistoryLoss {
    pub const ALL: [Self; 4] = [Self::Full, Self::Refused, Self::Clock, Self::Stopped];

    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Refused => "refused",
            Self::Clock => "clock",
            Self::Stopped => "stopped",
        }
    }
}

impl Metrics {
    /// The counters begin at zero, so that the first loss is seen as one.
    pub fn history_begins(&self) {
        for cause in HistoryLoss::ALL {
            self.history_dropped(cause, 0);
        }
        self.history_up(false);
        self.history_queue(0);
    }

    pub fn history_up(&self, up: bool) {
        self.families.history_up.get_or_create(&[]).set(up.into());
    }

    /// The database took or answered something.
    pub fn history_good(&self, at: UnixSeconds) {
        self.history_up(true);
        let time = &self.families.history_last_success;
        time.get_or_create(&[]).set(at.0.into());
    }

    pub fn history_queue(&self, entries: usize) {
        let entries = i64::try_from(entries).unwrap_or(i64::MAX);
        self.families.history_queue.get_or_create(&[]).set(entries);
    }

    /// `kind` is one of the fixed words for what is recorded.
    pub fn history_written(&self, kind: &'static str, entries: u64) {
        let labels = HistoryWrittenLabels { kind };
        let written = &self.families.history_written;
        written.get_or_create(&labels).inc_by(entries);
    }

    pub fn history_dropped(&self, cause: HistoryLoss, entries: u64) {
        let cause = cause.name();
        let dropped = &self.families.history_dropped;
        dropped
            .get_or_create(&HistoryLossLabels { cause })
            .inc_by(entries);
    }

    /// No history is kept any more; what was counted of it stays.
    pub fn forget_history(&self) {
        self.families.history_up.remove(&[]);
        self.families.history_last_success.remove(&[]);
        self.families.history_queue.remove(&[]);
    }
}
