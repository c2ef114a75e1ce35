//! From what sources say to one score. Owns the arithmetic; what a score leads to is `policy`'s, how a
//! word ages `decay`'s.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::decay::HalfLife;
use crate::policy::Policy;
use crate::time::UnixSeconds;

/// What one source says of an address or prefix.
#[derive(Debug, Clone, PartialEq)]
pub struct Indicator {
    pub source: String,
    /// Sources that copy from each other are one family: it counts once.
    pub family: String,
    /// 0 to 100.
    pub score: u8,
    pub stance: Stance,
    pub weight: Weight,
    pub categories: Vec<String>,
    /// What it speaks of was seen then, or its word is of then: its age. `None` speaks of now.
    pub observed: Option<UnixSeconds>,
    /// `None`: its word keeps its force.
    pub half_life: Option<HalfLife>,
    /// From then on it counts as nothing.
    pub expires: Option<UnixSeconds>,
}

/// What kind of word it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stance {
    /// It says how bad the address is.
    #[default]
    Rated,
    /// It vouches for the address: whatever others say, the score stays low.
    Trusted,
}

/// How far a source's word alone is believed: 0 (not at all) to 1 (as it stands).
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Weight(f64);

#[derive(Debug, Clone, Copy, PartialEq, Error)]
#[error("weight = {0} must be a number from 0 to 1")]
pub struct WeightError(f64);

/// All that is known, in one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Score {
    /// 0 to 100.
    pub value: u8,
    pub coverage: Coverage,
    /// The indicator that weighed most, if any weighed at all.
    pub top: Option<usize>,
    /// That somebody vouches for the address, if the score would be higher without.
    pub cap: Option<Cap>,
}

/// Why a score is lower than what was said against the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cap {
    /// The indicator that vouches.
    pub by: usize,
    /// What the score would be.
    pub from: u8,
}

/// How many sources answered of those that should have. A missing answer is not a clean one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coverage {
    pub answered: usize,
    pub asked: usize,
}

/// What becomes of one indicator in the arithmetic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weighed {
    /// What its age leaves of its word: 1 is all.
    pub left: f64,
    /// Weight times score times what is left: 0 to 1.
    pub share: f64,
    pub part: Part,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// It speaks for its family.
    Counts,
    /// Another of its family weighs more.
    Outweighed,
    /// It caps the score.
    Caps,
    /// It would vouch, and has no weight or is too old to.
    Powerless,
    Expired,
}

impl Weight {
    /// A source with evidence of its own. Short of believing it alone: 0.75 · 100 is no refusal.
    pub const STRONG: Self = Self(0.75);
    /// A source that is good but copies, or is slow to forget.
    pub const MEDIUM: Self = Self(0.5);
    /// A hint: datacenter, proxy, a single report.
    pub const WEAK: Self = Self(0.3);

    /// Families of at most this weight are weak.
    const WEAK_AT_MOST: f64 = 0.4;

    pub fn new(weight: f64) -> Result<Self, WeightError> {
        if (0.0..=1.0).contains(&weight) {
            Ok(Self(weight))
        } else {
            Err(WeightError(weight))
        }
    }

    pub fn get(self) -> f64 {
        self.0
    }

    fn is_weak(self) -> bool {
        self.0 <= Self::WEAK_AT_MOST
    }
}

impl Indicator {
    fn is_expired(&self, now: UnixSeconds) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// What its age leaves of its word: 1 is all.
    fn left(&self, now: UnixSeconds) -> f64 {
        match (self.half_life, self.observed) {
            (Some(half_life), Some(observed)) => half_life.left(observed, now),
            _ => 1.0,
        }
    }

    /// Whoever is not believed at all, or spoke of what is long past, vouches for nobody.
    fn vouches(&self, now: UnixSeconds) -> bool {
        let has_force = self.weight.get() > 0.0 && self.left(now) >= VOUCHES_FROM;
        self.stance == Stance::Trusted && has_force && !self.is_expired(now)
    }

    fn share(&self, now: UnixSeconds) -> f64 {
        match self.stance {
            Stance::Rated => {
                self.weight.get() * self.left(now) * f64::from(self.score.min(100)) / 100.0
            }
            Stance::Trusted => 0.0,
        }
    }
}

