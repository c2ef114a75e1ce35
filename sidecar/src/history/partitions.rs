//! A partition for each day: made ahead, and dropped whole when it is older than what is to be kept. Which
//! of the sidecars does so does not matter: one at a time, by an advisory lock.

use std::collections::HashSet;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use reputation::UnixSeconds;
use tokio_postgres::Error;

use super::connect::Connection;
use super::schema::{KEEPING, PARTITIONING};

/// The days of which this process knows that they have partitions, and which may have any.
pub struct Days {
    known: HashSet<Date>,
    today: Date,
    kept: i64,
}

const TABLES: [&str; 3] = ["verdict", "decision", "refusal"];
/// How many days have their partitions before they begin.
const AHEAD: i64 = 3;
/// A clock may be ahead by so many days.
const TOMORROW: i64 = 1;

impl Days {
    pub async fn of(connection: &Connection, retention: Duration) -> Result<Self, Error> {
        let days = retention.as_secs() / 86_400;
        Ok(Self {
            known: HashSet::new(),
            today: today(connection).await?,
            kept: i64::try_from(days).unwrap_or(i64::MAX),
        })
    }

    /// Whether something of this moment is kept at all: neither too old nor to come.
    pub fn has_place_for(&self, at: UnixSeconds) -> bool {
        let ahead = (day_of(at) - self.today).get_days();
        (-self.kept..=TOMORROW).contains(&i64::from(ahead))
    }

    /// Makes the partitions of these moments, where this process does not know of them.
    pub async fn make(
        &mut self,
        connection: &Connection,
        moments: impl Iterator<Item = UnixSeconds>,
    ) -> Result<(), Error> {
        let wanted: HashSet<_> = moments.map(day_of).collect();
        for day in wanted {
            self.make_one(connection, day).await?;
        }
        Ok(())
    }

    /// Makes what is to come and drops what is too old, unless another sidecar is at it.
    pub async fn keep(&mut self, connection: &Connection) -> Result<(), Error> {
        self.today = today(connection).await?;
        let row = connection
            .query_one("SELECT pg_try_advisory_lock($1)", &[&KEEPING])
            .await?;
        if !row.try_get::<_, bool>(0)? {
            return Ok(());
        }
        let kept = self.make_and_drop(connection).await;
        // It would end with the connection too.
        connection
            .execute("SELECT pg_advisory_unlock($1)", &[&KEEPING])
            .await?;
        kept
    }

    async fn make_and_drop(&mut self, connection: &Connection) -> Result<(), Error> {
        for ahead in 0..=AHEAD {
            self.make_one(connection, plus(self.today, ahead)).await?;
        }
        let oldest = plus(self.today, -self.kept);
        for (name, _) in partitions(connection)
            .await?
            .iter()
            .filter(|(_, day)| *day < oldest)
        {
            let drop = format!("DROP TABLE IF EXISTS portcullis.{name}");
            connection.batch_execute(&drop).await?;
            tracing::info!(partition = name, "history older than its retention is gone");
        }
        let writers = "DELETE FROM portcullis.writer WHERE seen < now() - interval '7 days'";
        connection.execute(writers, &[]).await?;
        Ok(())
    }

    async fn make_one(&mut self, connection: &Connection, day: Date) -> Result<(), Error> {
        if self.known.contains(&day) {
            return Ok(());
        }
        let until = plus(day, 1);
        // Together they are one transaction.
        let mut sql = format!("SELECT pg_advisory_xact_lock({PARTITIONING});");
        for table in TABLES {
            let name = name_of(table, day);
            sql.push_str(&format!(
                "CREATE TABLE IF NOT EXISTS portcullis.{name} PARTITION OF portcullis.{table} \
                 FOR VALUES FROM ('{day} 00:00:00+00') TO ('{until} 00:00:00+00');"
            ));
        }
        connection.batch_execute(&sql).await?;
        self.known.insert(day);
        Ok(())
    }
}

/// By the database's clock, which all sidecars share.
async fn today(connection: &Connection) -> Result<Date, Error> {
    let sql = "SELECT extract(epoch FROM now())::bigint";
    Ok(date(connection.query_one(sql, &[]).await?.try_get(0)?))
}

/// The partitions that are there, with their days.
async fn partitions(connection: &Connection) -> Result<Vec<(String, Date)>, Error> {
    let rows = connection
        .query(
            "SELECT child.relname::text FROM pg_inherits \
             JOIN pg_class child ON child.oid = inhrelid \
             JOIN pg_class parent ON parent.oid = inhparent \
             WHERE parent.relnamespace = to_regnamespace('portcullis') AND child.relkind = 'r'",
            &[],
        )
        .await?;
    let names = rows.iter().map(|row| row.try_get::<_, String>(0));
    let names = names.collect::<Result<Vec<_>, _>>()?;
    let dated = |name: String| day_in(&name).map(|day| (name, day));
    Ok(names.into_iter().filter_map(dated).collect())
}

fn name_of(table: &str, day: Date) -> String {
    format!("{table}_{}", day.strftime("%Y%m%d"))
}

/// The day of a partition of ours.
fn day_in(name: &str) -> Option<Date> {
    let (table, digits) = name.split_once('_')?;
    let day = Date::strptime("%Y%m%d", digits).ok()?;
    TABLES.contains(&table).then_some(day)
}

fn day_of(at: UnixSeconds) -> Date {
    date(at.0.into())
}

fn date(seconds: i64) -> Date {
    let moment = Timestamp::from_second(seconds).unwrap_or_default();
    moment.to_zoned(TimeZone::UTC).date()
}

fn plus(day: Date, days: i64) -> Date {
    day.saturating_add(days.days())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days() -> Days {
        Days {
            known: HashSet::new(),
            today: date(1_795_000_000),
            kept: 30,
        }
    }

    #[test]
    fn a_partition_is_named_by_its_day_and_nothing_else_is_one() {
        let day = date(1_795_000_000);
        assert_eq!(name_of("verdict", day), "verdict_20261118");
        assert_eq!(day_in("verdict_20261118"), Some(day));
        for other in ["verdict", "verdict_2026", "other_20261118", "verdict_old"] {
            assert_eq!(day_in(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_too_old_or_far_ahead_has_no_place() {
        let days = days();
        let at = |seconds: i64| UnixSeconds(u32::try_from(1_795_000_000 + seconds).unwrap());
        for (seconds, placed) in [
            (0, true),
            (-30 * 86_400, true),
            (-31 * 86_400, false),
            (86_400, true),
            (2 * 86_400, false),
        ] {
            assert_eq!(days.has_place_for(at(seconds)), placed, "{seconds}");
        }
    }
}
