//! From feeds to entries: what all lists together say of each prefix, by rank.
//!
//! Hard feeds stand for themselves, lists of the trusted and the guard's ranges become trusted entries,
//! the soft feeds' combined score is worked out by `soft`, and the canary is always there.

use std::collections::HashMap;
use std::sync::Arc;

use reputation::set::{Basis, Class};
use reputation::{Action, Band, Policy, Rank, special};

use super::{canary, soft};
use crate::config::{FeedRole, Guard};
use crate::intelligence::feeds::FeedsView;
use crate::intelligence::prefixes::{PrefixMap, PrefixMapBuilder};

/// The score of what needs no arithmetic.
const CERTAIN: u8 = 100;

/// What one entry says; its class is a number in [`Listed::classes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    pub rank: Rank,
    pub class: u32,
}

/// All that is listed. A prefix stands here at most once per rank.
#[derive(Debug, Clone, Default)]
pub struct Listed {
    pub entries: PrefixMap<Mark>,
    pub classes: Arc<Vec<Class>>,
}

/// Numbers classes. The numbers stay the same from one compilation to the next, so that two of them
/// can be compared entry by entry.
#[derive(Debug, Default)]
pub struct Catalogue {
    classes: Arc<Vec<Class>>,
    numbers: HashMap<Class, u32>,
}

impl Listed {
    pub fn class(&self, mark: Mark) -> Option<&Class> {
        self.classes.get(usize::try_from(mark.class).ok()?)
    }
}

impl Catalogue {
    /// The table as it is now.
    pub fn classes(&self) -> Arc<Vec<Class>> {
        Arc::clone(&self.classes)
    }

    pub fn mark(&mut self, class: Class) -> Mark {
        let rank = class.rank;
        if let Some(&class) = self.numbers.get(&class) {
            return Mark { rank, class };
        }
        let number = u32::try_from(self.classes.len()).unwrap_or(u32::MAX);
        Arc::make_mut(&mut self.classes).push(class.clone());
        self.numbers.insert(class, number);
        Mark {
            rank,
            class: number,
        }
    }
}

/// Works out what all feeds list. Runs for as long as they are long: not for an async thread.
pub fn compile(
    feeds: &FeedsView,
    guard: &Guard,
    policy: Policy,
    catalogue: &mut Catalogue,
) -> Listed {
    let mut entries = PrefixMapBuilder::new();
    trust_guarded_ranges(guard, catalogue, &mut entries);
    let canary = catalogue.mark(canary::class());
    for cidr in canary::entries() {
        entries.push(cidr, canary);
    }
    for feed in feeds.loaded() {
        let class = match feed.config.role {
            FeedRole::Block => hard(&feed.config.name),
            FeedRole::Allow => trusted(&feed.config.name),
            FeedRole::Score { .. } => continue,
        };
        let mark = catalogue.mark(class);
        for (cidr, _score) in feed.listing.iter() {
            entries.push(cidr, mark);
        }
    }
    soft::combine_into(feeds, policy, catalogue, &mut entries);
    Listed {
        // Of two hard feeds that list the same prefix, the one that was configured first names it.
        entries: entries.build_least_of(|one, other| one.rank == other.rank),
        classes: catalogue.classes(),
    }
}

fn trust_guarded_ranges(
    guard: &Guard,
    catalogue: &mut Catalogue,
    entries: &mut PrefixMapBuilder<Mark>,
) {
    let protected = catalogue.mark(trusted("protected"));
    for cidr in &guard.protect {
        entries.push(*cidr, protected);
    }
    if guard.permit_special {
        return;
    }
    let special = catalogue.mark(trusted("special-purpose"));
    for cidr in special::special_prefixes() {
        entries.push(cidr, special);
    }
}

fn hard(name: &str) -> Class {
    Class {
        rank: Rank::HardSource,
        basis: Basis::Band(Band::Malicious),
        band: Band::Malicious,
        score: CERTAIN,
        reason: name.to_owned(),
    }
}

fn trusted(name: &str) -> Class {
    Class {
        rank: Rank::Trusted,
        basis: Basis::Action(Action::Allow),
        band: Band::Clean,
        score: 0,
        reason: name.to_owned(),
    }
}
