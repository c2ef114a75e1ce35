//! The tables' shape: numbered migrations, embedded, each applied once however many sidecars start together.
//!
//! A migration only adds, so that sidecars of neighbouring versions share one database. One that cannot says
//! with `least` which versions may still write; those that may not keep away and say so.

use thiserror::Error;
use tokio_postgres::Transaction;

use super::connect::Connection;

/// One step, which is never changed once it was released.
struct Migration {
    number: i32,
    name: &'static str,
    /// The number that a sidecar must know of to write beside it.
    least: i32,
    sql: &'static str,
}

#[derive(Debug, Error)]
pub enum SchemaError {
    #[error(
        "its tables are of a newer version ({found}), beside which this one ({OURS}) may not write: \
         upgrade this sidecar"
    )]
    Newer { found: i32 },
    #[error("its tables cannot be made or read")]
    Database(#[from] tokio_postgres::Error),
}

const MIGRATIONS: [Migration; 1] = [Migration {
    number: 1,
    name: "tables",
    least: 1,
    sql: include_str!("migrations/0001_tables.sql"),
}];
/// The newest that this version knows.
const OURS: i32 = 1;

/// Numbers of advisory locks, which all programs of a database share: drawn once.
pub const MIGRATING: i64 = 0x706f_7274_6375_0001;
pub const PARTITIONING: i64 = 0x706f_7274_6375_0002;
pub const KEEPING: i64 = 0x706f_7274_6375_0003;

/// For the others, and for what a step does to large tables.
const PATIENCE: &str = "SET LOCAL lock_timeout = '1min'; SET LOCAL statement_timeout = '10min'";
/// Before a role that may not create schemas is let in, somebody else may have made it one.
const SCHEMA: &str = "DO $$ BEGIN
    IF to_regnamespace('portcullis') IS NULL THEN CREATE SCHEMA portcullis; END IF;
END $$";
const LIST: &str = "CREATE TABLE IF NOT EXISTS portcullis.migration (
    number integer PRIMARY KEY,
    name text NOT NULL,
    least integer NOT NULL,
    version text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
)";
const FOUND: &str =
    "SELECT coalesce(max(number), 0), coalesce(max(least), 0) FROM portcullis.migration";
const NOTE: &str =
    "INSERT INTO portcullis.migration (number, name, least, version) VALUES ($1, $2, $3, $4)";

/// Brings the tables to what this version knows, or says why it may not write to them.
pub async fn prepare(connection: &mut Connection) -> Result<(), SchemaError> {
    let transaction = connection.client().transaction().await?;
    // One after the other: who comes later finds everything done. It ends with the transaction.
    transaction.batch_execute(PATIENCE).await?;
    let lock = "SELECT pg_advisory_xact_lock($1)";
    transaction.execute(lock, &[&MIGRATING]).await?;
    transaction.batch_execute(SCHEMA).await?;
    transaction.batch_execute(LIST).await?;
    let (found, least) = found(&transaction).await?;
    if least > OURS {
        return Err(SchemaError::Newer { found });
    }
    for migration in MIGRATIONS.iter().filter(|it| it.number > found) {
        let Migration {
            number,
            name,
            least,
            sql,
        } = migration;
        transaction.batch_execute(sql).await?;
        let version = env!("CARGO_PKG_VERSION");
        transaction
            .execute(NOTE, &[number, name, least, &version])
            .await?;
        tracing::info!(number, name, "the history's tables were brought up to date");
    }
    transaction.commit().await?;
    if found > OURS {
        tracing::info!(
            found,
            ours = OURS,
            "the history's tables are of a newer version, beside which this one may write"
        );
    }
    Ok(())
}

async fn found(transaction: &Transaction<'_>) -> Result<(i32, i32), tokio_postgres::Error> {
    let row = transaction.query_one(FOUND, &[]).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_numbered_from_one_without_gaps_and_the_last_is_ours() {
        for (at, migration) in (1..).zip(&MIGRATIONS) {
            assert_eq!(migration.number, at, "{}", migration.name);
            assert!(migration.least <= migration.number);
        }
        assert_eq!(MIGRATIONS.last().unwrap().number, OURS);
    }
}
