//! The soft feeds' scores, combined once per prefix: an address that stands on several lists gets one
//! entry that says what they say together.
//!
//! A sweep over all prefixes in order: whatever covers a prefix is open on a stack when it is reached,
//! so each prefix knows every list that speaks of it. Adding a list never lowers a score, so a longer
//! prefix never hides a worse shorter one.

use std::collections::HashMap;

use reputation::set::{Basis, Class};
use reputation::{Band, Cidr, Policy, Rank, score};

use super::compile::{Catalogue, Mark};
use crate::config::FeedRole;
use crate::intelligence::feeds::{FeedsView, LoadedFeed, NOW_OF_LISTS};
use crate::intelligence::prefixes::{Bits, Entry, PrefixMapBuilder};

/// Which soft feed says what, ascending by feed, each at most once.
type Said = Vec<Word>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Word {
    feed: usize,
    score: u8,
}

/// Scores sets of words, each different set once.
struct Scorer<'a> {
    feeds: &'a [&'a LoadedFeed],
    policy: Policy,
    catalogue: &'a mut Catalogue,
    known: HashMap<Said, Option<Mark>>,
}

/// A prefix that is still open in the sweep.
struct Open<N> {
    last: N,
    said: Said,
}

/// Adds what the soft feeds together hold to be suspicious or worse.
pub fn combine_into(
    feeds: &FeedsView,
    policy: Policy,
    catalogue: &mut Catalogue,
    entries: &mut PrefixMapBuilder<Mark>,
) {
    let soft: Vec<_> = feeds
        .loaded()
        .filter(|feed| matches!(feed.config.role, FeedRole::Score { .. }))
        .collect();
    let mut scorer = Scorer {
        feeds: &soft,
        policy,
        catalogue,
        known: HashMap::new(),
    };
    let v4 = words(&soft, |feed| feed.listing.v4());
    sweep(&v4, &mut scorer, entries);
    let v6 = words(&soft, |feed| feed.listing.v6());
    sweep(&v6, &mut scorer, entries);
}

