//! What was thought and done about addresses, kept in PostgreSQL for the whole fleet: verdicts, decisions and
//! refusals, by day. Everything else works without it, and nothing waits for it: what is to be recorded goes
//! into a bounded queue, and what does not fit is counted and lost.
//!
//! [`History`] is what the others speak to, whether there is a database or not. `entry` owns what is
//! recorded, `writer` the way there, `read` the way back, `schema` and `partitions` the tables.

mod batch;
mod connect;
mod entry;
mod page;
mod partitions;
mod read;
mod schema;
mod seen;
mod standing;
mod tls;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use reputation::score::Indicator;
use reputation::{ClientAddress, Decision, Refused, UnixSeconds, Verdict};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::config::HistoryConfig;
use crate::orders::Operator;
use crate::secrets::Secrets;
use crate::telemetry::metrics::HistoryLoss;
use crate::telemetry::{Metrics, Sparing, chain};
use connect::Endpoint;
pub use entry::DecisionEvent;
use entry::{DecisionEntry, Entry, RefusalEntry, VerdictEntry};
pub use page::{AddressHistory, Asked, Cursor, Event, PastDecision, PastVerdict, Refusals, Totals};
use read::{ReadError, Reader};
pub use seen::Heard;
use seen::Seen;
pub use standing::HistoryHealth;
use standing::Standing;
use writer::Writer;

/// What waits at most while the database is away. An entry takes from 100 to about 1000 octets.
const QUEUE: usize = 16_384;

pub struct History {
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    database: ArcSwapOption<Database>,
    writers: TaskTracker,
    complaints: Sparing,
}

/// Why there is nothing to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HistoryError {
    #[error("no history is kept: name a database in history.url")]
    Off,
    #[error("the history's database does not answer; the log says why")]
    Away,
    #[error("too many ask for history at once")]
    Busy,
}

/// One configured database.
struct Database {
    endpoint: Arc<Endpoint>,
    queue: mpsc::Sender<Entry>,
    standing: Arc<Standing>,
    seen: Seen,
    reader: Reader,
    ending: CancellationToken,
}

impl History {
    /// Without a database, until [`Self::follow`] names one.
    pub fn new(clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        Self {
            clock,
            metrics,
            database: ArcSwapOption::empty(),
            writers: TaskTracker::new(),
            complaints: Sparing::once_a_minute(),
        }
    }

    /// Goes on with what is configured now. What waited for another database is still written there.
    pub fn follow(&self, config: Option<&HistoryConfig>, secrets: &Arc<Secrets>) {
        let current = self.database.load_full();
        let same = current
            .as_ref()
            .filter(|it| Some(it.endpoint.config()) == config);
        if let Some(same) = same {
            return same.endpoint.follow(Arc::clone(secrets));
        }
        if let Some(old) = &current {
            old.ending.cancel();
        }
        if current.is_some() && config.is_none() {
            self.metrics.forget_history();
        }
        let database = config.map(|config| Arc::new(self.start(config.clone(), secrets)));
        self.database.store(database);
    }

    /// Ends the writing, within a bound: what waits is written first.
    pub async fn close(&self) {
        if let Some(database) = self.database.swap(None) {
            database.ending.cancel();
        }
        self.writers.close();
        self.writers.wait().await;
    }

    /// Notes what is thought of `address`, unless that is known; only then `words` are asked for: the words
    /// of all sources, how many of them answered, and how many should have.
    pub fn note_verdict(
        &self,
        address: ClientAddress,
        verdict: &Verdict,
        heard: Heard,
        words: impl FnOnce() -> (Vec<Indicator>, usize, usize),
    ) {
        let database = self.database.load();
        let Some(database) = database.as_ref() else {
            return;
        };
        let now = self.clock.now();
        if !database.seen.is_news(address, verdict, heard, now) {
            return;
        }
        let (indicators, answered, asked) = words();
        let coverage = (answered, asked);
        let entry = VerdictEntry::new(address, verdict, &indicators, coverage, now);
        if database.put(Entry::Verdict(Box::new(entry))) {
            database.seen.note(address, verdict, now);
        }
    }

    pub fn note_decision(&self, event: DecisionEvent, decision: &Decision, operator: &Operator) {
        if let Some(database) = self.database.load().as_ref() {
            let entry = DecisionEntry::new(event, decision, operator, self.clock.now());
            database.put(Entry::Decision(Box::new(entry)));
        }
    }

    /// Notes what a proxy reported just now.
    pub fn note_refusals(&self, refused: &[Refused]) {
        let database = self.database.load();
        let Some(database) = database.as_ref() else {
            return;
        };
        let now = self.clock.now();
        for refused in refused {
            database.put(Entry::Refusal(RefusalEntry::new(refused, now)));
        }
    }

    /// Reads what is kept of an address, within `patience`.
    pub async fn of(
        &self,
        asked: &Asked,
        patience: Duration,
    ) -> Result<AddressHistory, HistoryError> {
        let database = self.database.load_full().ok_or(HistoryError::Off)?;
        // The library's futures are deep: in those of a whole request they would be too deep for the compiler.
        let read = Box::pin(database.reader.read(asked, self.clock.now(), patience));
        read.await.map_err(|error| {
            if matches!(error, ReadError::Busy) {
                return HistoryError::Busy;
            }
            if self.complaints.is_due() {
                tracing::warn!(error = chain(&error), "the history cannot be read");
            }
            HistoryError::Away
        })
    }

    /// None: no history is kept.
    pub fn health(&self) -> Option<HistoryHealth> {
        let database = self.database.load_full()?;
        let place = database.endpoint.config().postgres.to_string();
        let waiting = database.queue.max_capacity() - database.queue.capacity();
        Some(database.standing.health(place, waiting))
    }

    /// How long ago `age` is.
    pub fn ago(&self, age: Duration) -> UnixSeconds {
        let seconds = u32::try_from(age.as_secs()).unwrap_or(u32::MAX);
        UnixSeconds(self.clock.now().0.saturating_sub(seconds))
    }

    fn start(&self, config: HistoryConfig, secrets: &Arc<Secrets>) -> Database {
        let place = config.postgres.to_string();
        tracing::info!(place, "what is thought of addresses is recorded");
        let endpoint = Arc::new(Endpoint::new(config, Arc::clone(secrets)));
        let (clock, metrics) = (Arc::clone(&self.clock), Arc::clone(&self.metrics));
        let ending = CancellationToken::new();
        let standing = Arc::new(Standing::new(clock, metrics, ending.clone()));
        let (queue, entries) = mpsc::channel(QUEUE);
        let writer = Writer::new(
            Arc::clone(&endpoint),
            entries,
            Arc::clone(&standing),
            ending.clone(),
        );
        self.writers.spawn(writer.run());
        Database {
            reader: Reader::new(Arc::clone(&endpoint)),
            seen: Seen::new(),
            endpoint,
            queue,
            standing,
            ending,
        }
    }
}

impl Database {
    /// Whether there was room.
    fn put(&self, entry: Entry) -> bool {
        let queued = self.queue.try_send(entry).is_ok();
        if !queued {
            self.standing.lost(HistoryLoss::Full, 1);
        }
        queued
    }
}
