//! The decided part: entries with an id or an end of their own, kept one by one. Owns its columns, the
//! order of entries on one prefix, and what has lapsed.

use std::cmp::Reverse;

use super::check::Check;
use super::class::{ClassId, Classes};
use super::column::{Column, Cursor, append_all};
use super::image::Match;
use super::order::Order;
use super::place::Key;
use super::row::{Fault, Row, Tag};
use super::tables::Tables;
use crate::decision::DecisionId;
use crate::time::UnixSeconds;

/// Stands for "no id" in the id column.
pub(super) const NO_ID: u64 = 0;

/// The entries of one prefix length, sorted by prefix. Entries on one prefix stand in the order in which
/// they win; each lapses later than the one before it, since it would otherwise never be seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct DecidedTable<K> {
    len: u8,
    keys: Column<K>,
    expires: Column<u32>,
    classes: Column<u32>,
    ids: Column<u64>,
}

/// One entry on its way into an image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<K> {
    pub key: K,
    /// Larger is stronger.
    pub class: ClassId,
    pub created: UnixSeconds,
    pub expires: UnixSeconds,
    pub id: u64,
}

impl<K: Key> DecidedTable<K> {
    pub fn take(row: &Row, cursor: &mut Cursor) -> Result<Self, Fault> {
        if row.bits > K::WIDTH {
            return Err(Fault::Parameters);
        }
        let mut columns = || {
            Some(Self {
                len: row.bits,
                keys: cursor.take(row.count())?,
                expires: cursor.take(row.count())?,
                classes: cursor.take(row.count())?,
                ids: cursor.take(row.count())?,
            })
        };
        columns().ok_or(Fault::Bounds)
    }

    /// The entry that speaks for the prefix around `key` at `now`.
    pub fn find(&self, bytes: &[u8], classes: Classes, key: K, now: UnixSeconds) -> Option<Match> {
        let keys = self.keys.of(bytes);
        let prefix = key.first(self.len);
        let first = keys.below(prefix);
        if keys.get(first) != Some(prefix) {
            return None;
        }
        let group = keys
            .part(first..keys.len())
            .iter()
            .take_while(|key| *key == prefix);
        let mut expiries = self
            .expires
            .of(bytes)
            .part(first..keys.len())
            .iter()
            .zip(group);
        let at =
            first + expiries.position(|(expires, _)| now.0 < expires || expires == u32::MAX)?;
        let expires = self.expires.of(bytes).get(at)?;
        let class = ClassId(self.classes.of(bytes).get(at)?);
        let id = self.ids.of(bytes).get(at)?;
        Some(Match {
            rank: classes.rank(bytes, class)?,
            prefix_len: self.len,
            class,
            decision: (id != NO_ID).then_some(DecisionId(id)),
            expires: (expires != u32::MAX).then_some(UnixSeconds(expires)),
        })
    }
}

impl<K: Key> Check for DecidedTable<K> {
    fn items(&self) -> usize {
        self.keys.count()
    }

    fn check(&self, bytes: &[u8], tables: &Tables, at: usize) -> Result<usize, Fault> {
        let entry = |at| {
            Some((
                self.keys.of(bytes).get(at)?,
                self.expires.of(bytes).get(at)?,
            ))
        };
        let (key, expires) = entry(at).ok_or(Fault::Bounds)?;
        if key.first(self.len) != key {
            return Err(Fault::HostBits);
        }
        if at.checked_sub(1).and_then(entry) >= Some((key, expires)) {
            return Err(Fault::Unsorted);
        }
        let class = self.classes.of(bytes).get(at).ok_or(Fault::Bounds)?;
        if tables.classes.has(class) {
            Ok(1)
        } else {
            Err(Fault::Class)
        }
    }
}

/// Writes the entries of one prefix length and gives their row. Of those on one prefix the higher rank
/// comes first, then the newer; one that lapses no later than another before it is left out.
pub(super) fn write<K: Key>(
    tag: Tag,
    len: u8,
    mut entries: Vec<Entry<K>>,
    order: &Order,
    out: &mut Vec<u8>,
) -> Row {
    entries.retain_mut(|entry| {
        let place = order.place(entry.class);
        entry.class = place.unwrap_or(entry.class);
        place.is_some()
    });
    entries.sort_by_key(|entry| {
        let winner = (
            order.rank(entry.class),
            entry.created,
            entry.class,
            entry.expires,
            entry.id,
        );
        (entry.key, Reverse(winner))
    });
    entries.dedup_by(|entry, before| entry.key == before.key && entry.expires <= before.expires);
    append_all(entries.iter().map(|entry| entry.key), out);
    append_all(entries.iter().map(|entry| entry.expires.0), out);
    append_all(entries.iter().map(|entry| entry.class.0), out);
    append_all(entries.iter().map(|entry| entry.id), out);
    Row::new(tag, len, entries.len())
}
