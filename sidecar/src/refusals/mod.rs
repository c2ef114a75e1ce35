//! Who is being blocked: what proxies report of those they refuse, for an hour and within bounds.
//!
//! A snapshot answers without the sidecar, so that it learns of refusals only this way. Proxies speak
//! without a token: what they say is shown to operators and decides nothing.

mod book;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reputation::mode::Mode;
use reputation::refusals::ReportError;
use reputation::{Action, ClientAddress, DecisionId, RefusalReport, UnixSeconds};
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::telemetry::Sparing;
use book::Book;
pub use book::MOST;

/// Of how many minutes is known what was refused.
pub const MINUTES: u32 = 60;
/// The minutes that stand for what happens now.
const LATELY: u32 = 5;
const COMPLAINT_PAUSE: Duration = Duration::from_secs(600);

pub struct Refusals {
    clock: Arc<dyn Clock>,
    book: Mutex<Book>,
    complaints: Sparing,
}

/// `GET /v1/blocked`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// The busiest of the last five minutes first.
    pub clients: Vec<BlockedClient>,
    /// How many more are known of.
    pub more: usize,
    /// Requests of the last hour whose clients are not named: there were too many of them.
    pub left_out: u64,
    /// When a proxy last reported anything.
    pub reported_at: Option<UnixSeconds>,
}

/// One client and what is done with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockedClient {
    pub client: ClientAddress,
    /// `deny` or `throttle`.
    pub action: Action,
    /// `enforce`, or `monitor`: then it passed.
    pub mode: Mode,
    /// The source or rule that weighed most, the last time.
    pub reason: String,
    /// As a refused client sees it.
    pub decision: DecisionId,
    /// Requests, at least: what a proxy left out or could not send is missing.
    pub last_5_minutes: u64,
    pub last_hour: u64,
    /// When the first and the last of the last hour came.
    pub since: UnixSeconds,
    pub last: UnixSeconds,
}

impl Refusals {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            book: Mutex::default(),
            complaints: Sparing::once_in(COMPLAINT_PAUSE),
        }
    }

    /// Takes a proxy's report: whole, or with its first fault not at all.
    pub fn take(&self, body: &[u8]) -> Result<RefusalReport, ReportError> {
        let report = RefusalReport::parse(body).inspect_err(|error| {
            if self.complaints.is_due() {
                let problem = error.to_string();
                tracing::warn!(problem, "a proxy's report of refusals cannot be used");
            }
        })?;
        self.book().note(&report, self.clock.now());
        Ok(report)
    }

    pub fn blocked(&self, most: usize) -> Blocked {
        self.book().blocked(most, self.clock.now())
    }

    /// How many requests of one client were refused, or would have been, in each minute of the last hour,
    /// the oldest first; none if there were none.
    pub fn minutes_of(&self, client: ClientAddress) -> Option<Vec<u64>> {
        self.book().minutes_of(client, self.clock.now())
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
