//! What is known of one Local API's decisions, and how an answer changes it.

use std::collections::HashSet;
use std::sync::Arc;

use reputation::{Cidr, UnixSeconds};

use super::batch::Batch;
use crate::intelligence::prefixes::PrefixMapBuilder;
use crate::intelligence::words::{Entries, Word};

/// The same decision told again ends at most so many seconds earlier or later: durations are rounded, and take
/// their time to arrive.
const ROUNDING: u32 = 3;

/// What is known after an answer with all decisions.
pub fn replaced(before: &Entries, batch: Batch) -> Arc<Entries> {
    let mut entries = PrefixMapBuilder::new();
    for (cidr, word) in batch.new {
        entries.push(cidr, as_known(before, cidr, word));
    }
    Arc::new(entries.build())
}

/// What is known after an answer with what changed; without what lapsed.
pub fn changed(before: &Arc<Entries>, batch: Batch, now: UnixSeconds) -> Arc<Entries> {
    let known = |(cidr, word)| (cidr, as_known(before, cidr, word));
    let new: Vec<_> = batch.new.into_iter().map(known).collect();
    // A decision that is told again is told as it is now.
    let told = new.iter().map(|(_, word)| word.id);
    let gone: HashSet<_> = batch.deleted.into_iter().chain(told).collect();
    let stays = |word: &Word| word.in_force(now) && !gone.contains(&word.id);
    let mut entries = PrefixMapBuilder::new();
    for (cidr, word) in before.iter().filter(|(_, word)| stays(word)) {
        entries.push(cidr, word);
    }
    for (cidr, word) in new {
        entries.push(cidr, word);
    }
    let after = entries.build();
    if after == **before {
        return Arc::clone(before);
    }
    Arc::new(after)
}

/// The word as it was told first, if it is that one: else each answer would differ from the one before.
fn as_known(before: &Entries, cidr: Cidr, word: Word) -> Word {
    let known = before.at(cidr);
    let same = known.into_iter().find(|known| known.id == word.id);
    match same {
        Some(known) if is_alike(&known, &word) => known,
        Some(known) => Word {
            seen: known.seen,
            ..word
        },
        None => word,
    }
}

fn is_alike(known: &Word, word: &Word) -> bool {
    known.strength == word.strength
        && known.phrase == word.phrase
        && known.expires.0.abs_diff(word.expires.0) <= ROUNDING
}