/// The highest share that weak families reach together: just below the shipped `malicious`.
const WEAK_TOGETHER: f64 = 0.79;

/// A trusted word of which age leaves less caps nothing: no share of a cap would mean anything.
const VOUCHES_FROM: f64 = 0.5;

/// One number out of all that was said, by these rules:
///
/// - *A family counts once*, by the indicator that weighs most, because sources that copy from each
///   other are one witness.
/// - *A word ages*: what a source's half-life leaves of it is what counts, and nothing once it expired.
/// - *Families are independent witnesses*: each leaves `1 − w·s/100` of the innocence that the others
///   left, so the score is `100 · (1 − Π (1 − w·s/100))`. It only rises as families are added, and never
///   beyond 100.
/// - *Hints do not add up to proof*: weak families count together for at most 79, whatever their number;
///   only a witness that is not weak lifts the score beyond that, and only by what he says.
/// - *A weight that an operator sets to 1 is taken at its word*: a score of 90 is 90.
/// - *Who is vouched for is not flagged*: one trusted word caps the score at
///   [`Policy::trusted_at_most`], if it has a weight and half its force. What stands outside the arithmetic, a decision or a hard source, is not
///   touched by that.
///
/// A source that has nothing against the address says so with a score of 0. `asked` is the number of
/// sources that should have answered; a missing answer lowers the coverage and nothing else.
pub fn combine(indicators: &[Indicator], asked: usize, policy: Policy, now: UnixSeconds) -> Score {
    let families = families(indicators, now);
    let left = |weak: bool| {
        let those = families
            .values()
            .filter(|family| family.weight.is_weak() == weak);
        those.map(|family| 1.0 - family.share).product::<f64>()
    };
    let innocence = left(true).max(1.0 - WEAK_TOGETHER) * left(false);
    let top = families
        .values()
        .filter(|family| family.share > 0.0)
        .max_by(|one, other| {
            one.share
                .total_cmp(&other.share)
                .then(other.indicator.cmp(&one.indicator))
        });
    let mut live = indicators.iter().enumerate();
    let vouching = live.find(|(_, said)| said.vouches(now));
    let (said, most) = (percent(1.0 - innocence), policy.trusted_at_most());
    let cap = vouching
        .filter(|_| said > most)
        .map(|(by, _)| Cap { by, from: said });
    Score {
        value: cap.map_or(said, |_| most),
        coverage: Coverage {
            answered: sources(indicators, now).min(asked),
            asked,
        },
        top: top.map(|family| family.indicator),
        cap,
    }
}

/// What [`combine`] makes of each of `indicators`, in their order.
pub fn weighed(indicators: &[Indicator], now: UnixSeconds) -> Vec<Weighed> {
    let families = families(indicators, now);
    let speaks = |at: usize| families.values().any(|family| family.indicator == at);
    let each = indicators.iter().enumerate();
    let weigh = |(at, said): (usize, &Indicator)| Weighed {
        left: if said.is_expired(now) {
            0.0
        } else {
            said.left(now)
        },
        share: if said.is_expired(now) {
            0.0
        } else {
            said.share(now)
        },
        part: match said.stance {
            _ if said.is_expired(now) => Part::Expired,
            Stance::Trusted if said.vouches(now) => Part::Caps,
            Stance::Trusted => Part::Powerless,
            Stance::Rated if speaks(at) => Part::Counts,
            Stance::Rated => Part::Outweighed,
        },
    };
    each.map(weigh).collect()
}

/// What a family says: its indicator that weighs most, the first of equals.
#[derive(Debug, Clone, Copy)]
struct Family {
    /// Weight times score times what age leaves, 0 to 1.
    share: f64,
    weight: Weight,
    indicator: usize,
}

