//! The tables of the embedded store and every transaction on them. All of it blocks.

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use reputation::manifest::SnapshotVersion;
use reputation::mode::ModeOverride;
use reputation::{ClientAddress, Decision, UnixSeconds};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::clock::Day;
use crate::store::{DecisionChange, Number, Step, StoredVerdict, VerdictKey};

#[derive(Debug, Error)]
pub enum Error {
    #[error(transparent)]
    Database(redb::Error),
    #[error("a row cannot be read")]
    Content(#[source] serde_json::Error),
    #[error("the file has format {0}, this build reads {FORMAT}")]
    Format(u64),
}

type Result<T> = std::result::Result<T, Error>;

/// Single numbers by name.
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");
/// Decisions as JSON by id.
const DECISIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("decisions");
/// Single documents as JSON by name.
const DOCUMENTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("documents");
/// Per provider: the last day on which it was called, and how often on that day.
const QUOTA: TableDefinition<'_, &str, (u32, u32)> = TableDefinition::new("quota");
/// Per provider and address: when it expires (big endian), then JSON.
const VERDICTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("verdicts");

const FORMAT: u64 = 1;

/// Makes sure that all tables are there, so that readers find them.
pub fn prepare(database: &Database, now: UnixSeconds) -> Result<()> {
    let write = database.begin_write()?;
    {
        let mut numbers = write.open_table(NUMBERS)?;
        let format = numbers.get("format")?.map(|row| row.value());
        match format {
            None => {
                numbers.insert("format", FORMAT)?;
                numbers.insert("epoch", u64::from(now.0))?;
                numbers.insert("version", 0)?;
            }
            Some(FORMAT) => {}
            Some(other) => return Err(Error::Format(other)),
        }
        write.open_table(DECISIONS)?;
        write.open_table(DOCUMENTS)?;
        write.open_table(QUOTA)?;
        write.open_table(VERDICTS)?;
    }
    Ok(write.commit()?)
}

pub fn epoch(database: &Database) -> Result<u64> {
    let numbers = database.begin_read()?.open_table(NUMBERS)?;
    Ok(numbers.get("epoch")?.map_or(0, |row| row.value()))
}

/// Returns what is in force then.
pub fn raise_epoch(database: &Database, at_least: u64) -> Result<Number> {
    let raised = Number {
        version: SnapshotVersion {
            epoch: at_least,
            version: 0,
        },
        taken_back: 0,
    };
    renumber(database, |last| last.or_newer(raised))
}

/// The number after what the file has and after `known`, which it may have missed.
pub fn next_number(database: &Database, known: Number, step: Step) -> Result<Number> {
    renumber(database, |last| last.or_newer(known).next(step))
}

/// Writes `known` where the file has less.
pub fn note_number(database: &Database, known: Number) -> Result<()> {
    renumber(database, |last| last.or_newer(known)).map(drop)
}

fn renumber(database: &Database, change: impl FnOnce(Number) -> Number) -> Result<Number> {
    let write = database.begin_write()?;
    let now = {
        let mut numbers = write.open_table(NUMBERS)?;
        let now = change(number(&numbers)?);
        numbers.insert("epoch", now.version.epoch)?;
        numbers.insert("version", now.version.version)?;
        numbers.insert("taken_back", now.taken_back)?;
        now
    };
    write.commit()?;
    Ok(now)
}

pub fn latest(database: &Database) -> Result<Number> {
    number(&database.begin_read()?.open_table(NUMBERS)?)
}

pub fn decisions(database: &Database) -> Result<Vec<Decision>> {
    let table = database.begin_read()?.open_table(DECISIONS)?;
    let rows = table.iter()?;
    rows.map(|row| from_json(row?.1.value())).collect()
}

pub fn change_decisions(database: &Database, change: &DecisionChange) -> Result<()> {
    let write = database.begin_write()?;
    {
        let mut table = write.open_table(DECISIONS)?;
        for id in &change.delete {
            table.remove(id.0)?;
        }
        for decision in &change.put {
            table.insert(decision.id.0, to_json(decision)?.as_slice())?;
        }
    }
    Ok(write.commit()?)
}

pub fn modes(database: &Database) -> Result<Vec<ModeOverride>> {
    let documents = database.begin_read()?.open_table(DOCUMENTS)?;
    let modes = documents.get("modes")?.map(|row| from_json(row.value()));
    modes.transpose().map(Option::unwrap_or_default)
}

pub fn put_modes(database: &Database, modes: &[ModeOverride]) -> Result<()> {
    let write = database.begin_write()?;
    {
        let mut documents = write.open_table(DOCUMENTS)?;
        documents.insert("modes", to_json(modes)?.as_slice())?;
    }
    Ok(write.commit()?)
}

pub fn quota(database: &Database, provider: &str, day: Day) -> Result<u32> {
    let table = database.begin_read()?.open_table(QUOTA)?;
    Ok(used_on(day, table.get(provider)?.map(|row| row.value())))
}

/// Replaces the count of `day` by what `change` makes of it; returns the one before and the one after.
pub fn book(
    database: &Database,
    provider: &str,
    day: Day,
    change: impl Fn(u32) -> u32,
) -> Result<(u32, u32)> {
    let write = database.begin_write()?;
    let (before, after) = {
        let mut table = write.open_table(QUOTA)?;
        let row = table.get(provider)?.map(|row| row.value());
        let before = used_on(day, row);
        let after = change(before);
        if after != before {
            let believed = row.filter(|(last, _)| is_believable(day, *last));
            let last_day = believed.map_or(day.0, |(last, _)| last.max(day.0));
            table.insert(provider, (last_day, after))?;
        }
        (before, after)
    };
    // What changes nothing need not wait for the disk.
    if after == before {
        write.abort()?;
    } else {
        write.commit()?;
    }
    Ok((before, after))
}

pub fn verdicts(database: &Database, keys: &[VerdictKey]) -> Result<Vec<Option<StoredVerdict>>> {
    let table = database.begin_read()?.open_table(VERDICTS)?;
    let read = |key: &VerdictKey| {
        let row = table.get(row_key(key).as_slice())?;
        row.and_then(|row| row.value().get(4..).map(from_json))
            .transpose()
    };
    keys.iter().map(read).collect()
}

pub fn put_verdicts(database: &Database, batch: &[(VerdictKey, StoredVerdict)]) -> Result<()> {
    let write = database.begin_write()?;
    {
        let mut table = write.open_table(VERDICTS)?;
        for (key, verdict) in batch {
            let mut row = verdict.expires.0.to_be_bytes().to_vec();
            row.extend(to_json(verdict)?);
            table.insert(row_key(key).as_slice(), row.as_slice())?;
        }
    }
    Ok(write.commit()?)
}

pub fn prune_verdicts(database: &Database, before: UnixSeconds) -> Result<usize> {
    let write = database.begin_write()?;
    let mut pruned = 0;
    {
        let mut table = write.open_table(VERDICTS)?;
        let bound = before.0.to_be_bytes();
        table.retain(|_, row| {
            let keep = row
                .get(..4)
                .is_some_and(|expires| expires >= bound.as_slice());
            pruned += usize::from(!keep);
            keep
        })?;
    }
    write.commit()?;
    Ok(pruned)
}

fn number(numbers: &impl ReadableTable<&'static str, u64>) -> Result<Number> {
    let number = |name| Ok::<_, Error>(numbers.get(name)?.map_or(0, |row| row.value()));
    Ok(Number {
        version: SnapshotVersion {
            epoch: number("epoch")?,
            version: number("version")?,
        },
        taken_back: number("taken_back")?,
    })
}

/// A clock that went back a little does not open a used-up budget again; one that was wrong by more
/// does not close it until that day comes.
fn is_believable(today: Day, last_day: u32) -> bool {
    last_day <= today.0.saturating_add(1)
}

fn used_on(day: Day, row: Option<(u32, u32)>) -> u32 {
    row.filter(|(last_day, _)| day.0 <= *last_day && is_believable(day, *last_day))
        .map_or(0, |(_, used)| used)
}

/// Provider, a zero octet that no name contains, then the address; its length tells the family.
fn row_key(key: &VerdictKey) -> Vec<u8> {
    let mut row = key.provider.clone().into_bytes();
    row.push(0);
    match key.address {
        ClientAddress::V4(bits) => row.extend(bits.to_be_bytes()),
        ClientAddress::V6(bits) => row.extend(bits.to_be_bytes()),
    }
    row
}

fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(Error::Content)
}

fn to_json(value: &(impl Serialize + ?Sized)) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(Error::Content)
}

/// Every error of redb's converts to its general one; so one `?` serves them all.
impl<E: Into<redb::Error>> From<E> for Error {
    fn from(error: E) -> Self {
        Self::Database(error.into())
    }
}
