//! The task that writes: takes what was queued, up to a second's worth at a time, keeps it through what goes
//! wrong with the database, and begins again until it is written.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_postgres::error::SqlState;
use tokio_util::sync::CancellationToken;

use super::batch::{self, Statements, Turn, Written, count};
use super::connect::{ConnectError, Connection, Endpoint};
use super::entry::Entry;
use super::partitions::Days;
use super::schema::{self, SchemaError};
use super::standing::Standing;
use crate::chance::spread;
use crate::telemetry::chain;
use crate::telemetry::metrics::HistoryLoss;

pub struct Writer {
    endpoint: Arc<Endpoint>,
    queue: mpsc::Receiver<Entry>,
    standing: Arc<Standing>,
    /// What is left is written, for so long as [`FLUSH`], and then it ends.
    ending: CancellationToken,
    /// Taken from the queue, and not written yet.
    pending: Vec<Entry>,
    /// The database refuses something among it: it is found by writing each alone.
    singly: bool,
    turn: Turn,
}

#[derive(Debug, Error)]
enum WriteError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error("the database gave no answer within {0:?}")]
    TimedOut(Duration),
    #[error("the database does not take it")]
    Database(#[from] tokio_postgres::Error),
}

/// Rows in one transaction.
const MOST: usize = 1000;
/// How long the first of them waits for others.
const GATHERING: Duration = Duration::from_secs(1);
/// Of the database, for one transaction: longer than a statement may take.
const PATIENCE: Duration = Duration::from_secs(15);
const SETTINGS: &str = "SET statement_timeout = '10s'; SET lock_timeout = '2s'; \
                        SET idle_in_transaction_session_timeout = '30s'; SET client_min_messages = 'warning'";
/// How often the database is asked whether it is there.
const BEAT: Duration = Duration::from_secs(10);
/// Every how many beats its partitions are looked after: every hour.
const KEEP: u32 = 360;
/// The pause after a failure; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long the end of the process is held up.
const FLUSH: Duration = Duration::from_secs(3);

impl Writer {
    pub fn new(
        endpoint: Arc<Endpoint>,
        queue: mpsc::Receiver<Entry>,
        standing: Arc<Standing>,
        ending: CancellationToken,
    ) -> Self {
        // Without chance two processes would take each other's batches for their own.
        let id = getrandom::u64().map_or(u64::from(std::process::id()), |random| random >> 1);
        Self {
            endpoint,
            queue,
            standing,
            ending,
            pending: Vec::new(),
            singly: false,
            turn: Turn {
                writer: i64::try_from(id).unwrap_or(i64::MAX),
                batch: 1,
            },
        }
    }

    /// Runs until it is told to end, and a while longer for what is left.
    pub async fn run(mut self) {
        let ending = self.ending.clone();
        let too_late = async {
            ending.cancelled().await;
            tokio::time::sleep(FLUSH).await;
        };
        tokio::select! {
            () = self.work() => {}
            () = too_late => {}
        }
        let left = self.left();
        if left > 0 {
            let entries = u64::try_from(left).unwrap_or(u64::MAX);
            self.standing.lost(HistoryLoss::Stopped, entries);
        }
    }

    async fn work(&mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let batch = self.turn.batch;
            let Err(error) = self.session().await else {
                return;
            };
            self.standing.bad(chain(&error), self.left());
            if self.turn.batch > batch {
                pause = FIRST_PAUSE;
            }
            tokio::time::sleep(spread(pause)).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }

    /// One connection's life. Ends well only when it was told to end and all is written.
    async fn session(&mut self) -> Result<(), WriteError> {
        let mut connection = self.endpoint.open(SETTINGS).await?;
        schema::prepare(&mut connection).await?;
        let mut days = Days::of(&connection, self.endpoint.config().retention).await?;
        keep(&mut days, &connection).await?;
        let statements = Statements::prepare(&connection).await?;
        self.standing.good(Written::default());
        let mut beats = tokio::time::interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut until_kept = KEEP;
        loop {
            if self.pending.is_empty() {
                tokio::select! {
                    more = gather(&mut self.queue, &mut self.pending, &self.ending) => {
                        if !more {
                            return Ok(());
                        }
                    }
                    _ = beats.tick() => {
                        self.beat(&connection).await?;
                        until_kept = until_kept.saturating_sub(1);
                        if until_kept == 0 {
                            keep(&mut days, &connection).await?;
                            until_kept = KEEP;
                        }
                        continue;
                    }
                }
            }
            self.put(&mut connection, &statements, &mut days).await?;
        }
    }