fn families(indicators: &[Indicator], now: UnixSeconds) -> BTreeMap<&str, Family> {
    let mut families = BTreeMap::new();
    let each = indicators.iter().enumerate();
    let rated = each.filter(|(_, said)| said.stance == Stance::Rated && !said.is_expired(now));
    for (at, indicator) in rated {
        let given = Family {
            share: indicator.share(now),
            weight: indicator.weight,
            indicator: at,
        };
        let family = families.entry(indicator.family.as_str()).or_insert(given);
        if given.share > family.share {
            *family = given;
        }
    }
    families
}

fn sources(indicators: &[Indicator], now: UnixSeconds) -> usize {
    let live = indicators.iter().filter(|said| !said.is_expired(now));
    let sources: BTreeSet<_> = live.map(|said| &said.source).collect();
    sources.len()
}

/// The nearest whole percentage of a share from 0 to 1.
fn percent(share: f64) -> u8 {
    (0..100)
        .find(|value| share * 100.0 < f64::from(*value) + 0.5)
        .unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::Band;

    const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
    const DAY: u32 = 86_400;

    fn said(family: &str, weight: Weight, score: u8) -> Indicator {
        Indicator {
            source: format!("{family}-{score}"),
            family: family.to_owned(),
            score,
            stance: Stance::Rated,
            weight,
            categories: Vec::new(),
            observed: None,
            half_life: None,
            expires: None,
        }
    }

    fn trusted(family: &str) -> Indicator {
        Indicator {
            stance: Stance::Trusted,
            ..said(family, Weight::STRONG, 0)
        }
    }

    /// Said of what was seen so many days ago, by a source with a half-life of 30 days.
    fn aged(family: &str, weight: Weight, score: u8, days: u32) -> Indicator {
        Indicator {
            observed: Some(UnixSeconds(NOW.0 - days * DAY)),
            half_life: HalfLife::from_secs(u64::from(30 * DAY)).ok(),
            ..said(family, weight, score)
        }
    }

    fn all(indicators: &[Indicator]) -> Score {
        combine(indicators, indicators.len(), Policy::default(), NOW)
    }

    /// One indicator per family.
    fn value(said_by: &[(Weight, u8)]) -> u8 {
        let indicators = said_by.iter().enumerate();
        let indicators: Vec<_> = indicators
            .map(|(at, (weight, score))| said(&at.to_string(), *weight, *score))
            .collect();
        all(&indicators).value
    }

    #[test]
    fn the_shipped_weights_give_the_golden_scores() {
        const STRONG: Weight = Weight::STRONG;
        const MEDIUM: Weight = Weight::MEDIUM;
        const WEAK: Weight = Weight::WEAK;
        for (said_by, expected) in [
            (&[][..], 0),
            (&[(STRONG, 0)], 0),
            (&[(STRONG, 100)], 75),
            (&[(MEDIUM, 100)], 50),
            (&[(WEAK, 100)], 30),
            (&[(STRONG, 75), (STRONG, 75)], 81),
            (&[(STRONG, 100), (STRONG, 100)], 94),
            (&[(STRONG, 100), (MEDIUM, 50)], 81),
            (&[(STRONG, 60), (WEAK, 100)], 62),
            (&[(MEDIUM, 100), (MEDIUM, 100)], 75),
            (&[(MEDIUM, 100), (MEDIUM, 100), (MEDIUM, 100)], 88),
            (&[(WEAK, 100), (WEAK, 100)], 51),
            (&[(WEAK, 100); 8], 79),
            (&[(WEAK, 100); 200], 79),
        ] {
            assert_eq!(value(said_by), expected, "{said_by:?}");
        }
    }

    #[test]
    fn a_strong_source_that_says_nothing_does_not_free_the_weak_ones() {
        let mut said_by = vec![(Weight::WEAK, 100); 50];
        said_by.push((Weight::STRONG, 0));
        assert_eq!(value(&said_by), 79);
        said_by.push((Weight::STRONG, 50));
        assert_eq!(value(&said_by), 87);
    }

    #[test]
    fn a_weight_of_one_is_taken_at_its_word() {
        assert_eq!(value(&[(Weight::new(1.0).unwrap(), 90)]), 90);
        assert_eq!(
            value(&[(Weight::new(1.0).unwrap(), 100), (Weight::STRONG, 100)]),
            100
        );
    }

    #[test]
    fn a_family_counts_once_and_the_indicator_that_weighed_most_is_named() {
        let indicators = [
            said("a", Weight::STRONG, 40),
            said("a", Weight::STRONG, 90),
            said("b", Weight::WEAK, 100),
            said("c", Weight::STRONG, 0),
        ];
        let score = combine(&indicators, 6, Policy::default(), NOW);
        assert_eq!(score.value, 77);
        assert_eq!(score.top, Some(1));
        assert_eq!(
            score.coverage,
            Coverage {
                answered: 4,
                asked: 6
            }
        );
        assert_eq!(all(&indicators[3..]).top, None);
    }

    #[test]
    fn only_numbers_from_0_to_1_are_weights() {
        for weight in [f64::NAN, f64::INFINITY, -0.1, 1.000_001] {
            assert!(
                Weight::new(weight)
                    .unwrap_err()
                    .to_string()
                    .contains("from 0 to 1")
            );
        }
        assert!(Weight::new(0.0).is_ok() && Weight::new(1.0).is_ok());
    }

    #[test]
    fn age_gives_the_golden_scores() {
        for (said_by, expected) in [
            (vec![aged("a", Weight::STRONG, 100, 0)], 75),
            (vec![aged("a", Weight::STRONG, 100, 30)], 38),
            (vec![aged("a", Weight::STRONG, 100, 60)], 19),
            (vec![aged("a", Weight::STRONG, 100, 3000)], 19),
            (
                vec![
                    aged("a", Weight::STRONG, 75, 0),
                    aged("b", Weight::STRONG, 75, 0),
                ],
                81,
            ),
            (
                vec![
                    aged("a", Weight::STRONG, 75, 0),
                    aged("b", Weight::STRONG, 75, 30),
                ],
                69,
            ),
            (
                vec![
                    aged("a", Weight::STRONG, 100, 90),
                    aged("a", Weight::WEAK, 100, 0),
                ],
                30,
            ),
        ] {
            assert_eq!(all(&said_by).value, expected, "{said_by:?}");
        }
    }

    #[test]
    fn one_trusted_word_keeps_the_score_well_under_suspicious() {
        let bad = [
            said("a", Weight::STRONG, 100),
            said("b", Weight::STRONG, 100),
        ];
        let vouched = [bad[0].clone(), trusted("c"), bad[1].clone()];
        assert_eq!(all(&bad).value, 94);
        assert_eq!(all(&vouched).value, 20);
        assert_eq!(all(&vouched).cap, Some(Cap { by: 1, from: 94 }));
        let strict = Policy::new(10, 40).unwrap();
        assert_eq!(combine(&vouched, 3, strict, NOW).value, 5);
        let mild = [said("a", Weight::WEAK, 50), trusted("c")];
        assert_eq!((all(&mild).value, all(&mild).cap), (15, None));
        assert_eq!(all(&[trusted("c")]).value, 0);
    }

    #[test]
    fn a_trusted_word_of_no_weight_or_that_lost_half_its_force_vouches_for_nobody() {
        let bad = [
            said("a", Weight::STRONG, 100),
            said("b", Weight::STRONG, 100),
        ];
        let vouched_by = |word: Indicator| [bad[0].clone(), bad[1].clone(), word];
        let old = |days| Indicator {
            stance: Stance::Trusted,
            ..aged("c", Weight::STRONG, 0, days)
        };
        let unbelieved = Indicator {
            weight: Weight::new(0.0).unwrap(),
            ..trusted("c")
        };
        for (word, expected, part) in [
            (trusted("c"), 20, Part::Caps),
            (unbelieved, 94, Part::Powerless),
            (old(0), 20, Part::Caps),
            (old(30), 20, Part::Caps),
            (old(31), 94, Part::Powerless),
            (old(4000), 94, Part::Powerless),
        ] {
            let words = vouched_by(word);
            assert_eq!(all(&words).value, expected, "{words:?}");
            assert_eq!(weighed(&words, NOW)[2].part, part, "{words:?}");
        }
        let both = [bad[0].clone(), bad[1].clone(), old(31), trusted("d")];
        assert_eq!(all(&both).cap, Some(Cap { by: 3, from: 94 }));
    }

    #[test]
    fn what_expired_counts_as_nothing_neither_against_nor_for_an_address() {
        let expired = |word: Indicator| Indicator {
            expires: Some(NOW),
            ..word
        };
        let bad = said("a", Weight::STRONG, 100);
        let both = [expired(bad.clone()), said("b", Weight::MEDIUM, 100)];
        assert_eq!((all(&both).value, all(&both).coverage.answered), (50, 1));
        assert_eq!(all(&[bad.clone(), expired(trusted("c"))]).value, 75);
        let parts = weighed(&both, NOW)
            .iter()
            .map(|one| one.part)
            .collect::<Vec<_>>();
        assert_eq!(parts, [Part::Expired, Part::Counts]);
        let later = Indicator {
            expires: Some(NOW.plus(1)),
            ..bad
        };
        assert_eq!(all(&[later]).value, 75);
    }

    #[test]
    fn each_word_is_told_apart_by_what_becomes_of_it() {
        let indicators = [
            said("a", Weight::STRONG, 40),
            aged("a", Weight::STRONG, 90, 30),
            trusted("b"),
        ];
        let weighed = weighed(&indicators, NOW);
        let parts: Vec<_> = weighed.iter().map(|one| one.part).collect();
        assert_eq!(parts, [Part::Outweighed, Part::Counts, Part::Caps]);
        assert!((weighed[1].left - 0.5).abs() < 1e-9);
        assert!((weighed[1].share - 0.3375).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn a_word_never_weighs_more_for_being_older(
            weight in 0.0..=1.0_f64,
            score in 0..=100_u8,
            younger in 0..4000_u32,
            older in 0..4000_u32,
        ) {
            let (younger, older) = (younger.min(older), younger.max(older));
            let weight = Weight::new(weight).unwrap();
            let other = said("other", Weight::MEDIUM, 60);
            let of_age = |days| all(&[aged("a", weight, score, days), other.clone()]).value;
            let undecayed = all(&[said("a", weight, score), other.clone()]).value;
            prop_assert!(of_age(older) <= of_age(younger));
            prop_assert!(of_age(younger) <= undecayed);
            prop_assert!(of_age(older) >= all(std::slice::from_ref(&other)).value);
        }

        #[test]
        fn whoever_is_vouched_for_is_clean_whatever_is_said(
            said_by in prop::collection::vec((0.0..=1.0_f64, 0..=100_u8), 0..12),
            suspicious in 1..=99_u8,
        ) {
            let policy = Policy::new(suspicious, 100).unwrap();
            let word = |(at, (weight, score)): (usize, &(f64, u8))| {
                said(&at.to_string(), Weight::new(*weight).unwrap(), *score)
            };
            let mut words: Vec<_> = said_by.iter().enumerate().map(word).collect();
            words.push(trusted("friend"));
            let score = combine(&words, words.len(), policy, NOW);
            prop_assert_eq!(policy.band(score.value), Band::Clean);
        }

        #[test]
        fn another_witness_never_lowers_a_score(
            said_by in prop::collection::vec((0.0..=1.0_f64, 0..=100_u8), 1..12),
        ) {
            let weighed = |(weight, score): &(f64, u8)| (Weight::new(*weight).unwrap(), *score);
            let said_by: Vec<_> = said_by.iter().map(weighed).collect();
            let all = value(&said_by);
            prop_assert!(all <= 100);
            prop_assert!(value(&said_by[1..]) <= all);
        }

        #[test]
        fn neither_one_shipped_source_nor_any_number_of_weak_ones_refuses(
            weak in prop::collection::vec((0.0..=0.4_f64, 0..=100_u8), 0..40),
            score in 0..=100_u8,
        ) {
            let weighed = |(weight, score): &(f64, u8)| (Weight::new(*weight).unwrap(), *score);
            let weak: Vec<_> = weak.iter().map(weighed).collect();
            let refused = |value| Policy::default().band(value) == Band::Malicious;
            prop_assert!(!refused(value(&weak)));
            prop_assert!(!refused(value(&[(Weight::STRONG, score)])));
        }
    }
}
