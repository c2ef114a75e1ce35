//! Reads the history of an address, on a connection of its own, within bounds: so many at once, so long, so
//! much.

use std::sync::Arc;
use std::time::Duration;

use reputation::UnixSeconds;
use thiserror::Error;
use tokio::sync::{Mutex, Semaphore};
use tokio_postgres::{Error, Row};

use super::connect::{ConnectError, Connection, Endpoint};
use super::entry::network_of;
use super::page::{
    AddressHistory, Asked, Cursor, Event, PastDecision, PastVerdict, Refusals, Totals,
};

pub struct Reader {
    endpoint: Arc<Endpoint>,
    connection: Mutex<Option<Arc<Connection>>>,
    places: Semaphore,
}

#[derive(Debug, Error)]
pub enum ReadError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the database does not give it")]
    Database(#[from] Error),
    #[error("the database did not answer within {0:?}")]
    TimedOut(Duration),
    #[error("{AT_ONCE} ask it already")]
    Busy,
}

const AT_ONCE: usize = 4;
const SETTINGS: &str = "SET default_transaction_read_only = on; SET statement_timeout = '3s'; \
                        SET lock_timeout = '2s'; SET client_min_messages = 'warning'";
/// Windows of up to this length show refusals by the hour, others by the day; in seconds.
const FINE: u32 = 2 * 86_400;
const HOUR: u32 = 3600;
const DAY: u32 = 86_400;

const VERDICTS: &str = "
    SELECT extract(epoch FROM at)::bigint, id, host(address), scope::text, action, band, score, reason,
           decision, answered, asked, sources::text
    FROM portcullis.verdict
    WHERE network = $1::text::cidr AND (address = $2::text::inet OR scope >>= $2::text::inet)
      AND at >= to_timestamp($3::bigint) AND (at, id) < (to_timestamp($4::bigint), $5::bigint)
    ORDER BY at DESC, id DESC LIMIT $6::bigint";

const DECISIONS: &str = "
    SELECT extract(epoch FROM at)::bigint, id, event, decision, prefix::text, type, origin, reason, author,
           extract(epoch FROM expires)::bigint, operator, way
    FROM portcullis.decision
    WHERE prefix >>= $1::text::inet
      AND at >= to_timestamp($2::bigint) AND (at, id) < (to_timestamp($3::bigint), $4::bigint)
    ORDER BY at DESC, id DESC LIMIT $5::bigint";

const REFUSALS: &str = "
    SELECT extract(epoch FROM minute)::bigint / $3::bigint * $3::bigint, action, mode,
           sum(requests)::bigint, (array_agg(reason ORDER BY minute DESC))[1]
    FROM portcullis.refusal
    WHERE address = $1::text::inet AND minute >= to_timestamp($2::bigint)
    GROUP BY 1, 2, 3 ORDER BY 1 DESC, 2, 3 LIMIT 3000";

/// Later than anything that was recorded.
const END: Cursor = Cursor {
    at: UnixSeconds(u32::MAX),
    id: i64::MAX,
};

impl Reader {
    pub fn new(endpoint: Arc<Endpoint>) -> Self {
        Self {
            endpoint,
            connection: Mutex::default(),
            places: Semaphore::new(AT_ONCE),
        }
    }

    pub async fn read(
        &self,
        asked: &Asked,
        now: UnixSeconds,
        patience: Duration,
    ) -> Result<AddressHistory, ReadError> {
        let _place = self.places.try_acquire().map_err(|_| ReadError::Busy)?;
        let reading = async {
            let connection = self.connection().await?;
            Ok(read_on(&connection, asked, now).await?)
        };
        let read = tokio::time::timeout(patience, reading).await;
        let read = read.unwrap_or(Err(ReadError::TimedOut(patience)));
        if read.is_err() {
            // It may hang, or be of a database that is gone.
            self.connection.lock().await.take();
        }
        read
    }

    async fn connection(&self) -> Result<Arc<Connection>, ConnectError> {
        let mut kept = self.connection.lock().await;
        if let Some(connection) = kept.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(Arc::clone(connection));
        }
        let connection = Arc::new(self.endpoint.open(SETTINGS).await?);
        *kept = Some(Arc::clone(&connection));
        Ok(connection)
    }
}