    async fn beat(&self, connection: &Connection) -> Result<(), WriteError> {
        within(connection.simple_query("SELECT 1")).await?;
        self.standing.good(Written::default());
        self.standing.waiting(self.left());
        Ok(())
    }

    /// Writes what is pending. What fails for the database's sake stays, as it is: it may have been written.
    async fn put(
        &mut self,
        connection: &mut Connection,
        statements: &Statements,
        days: &mut Days,
    ) -> Result<(), WriteError> {
        self.drop_strays(days);
        days.make(connection, self.pending.iter().map(Entry::at))
            .await?;
        while !self.pending.is_empty() {
            let together = if self.singly { 1 } else { self.pending.len() };
            let Some(entries) = self.pending.get(..together) else {
                return Ok(());
            };
            let writing = batch::write(connection, statements, self.turn, entries);
            match within(writing).await {
                Ok(()) => self.standing.good(count(entries)),
                Err(WriteError::Database(error)) if is_of_the_data(&error) => {
                    if together > 1 {
                        self.singly = true;
                        continue;
                    }
                    let error = chain(&error);
                    tracing::error!(error, "the history's database refuses an entry");
                    self.standing.lost(HistoryLoss::Refused, 1);
                }
                Err(error) => return Err(error),
            }
            self.pending.drain(..together);
            self.turn.batch += 1;
        }
        self.singly = false;
        self.standing.waiting(self.left());
        Ok(())
    }

    /// Clocks differ: what is of another time than the database's has no place there.
    fn drop_strays(&mut self, days: &Days) {
        let before = self.pending.len();
        self.pending.retain(|entry| days.has_place_for(entry.at()));
        let gone = before - self.pending.len();
        if gone > 0 {
            let entries = u64::try_from(gone).unwrap_or(u64::MAX);
            self.standing.lost(HistoryLoss::Clock, entries);
        }
    }

    fn left(&self) -> usize {
        self.queue.len() + self.pending.len()
    }
}

/// Fills `pending`; false when there is nothing more to come.
async fn gather(
    queue: &mut mpsc::Receiver<Entry>,
    pending: &mut Vec<Entry>,
    ending: &CancellationToken,
) -> bool {
    tokio::select! {
        biased;
        taken = queue.recv_many(pending, MOST) => {
            if taken == 0 {
                return false;
            }
        }
        () = ending.cancelled() => return false,
    }
    let enough = Instant::now() + GATHERING;
    while pending.len() < MOST {
        let room = MOST - pending.len();
        tokio::select! {
            biased;
            taken = queue.recv_many(pending, room) => {
                if taken == 0 {
                    return true;
                }
            }
            () = ending.cancelled() => return true,
            () = tokio::time::sleep_until(enough) => return true,
        }
    }
    true
}

/// A partition that somebody reads at the moment is dropped another time.
async fn keep(days: &mut Days, connection: &Connection) -> Result<(), WriteError> {
    match within(days.keep(connection)).await {
        Err(WriteError::Database(error)) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            tracing::info!(
                error = chain(&error),
                "old history is dropped an hour later"
            );
            Ok(())
        }
        kept => kept,
    }
}

async fn within<T>(
    asking: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, WriteError> {
    let answered = tokio::time::timeout(PATIENCE, asking).await;
    Ok(answered.map_err(|_elapsed| WriteError::TimedOut(PATIENCE))??)
}

/// Whether sending it again would be refused again: the values are at fault, not the database. That a
/// partition is missing is not: it is made anew.
fn is_of_the_data(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(&SqlState::CHECK_VIOLATION) => false,
        Some(code) => code.code().starts_with("22") || code.code().starts_with("23"),
        None => false,
    }
}
