//! How it goes with the database: for the doctor, the metrics and the log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reputation::UnixSeconds;
use tokio_util::sync::CancellationToken;

use super::batch::Written;
use crate::clock::Clock;
use crate::telemetry::metrics::HistoryLoss;
use crate::telemetry::{Metrics, Sparing};

/// What may be said of the history to an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryHealth {
    /// Without user and password.
    pub place: String,
    /// Why nothing can be written now.
    pub fault: Option<String>,
    /// When the database last took or answered something.
    pub last_success: Option<UnixSeconds>,
    /// What waits to be written.
    pub waiting: usize,
    /// What was lost since the start.
    pub dropped: u64,
}

pub struct Standing {
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    /// From then on the gauges are another database's, or nobody's.
    ending: CancellationToken,
    state: Mutex<State>,
    unwritten: Sparing,
    lost: Sparing,
}

struct State {
    fault: Option<String>,
    last_success: Option<UnixSeconds>,
    dropped: u64,
}

impl Standing {
    pub fn new(clock: Arc<dyn Clock>, metrics: Arc<Metrics>, ending: CancellationToken) -> Self {
        metrics.history_begins();
        Self {
            clock,
            metrics,
            ending,
            state: Mutex::new(State {
                fault: Some("it was not connected to yet".to_owned()),
                last_success: None,
                dropped: 0,
            }),
            unwritten: Sparing::once_a_minute(),
            lost: Sparing::once_a_minute(),
        }
    }

    pub fn health(&self, place: String, waiting: usize) -> HistoryHealth {
        let state = self.state();
        HistoryHealth {
            place,
            fault: state.fault.clone(),
            last_success: state.last_success,
            waiting,
            dropped: state.dropped,
        }
    }

    /// The database took or answered something.
    pub fn good(&self, written: Written) {
        let now = self.clock.now();
        if !self.ending.is_cancelled() {
            self.metrics.history_good(now);
        }
        self.metrics.history_written("verdict", written.verdicts);
        self.metrics.history_written("decision", written.decisions);
        self.metrics.history_written("refusal", written.refusals);
        let mut state = self.state();
        state.last_success = Some(now);
        if state.fault.take().is_some() {
            drop(state);
            tracing::info!("the history is written");
        }
    }

    /// It did not, and `why` is for the log and the doctor.
    pub fn bad(&self, why: String, waiting: usize) {
        if !self.ending.is_cancelled() {
            self.metrics.history_up(false);
        }
        self.waiting(waiting);
        let mut state = self.state();
        let dropped = state.dropped;
        let new = state.fault.as_ref() != Some(&why);
        state.fault = Some(why.clone());
        drop(state);
        // Asked first: what is said counts, whether it had to be or not.
        if self.unwritten.is_due() || new {
            tracing::warn!(why, waiting, dropped, "the history is not written");
        }
    }

    pub fn waiting(&self, entries: usize) {
        if !self.ending.is_cancelled() {
            self.metrics.history_queue(entries);
        }
    }

    /// So many entries are lost.
    pub fn lost(&self, cause: HistoryLoss, entries: u64) {
        self.metrics.history_dropped(cause, entries);
        let mut state = self.state();
        state.dropped = state.dropped.saturating_add(entries);
        let dropped = state.dropped;
        drop(state);
        if self.lost.is_due() {
            let cause = cause.name();
            tracing::warn!(cause, entries, dropped, "history is lost: docs/history.md");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
