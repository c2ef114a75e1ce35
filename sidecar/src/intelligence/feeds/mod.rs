//! Lists of addresses: what is loaded from them and what they say of an address.
//!
//! `formats` reads them, `fetch` (and `file`) gets them, `guard` decides what is taken, `last_good` keeps the
//! copy that survives a restart, `rehearsal` tries a new version in shadow, `slot` holds one feed's state, `keeper`
//! runs each feed's life, `trial` tries its key, and `change` follows the configuration. This module owns what is in
//! force.

mod change;
mod fetch;
pub mod file;
pub mod formats;
pub mod guard;
mod keeper;
mod last_good;
mod rehearsal;
mod slot;
mod status;
mod trial;

use std::collections::HashMap;
use std::sync::Arc;

use reputation::score::{Indicator, Stance, Weight};
use reputation::{Band, Cidr, ClientAddress, Policy, UnixSeconds, score};

pub use fetch::{FetchError, Fetched, Stamp};
pub use formats::Listing;
pub use keeper::{Keeper, Needs, ReleaseError};
pub use slot::Slot;
pub use status::{FeedStatus, place};
pub use trial::try_key;

use super::prefixes::PrefixMapBuilder;
use crate::config::{Feed, FeedRole, ListScore};

/// A feed's version that is in force.
#[derive(Debug)]
pub struct LoadedFeed {
    pub config: Arc<Feed>,
    pub weight: Weight,
    /// What has a say.
    pub listing: Arc<Listing>,
    /// What has none yet.
    pub shadow: Arc<Listing>,
    /// When this version came.
    pub fetched: UnixSeconds,
}

/// All feeds that are in force, in the order of the configuration.
#[derive(Debug, Clone, Default)]
pub struct FeedsView {
    slots: Vec<Option<Arc<LoadedFeed>>>,
}

/// Who is listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hearing {
    /// Whoever has a say.
    InForce,
    /// Everybody, as if none were in shadow.
    All,
}

/// One entry of one feed that holds an address.
#[derive(Debug, Clone, Copy)]
pub struct Hit<'a> {
    pub feed: &'a LoadedFeed,
    pub cidr: Cidr,
    pub score: u8,
    pub in_shadow: bool,
}

impl LoadedFeed {
    pub fn new(config: Arc<Feed>, listing: Listing, fetched: UnixSeconds) -> Self {
        let weight = match config.role {
            FeedRole::Score { weight, .. } => weight,
            FeedRole::Block | FeedRole::Allow => Weight::STRONG,
        };
        let (listing, shadow) = split(listing, &config);
        Self {
            config,
            weight,
            listing: Arc::new(listing),
            shadow: Arc::new(shadow),
            fetched,
        }
    }

    /// The same with what `next` lists beyond it, or rates worse, in shadow, if that is anything.
    pub fn trying(&self, next: &Listing) -> Option<Self> {
        let known = self.listing.iter().chain(self.shadow.iter());
        let known: HashMap<Cidr, u8> = known.collect();
        let is_worse = |cidr: &Cidr, score: u8| known.get(cidr).is_none_or(|known| score > *known);
        let mut shadow = PrefixMapBuilder::new();
        let mut worse = 0_usize;
        for (cidr, score) in next.iter().filter(|(cidr, score)| is_worse(cidr, *score)) {
            shadow.push(cidr, score);
            worse += 1;
        }
        for (cidr, score) in self.shadow.iter() {
            shadow.push(cidr, score);
        }
        (worse > 0).then(|| Self {
            config: Arc::clone(&self.config),
            weight: self.weight,
            listing: Arc::clone(&self.listing),
            shadow: Arc::new(shadow.build_greatest()),
            fetched: self.fetched,
        })
    }

    /// With those in shadow.
    pub fn entries(&self) -> usize {
        self.listing.len() + self.shadow.len()
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
    pub fn hits(&self, address: ClientAddress, hearing: Hearing) -> Vec<Hit<'_>> {
        let hits = |feed| entries_of(feed, address, hearing);
        self.loaded().flat_map(hits).collect()
    }

    /// What the soft feeds say of `address`, one word each.
    pub fn indicators(&self, address: ClientAddress, hearing: Hearing) -> Vec<Indicator> {
        let word = |feed: &LoadedFeed| {
            let worst = entries_of(feed, address, hearing)
                .map(|hit| hit.score)
                .max()?;
            Some(feed.indicator(worst))
        };
        let soft = self.loaded().filter(|feed| feed.is_soft());
        soft.filter_map(word).collect()
    }

