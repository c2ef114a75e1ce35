//! Masks: prefixes inside which an overlay hides its base, because something was taken back there.

use super::check::Check;
use super::column::{Column, Cursor, append_all};
use super::place::Key;
use super::row::{Fault, Row, Tag};
use super::tables::Tables;

/// The masks of one prefix length: sorted, each once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Masks<K> {
    len: u8,
    keys: Column<K>,
}

impl<K: Key> Masks<K> {
    pub fn take(row: &Row, cursor: &mut Cursor) -> Result<Self, Fault> {
        if row.bits > K::WIDTH {
            return Err(Fault::Parameters);
        }
        let keys = cursor.take(row.count()).ok_or(Fault::Bounds)?;
        Ok(Self {
            len: row.bits,
            keys,
        })
    }

    pub fn holds(&self, bytes: &[u8], key: K) -> bool {
        let keys = self.keys.of(bytes);
        let prefix = key.first(self.len);
        keys.get(keys.below(prefix)) == Some(prefix)
    }
}

impl<K: Key> Check for Masks<K> {
    fn items(&self) -> usize {
        self.keys.count()
    }

    fn check(&self, bytes: &[u8], _: &Tables, at: usize) -> Result<usize, Fault> {
        let keys = self.keys.of(bytes);
        let key = keys.get(at).ok_or(Fault::Bounds)?;
        if key.first(self.len) != key {
            return Err(Fault::HostBits);
        }
        let before = at.checked_sub(1).and_then(|before| keys.get(before));
        if before >= Some(key) {
            Err(Fault::Unsorted)
        } else {
            Ok(1)
        }
    }
}

/// Writes the masks of one prefix length and gives their row.
pub(super) fn write<K: Key>(tag: Tag, len: u8, mut keys: Vec<K>, out: &mut Vec<u8>) -> Row {
    keys.sort_unstable();
    keys.dedup();
    let row = Row::new(tag, len, keys.len());
    append_all(keys, out);
    row
}