fn words<'a, N: Bits + 'a>(
    feeds: &[&'a LoadedFeed],
    family: impl Fn(&'a LoadedFeed) -> &'a [Entry<N, u8>],
) -> Vec<Entry<N, Word>> {
    let mut words = Vec::new();
    for (at, feed) in feeds.iter().enumerate() {
        words.extend(family(feed).iter().map(|entry| Entry {
            network: entry.network,
            len: entry.len,
            value: Word {
                feed: at,
                score: entry.value,
            },
        }));
    }
    words.sort_unstable();
    words
}

fn sweep<N: Bits>(
    words: &[Entry<N, Word>],
    scorer: &mut Scorer<'_>,
    entries: &mut PrefixMapBuilder<Mark>,
) {
    let mut open: Vec<Open<N>> = Vec::new();
    let mut said = Said::new();
    for group in words.chunk_by(|one, other| (one.network, one.len) == (other.network, other.len)) {
        let Some(first) = group.first() else {
            continue;
        };
        while open.last().is_some_and(|outer| outer.last < first.network) {
            open.pop();
        }
        said.clear();
        if let Some(outer) = open.last() {
            said.extend_from_slice(&outer.said);
        }
        group.iter().for_each(|entry| add(&mut said, entry.value));
        if let Some(mark) = scorer.mark(&said)
            && let Some(cidr) = Cidr::new(first.network.address(), first.len)
        {
            entries.push(cidr, mark);
        }
        if first.len < N::WIDTH {
            open.push(Open {
                last: first.network.last(first.len),
                said: said.clone(),
            });
        }
    }
}

/// Of two words of one feed the worse counts.
fn add(said: &mut Said, word: Word) {
    match said.binary_search_by_key(&word.feed, |present| present.feed) {
        Ok(at) => {
            if let Some(present) = said.get_mut(at) {
                present.score = present.score.max(word.score);
            }
        }
        Err(at) => said.insert(at, word),
    }
}

impl Scorer<'_> {
    fn mark(&mut self, said: &Said) -> Option<Mark> {
        if let Some(known) = self.known.get(said) {
            return *known;
        }
        let mark = self.class(said).map(|class| self.catalogue.mark(class));
        self.known.insert(said.clone(), mark);
        mark
    }

    fn class(&self, said: &[Word]) -> Option<Class> {
        let indicators: Vec<_> = said
            .iter()
            .filter_map(|word| Some(self.feeds.get(word.feed)?.indicator(word.score)))
            .collect();
        let score = score::combine(&indicators, self.feeds.len(), self.policy, NOW_OF_LISTS);
        let band = self.policy.band(score.value);
        if band == Band::Clean {
            return None;
        }
        let top = score.top.and_then(|at| indicators.get(at));
        Some(Class {
            rank: Rank::Score,
            basis: Basis::Band(band),
            band,
            score: score.value,
            reason: top.map_or_else(String::new, |top| top.source.clone()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use reputation::score::Weight;
    use reputation::{ClientAddress, UnixSeconds};

    use super::*;
    use crate::config::{Guard, ListScore};
    use crate::intelligence::feeds::{Hearing, Listing};
    use crate::intelligence::testing::file_feed;
    use crate::snapshot::compile::{Listed, compile};

    fn feed(name: &str, role: FeedRole, entries: &[&str]) -> Arc<LoadedFeed> {
        let mut config = file_feed(name, "/nowhere");
        config.role = role;
        let mut listing = PrefixMapBuilder::new();
        for cidr in entries {
            listing.push(cidr.parse().unwrap(), 90);
        }
        let listing: Listing = listing.build();
        Arc::new(LoadedFeed::new(Arc::new(config), listing, UnixSeconds(1)))
    }

    fn soft(name: &str, weight: f64, entries: &[&str]) -> Arc<LoadedFeed> {
        let role = FeedRole::Score {
            score: ListScore::Fixed(90),
            weight: Weight::new(weight).unwrap(),
        };
        feed(name, role, entries)
    }

    fn compiled(feeds: Vec<Arc<LoadedFeed>>, guard: &Guard) -> Listed {
        let view = feeds.into_iter().enumerate();
        let view = view.fold(FeedsView::default(), |view, (at, feed)| view.with(at, feed));
        compile(&view, guard, Policy::default(), &mut Catalogue::default())
    }

    fn open() -> Guard {
        Guard {
            permit_special: true,
            ..Guard::default()
        }
    }

    fn class(listed: &Listed, cidr: &str) -> Vec<(Rank, u8, String)> {
        let cidr = cidr.parse().unwrap();
        let entries = listed.entries.inside(cidr);
        let classes = entries.into_iter().filter(|(entry, _)| *entry == cidr);
        let classes = classes.filter_map(|(_, mark)| listed.class(mark));
        let said = classes.map(|class| (class.rank, class.score, class.reason.clone()));
        said.collect()
    }

    #[test]
    fn an_address_on_several_lists_gets_one_entry_with_the_combined_score() {
        let listed = compiled(
            vec![
                soft("one", 0.75, &["198.18.0.0/16", "198.18.7.7"]),
                soft("two", 0.6, &["198.18.7.0/24"]),
            ],
            &open(),
        );
        let one = (Rank::Score, 68, "one".to_owned());
        let both = (Rank::Score, 85, "one".to_owned());
        assert_eq!(class(&listed, "198.18.0.0/16"), [one]);
        assert_eq!(class(&listed, "198.18.7.0/24"), std::slice::from_ref(&both));
        assert_eq!(class(&listed, "198.18.7.7/32"), [both]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        /// The plain model weighs every list's word on one address by itself.
        #[test]
        fn the_sweep_says_of_each_address_what_the_lists_say_of_it(
            lists in proptest::collection::vec(
                (1_u8..=10, proptest::collection::vec((0_u32..64, 24_u8..=32), 0..12)),
                0..4,
            ),
        ) {
            let cidr = |low: u32, len| {
                let address = ClientAddress::V4(0xc612_0000 + low);
                Cidr::new(address, len).unwrap().to_string()
            };
            let feeds = lists.iter().enumerate().map(|(at, (weight, entries))| {
                let entries: Vec<_> = entries.iter().map(|(low, len)| cidr(*low, *len)).collect();
                let entries: Vec<_> = entries.iter().map(String::as_str).collect();
                soft(&format!("list{at}"), f64::from(*weight) / 10.0, &entries)
            });
            let view = feeds.enumerate();
            let view = view.fold(FeedsView::default(), |view, (at, feed)| view.with(at, feed));
            let policy = Policy::default();
            let listed = compile(&view, &open(), policy, &mut Catalogue::default());
            for low in 0..300 {
                let address = ClientAddress::V4(0xc612_0000 + low);
                let words = view.indicators(address, Hearing::InForce);
                let asked = view.soft_feeds(Hearing::InForce);
                let expected = score::combine(&words, asked, policy, UnixSeconds(7)).value;
                let covering = listed.entries.containing(address);
                let longest = covering.last().and_then(|(_, mark)| listed.class(*mark));
                let found = longest.map(|class| class.score);
                let flagged = policy.band(expected) != Band::Clean;
                prop_assert_eq!(found, flagged.then_some(expected), "{}", address);
            }
        }
    }

    #[test]
    fn what_stays_clean_is_not_listed() {
        let listed = compiled(vec![soft("weak", 0.3, &["198.18.0.0/16"])], &open());
        assert_eq!(class(&listed, "198.18.0.0/16"), []);
    }

    #[test]
    fn the_same_prefix_is_listed_once_per_rank_and_the_first_hard_feed_names_it() {
        let listed = compiled(
            vec![
                feed("first", FeedRole::Block, &["198.18.0.1"]),
                feed("second", FeedRole::Block, &["198.18.0.1"]),
                soft("soft", 0.75, &["198.18.0.1"]),
                feed("friends", FeedRole::Allow, &["198.18.0.1"]),
            ],
            &open(),
        );
        assert_eq!(
            class(&listed, "198.18.0.1/32"),
            [
                (Rank::Score, 68, "soft".to_owned()),
                (Rank::HardSource, 100, "first".to_owned()),
                (Rank::Trusted, 0, "friends".to_owned()),
            ]
        );
    }

    #[test]
    fn protected_and_special_ranges_are_trusted_entries() {
        let guard = Guard {
            protect: vec!["198.18.3.0/24".parse().unwrap()],
            ..Guard::default()
        };
        let listed = compiled(Vec::new(), &guard);
        assert_eq!(
            class(&listed, "198.18.3.0/24"),
            [(Rank::Trusted, 0, "protected".to_owned())]
        );
        assert_eq!(
            class(&listed, "10.0.0.0/8"),
            [(Rank::Trusted, 0, "special-purpose".to_owned())]
        );
    }
}
