//! How the words of sources differ between a base and now.
//!
//! Words on one prefix are one group. A group that changed is stated whole: on the same prefix and rank
//! the overlay wins. A mask is needed only where the base would speak longer than what is stated.

use std::sync::Arc;

use reputation::{Cidr, UnixSeconds};

use super::side_by_side::side_by_side;
use crate::intelligence::prefixes::{Bits, Entry};
use crate::intelligence::words::{Word, Words};

/// What changed between two sets of words.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Prefixes whose words are to be stated.
    pub stated: Vec<Cidr>,
    /// Prefixes on which the base has something that nothing of now outlasts.
    pub masks: Vec<Cidr>,
    /// Something that was in force is no more.
    pub takes_back: bool,
}

impl Difference {
    /// What lapsed by itself is no difference.
    pub fn between(base: &Words, now: &Words, time: UnixSeconds) -> Self {
        let mut found = Self::default();
        if !Arc::ptr_eq(&base.entries, &now.entries) {
            walk(base.entries.v4(), now.entries.v4(), time, &mut found);
            walk(base.entries.v6(), now.entries.v6(), time, &mut found);
        }
        found
    }

    fn compare<N: Bits>(
        &mut self,
        before: &[Entry<N, Word>],
        after: &[Entry<N, Word>],
        time: UnixSeconds,
    ) {
        let live = |entry: &&Entry<N, Word>| entry.value.in_force(time);
        if before.iter().filter(live).eq(after.iter().filter(live)) {
            return;
        }
        let last = |entries: &[Entry<N, Word>]| {
            let live = entries.iter().filter(live);
            live.map(|entry| entry.value.expires).max()
        };
        let cidr = before.first().or(after.first()).and_then(Entry::cidr);
        if last(after).is_some() {
            self.stated.extend(cidr);
        }
        if last(before) > last(after) {
            self.masks.extend(cidr);
        }
        let gone = |entry: &Entry<N, Word>| !after.contains(entry);
        self.takes_back |= before.iter().filter(live).any(gone);
    }
}

fn walk<N: Bits>(
    base: &[Entry<N, Word>],
    now: &[Entry<N, Word>],
    time: UnixSeconds,
    found: &mut Difference,
) {
    let key = |group: &[Entry<N, Word>]| group.first().map(|entry| (entry.network, entry.len));
    let (before, after) = (base.chunk_by(together), now.chunk_by(together));
    for (old, new) in side_by_side(before, after, |group| key(group)) {
        found.compare(old.unwrap_or_default(), new.unwrap_or_default(), time);
    }
}

fn together<N: Bits>(one: &Entry<N, Word>, other: &Entry<N, Word>) -> bool {
    (one.network, one.len) == (other.network, other.len)
}
