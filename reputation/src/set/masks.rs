//! Masks: prefixes inside which an overlay hides its base, because something was taken back there.

use super::column::{Column, Cursor, append_all};
use super::format::Fault;
use super::place::Key;

/// The masks of one prefix length: sorted, each once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Masks<K> {
    len: u8,
    keys: Column<K>,
}

impl<K: Key> Masks<K> {
    pub fn take(len: u8, count: usize, cursor: &mut Cursor) -> Result<Self, Fault> {
        if len > K::WIDTH {
            return Err(Fault::Parameters);
        }
        let keys = cursor.take(count).ok_or(Fault::Bounds)?;
        Ok(Self { len, keys })
    }

    pub fn holds(&self, bytes: &[u8], key: K) -> bool {
        let keys = self.keys.of(bytes);
        let prefix = key.first(self.len);
        keys.get(keys.below(prefix)) == Some(prefix)
    }

    pub fn items(&self) -> usize {
        self.keys.count()
    }

    pub fn check(&self, bytes: &[u8], at: usize) -> Result<(), Fault> {
        let keys = self.keys.of(bytes);
        let key = keys.get(at).ok_or(Fault::Bounds)?;
        if key.first(self.len) != key {
            return Err(Fault::HostBits);
        }
        let before = at.checked_sub(1).and_then(|before| keys.get(before));
        if before.is_some_and(|before| before >= key) {
            Err(Fault::Unsorted)
        } else {
            Ok(())
        }
    }
}

/// Writes the masks of one prefix length and gives their number.
pub(super) fn write<K: Key>(mut keys: Vec<K>, out: &mut Vec<u8>) -> usize {
    keys.sort_unstable();
    keys.dedup();
    let count = keys.len();
    append_all(keys, out);
    count
}