    /// Whether a soft feed, or one in shadow, tells addresses inside `cidr` apart.
    pub fn splits(&self, cidr: Cidr) -> bool {
        let tells_apart = |feed: &LoadedFeed| {
            (feed.is_soft() && feed.listing.splits(cidr)) || feed.shadow.splits(cidr)
        };
        self.loaded().any(tells_apart)
    }

    pub fn soft_feeds(&self, hearing: Hearing) -> usize {
        let heard = |feed: &&LoadedFeed| {
            feed.is_soft() && (hearing == Hearing::All || !feed.config.say.is_none())
        };
        self.loaded().filter(heard).count()
    }

    /// Whether anything is listed that has no say.
    pub fn have_shadow(&self) -> bool {
        self.loaded().any(|feed| !feed.shadow.is_empty())
    }

    /// Whether the feeds alone would have `address` refused.
    pub fn deny(&self, address: ClientAddress, policy: Policy) -> bool {
        let stands_on = |role: fn(&FeedRole) -> bool| {
            let feeds = self.loaded().filter(move |feed| role(&feed.config.role));
            feeds
                .flat_map(|feed| entries_of(feed, address, Hearing::InForce))
                .next()
                .is_some()
        };
        if stands_on(|role| matches!(role, FeedRole::Allow)) {
            return false;
        }
        let words = self.indicators(address, Hearing::InForce);
        let asked = self.soft_feeds(Hearing::InForce);
        let score = score::combine(&words, asked, policy, NOW_OF_LISTS);
        stands_on(|role| matches!(role, FeedRole::Block))
            || policy.band(score.value) == Band::Malicious
    }
}

/// Lists do not age: their words weigh the same at any time.
pub const NOW_OF_LISTS: UnixSeconds = UnixSeconds(0);

fn entries_of(
    feed: &LoadedFeed,
    address: ClientAddress,
    hearing: Hearing,
) -> impl Iterator<Item = Hit<'_>> {
    let hit = move |(cidr, score), in_shadow| Hit {
        feed,
        cidr,
        score,
        in_shadow,
    };
    let in_force = feed.listing.containing(address).into_iter();
    let shadow = (hearing == Hearing::All).then(|| feed.shadow.containing(address));
    let shadow = shadow.into_iter().flatten();
    in_force
        .map(move |entry| hit(entry, false))
        .chain(shadow.map(move |entry| hit(entry, true)))
}

/// Those that have a say, and those that have none.
fn split(listing: Listing, config: &Feed) -> (Listing, Listing) {
    let nothing = || PrefixMapBuilder::new().build();
    if config.say.is_whole() {
        return (listing, nothing());
    }
    if config.say.is_none() {
        return (nothing(), listing);
    }
    let (mut in_force, mut shadow) = (PrefixMapBuilder::new(), PrefixMapBuilder::new());
    for (cidr, score) in listing.iter() {
        match config.say.covers(&config.name, cidr.network()) {
            true => in_force.push(cidr, score),
            false => shadow.push(cidr, score),
        }
    }
    (in_force.build(), shadow.build())
}

/// The score that a feed's entries get where the list itself does not say one.
fn list_score(role: FeedRole) -> ListScore {
    match role {
        FeedRole::Score { score, .. } => score,
        FeedRole::Block => ListScore::Fixed(100),
        FeedRole::Allow => ListScore::Fixed(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intelligence::testing::file_feed;

    fn listing(entries: &[(&str, u8)]) -> Listing {
        let mut listing = PrefixMapBuilder::new();
        for (cidr, score) in entries {
            listing.push(cidr.parse().unwrap(), *score);
        }
        listing.build()
    }

    #[test]
    fn a_trial_holds_what_is_new_and_what_a_list_rates_worse_than_before() {
        let before = listing(&[("9.0.0.1/32", 50), ("9.0.0.2/32", 50), ("9.0.0.3/32", 50)]);
        let next = [
            ("9.0.0.1/32", 50),
            ("9.0.0.2/32", 90),
            ("9.0.0.3/32", 40),
            ("9.0.0.4/32", 20),
        ];
        let feed = Arc::new(file_feed("one", "/nowhere"));
        let feed = LoadedFeed::new(feed, before.clone(), UnixSeconds(0));
        let trying = feed.trying(&listing(&next)).unwrap();
        let tried: Vec<_> = trying.shadow.iter().collect();
        let worse = listing(&[("9.0.0.2/32", 90), ("9.0.0.4/32", 20)]);
        assert_eq!(tried, worse.iter().collect::<Vec<_>>());
        let lower = listing(&[("9.0.0.1/32", 50), ("9.0.0.2/32", 10)]);
        assert!(feed.trying(&before).is_none() && feed.trying(&lower).is_none());
    }
}
