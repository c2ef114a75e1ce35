//! Lists of addresses: what is loaded from them and what they say of an address.
//!
//! `formats` reads them, `fetch` (and `file`) gets them, `guard` decides what is taken, `last_good` keeps the copy
//! that survives a restart, `slot` holds one feed's state, `keeper` runs each feed's life and `change` follows the
//! configuration. This module owns what is in force.

mod change;
mod fetch;
mod file;
pub mod formats;
pub mod guard;
mod keeper;
mod last_good;
mod slot;
mod status;

use std::sync::Arc;

use reputation::score::{Indicator, Stance, Weight};
use reputation::{Band, Cidr, ClientAddress, Policy, UnixSeconds, score};

pub use formats::Listing;
pub use keeper::{Keeper, Needs, ReleaseError};
pub use slot::Slot;
pub use status::{FeedStatus, place};

use crate::config::{Feed, FeedRole, ListScore};

/// A feed's version that is in force.
#[derive(Debug)]
pub struct LoadedFeed {
    pub config: Arc<Feed>,
    pub weight: Weight,
    pub listing: Arc<Listing>,
    /// When this version came.
    pub fetched: UnixSeconds,
}

/// All feeds that are in force, in the order of the configuration.
#[derive(Debug, Clone, Default)]
pub struct FeedsView {
    slots: Vec<Option<Arc<LoadedFeed>>>,
}

/// One entry of one feed that holds an address.
#[derive(Debug, Clone, Copy)]
pub struct Hit<'a> {
    pub feed: &'a LoadedFeed,
    pub cidr: Cidr,
    pub score: u8,
}

impl LoadedFeed {
    pub fn new(config: Arc<Feed>, listing: Listing, fetched: UnixSeconds) -> Self {
        let weight = match config.role {
            FeedRole::Score { weight, .. } => weight,
            FeedRole::Block | FeedRole::Allow => Weight::STRONG,
        };
        Self {
            config,
            weight,
            listing: Arc::new(listing),
            fetched,
        }
    }

    /// What the feed says of an entry with this score.
    pub fn indicator(&self, score: u8) -> Indicator {
        Indicator {
            source: self.config.name.clone(),
            family: self.config.family.clone(),
            score,
            stance: Stance::Rated,
            weight: self.weight,
            categories: Vec::new(),
            // A list says who stands on it now: its publisher forgets, not we.
            observed: None,
            half_life: None,
            expires: None,
        }
    }

    fn is_soft(&self) -> bool {
        matches!(self.config.role, FeedRole::Score { .. })
    }
}

impl FeedsView {
    pub fn new(slots: Vec<Option<Arc<LoadedFeed>>>) -> Self {
        Self { slots }
    }

    pub fn loaded(&self) -> impl Iterator<Item = &LoadedFeed> {
        self.slots.iter().flatten().map(Arc::as_ref)
    }

    /// The same with the feed at place `at` in the configuration replaced.
    pub fn with(&self, at: usize, feed: Arc<LoadedFeed>) -> Self {
        let mut slots = self.slots.clone();
        if slots.len() <= at {
            slots.resize(at + 1, None);
        }
        if let Some(slot) = slots.get_mut(at) {
            *slot = Some(feed);
        }
        Self { slots }
    }

    /// Every entry of every feed that holds `address`.
    pub fn hits(&self, address: ClientAddress) -> Vec<Hit<'_>> {
        let hits = |feed| entries_of(feed, address);
        self.loaded().flat_map(hits).collect()
    }

    /// What the soft feeds say of `address`, one word each.
    pub fn indicators(&self, address: ClientAddress) -> Vec<Indicator> {
        let word = |feed: &LoadedFeed| {
            let worst = entries_of(feed, address).map(|hit| hit.score).max()?;
            Some(feed.indicator(worst))
        };
        let soft = self.loaded().filter(|feed| feed.is_soft());
        soft.filter_map(word).collect()
    }

    /// Whether a soft feed tells addresses inside `cidr` apart.
    pub fn splits(&self, cidr: Cidr) -> bool {
        let mut soft = self.loaded().filter(|feed| feed.is_soft());
        soft.any(|feed| feed.listing.splits(cidr))
    }

    pub fn soft_feeds(&self) -> usize {
        self.loaded().filter(|feed| feed.is_soft()).count()
    }

    /// Whether the feeds alone would have `address` refused.
    pub fn deny(&self, address: ClientAddress, policy: Policy) -> bool {
        let stands_on = |role: fn(&FeedRole) -> bool| {
            let feeds = self.loaded().filter(move |feed| role(&feed.config.role));
            feeds
                .flat_map(|feed| entries_of(feed, address))
                .next()
                .is_some()
        };
        if stands_on(|role| matches!(role, FeedRole::Allow)) {
            return false;
        }
        let words = self.indicators(address);
        let score = score::combine(&words, self.soft_feeds(), policy, NOW_OF_LISTS);
        stands_on(|role| matches!(role, FeedRole::Block))
            || policy.band(score.value) == Band::Malicious
    }
}

/// Lists do not age: their words weigh the same at any time.
pub const NOW_OF_LISTS: UnixSeconds = UnixSeconds(0);

fn entries_of(feed: &LoadedFeed, address: ClientAddress) -> impl Iterator<Item = Hit<'_>> {
    let entries = feed.listing.containing(address).into_iter();
    entries.map(move |(cidr, score)| Hit { feed, cidr, score })
}

/// The score that a feed's entries get where the list itself does not say one.
fn list_score(role: FeedRole) -> ListScore {
    match role {
        FeedRole::Score { score, .. } => score,
        FeedRole::Block => ListScore::Fixed(100),
        FeedRole::Allow => ListScore::Fixed(0),
    }
}