async fn read_on(
    connection: &Connection,
    asked: &Asked,
    now: UnixSeconds,
) -> Result<AddressHistory, Error> {
    let span_s = match asked.since.until(now) {
        ..=FINE => HOUR,
        _ => DAY,
    };
    let refusals = refusals(connection, asked, span_s).await?;
    let mut totals = Totals::default();
    refusals.iter().for_each(|span| totals.add(span));
    let mut events = verdicts(connection, asked).await?;
    events.extend(decisions(connection, asked).await?);
    events.sort_by_key(|(cursor, _)| std::cmp::Reverse(*cursor));
    let more = events.len() > asked.most;
    events.truncate(asked.most);
    let next = events.last().map(|(cursor, _)| *cursor);
    Ok(AddressHistory {
        address: asked.address,
        since: asked.since,
        totals,
        span_s,
        refusals,
        events: events.into_iter().map(|(_, event)| event).collect(),
        next: next.filter(|_| more),
    })
}

async fn verdicts(connection: &Connection, asked: &Asked) -> Result<Vec<(Cursor, Event)>, Error> {
    let (network, address) = (
        network_of(asked.address).to_string(),
        asked.address.to_string(),
    );
    let since = i64::from(asked.since.0);
    let before = asked.before.unwrap_or(END);
    let (at, id, most) = (i64::from(before.at.0), before.id, one_more(asked));
    let rows = connection
        .query(VERDICTS, &[&network, &address, &since, &at, &id, &most])
        .await?;
    rows.iter().map(verdict).collect()
}

async fn decisions(connection: &Connection, asked: &Asked) -> Result<Vec<(Cursor, Event)>, Error> {
    let address = asked.address.to_string();
    let since = i64::from(asked.since.0);
    let before = asked.before.unwrap_or(END);
    let (at, id, most) = (i64::from(before.at.0), before.id, one_more(asked));
    let rows = connection
        .query(DECISIONS, &[&address, &since, &at, &id, &most])
        .await?;
    rows.iter().map(decision).collect()
}

async fn refusals(
    connection: &Connection,
    asked: &Asked,
    span_s: u32,
) -> Result<Vec<Refusals>, Error> {
    let address = asked.address.to_string();
    let (since, span) = (i64::from(asked.since.0), i64::from(span_s));
    let rows = connection
        .query(REFUSALS, &[&address, &since, &span])
        .await?;
    let row = |row: &Row| {
        Ok(Refusals {
            from: moment(row.try_get(0)?),
            action: row.try_get(1)?,
            mode: row.try_get(2)?,
            requests: u64::try_from(row.try_get::<_, i64>(3)?).unwrap_or(0),
            reason: row.try_get(4)?,
        })
    };
    rows.iter().map(row).collect()
}

fn verdict(row: &Row) -> Result<(Cursor, Event), Error> {
    let cursor = cursor(row)?;
    let small = |at: usize| Ok::<_, Error>(u16::try_from(row.try_get::<_, i16>(at)?).unwrap_or(0));
    let verdict = PastVerdict {
        at: cursor.at,
        address: row.try_get(2)?,
        scope: row.try_get(3)?,
        action: row.try_get(4)?,
        band: row.try_get(5)?,
        score: u8::try_from(row.try_get::<_, i16>(6)?).unwrap_or(u8::MAX),
        reason: row.try_get(7)?,
        decision: row.try_get(8)?,
        answered: small(9)?,
        asked: small(10)?,
        sources: serde_json::from_str(row.try_get(11)?).unwrap_or_default(),
    };
    Ok((cursor, Event::Verdict(verdict)))
}

fn decision(row: &Row) -> Result<(Cursor, Event), Error> {
    let cursor = cursor(row)?;
    let decision = PastDecision {
        at: cursor.at,
        event: row.try_get(2)?,
        decision: row.try_get(3)?,
        prefix: row.try_get(4)?,
        r#type: row.try_get(5)?,
        origin: row.try_get(6)?,
        reason: row.try_get(7)?,
        author: row.try_get(8)?,
        expires: row.try_get::<_, Option<i64>>(9)?.map(moment),
        operator: row.try_get(10)?,
        way: row.try_get(11)?,
    };
    Ok((cursor, Event::Decision(decision)))
}

fn cursor(row: &Row) -> Result<Cursor, Error> {
    Ok(Cursor {
        at: moment(row.try_get(0)?),
        id: row.try_get(1)?,
    })
}

fn moment(seconds: i64) -> UnixSeconds {
    UnixSeconds(u32::try_from(seconds).unwrap_or(u32::MAX))
}

/// One more than is wanted tells whether there are more.
fn one_more(asked: &Asked) -> i64 {
    i64::try_from(asked.most)
        .unwrap_or(i64::MAX)
        .saturating_add(1)
}
