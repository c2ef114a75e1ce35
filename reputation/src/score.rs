//! From what sources say to one score. Owns the arithmetic and the shipped weights; what a score leads
//! to is `policy`'s.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::time::UnixSeconds;

/// What one source says of an address or prefix.
#[derive(Debug, Clone, PartialEq)]
pub struct Indicator {
    pub source: String,
    /// Sources that copy from each other are one family: it counts once.
    pub family: String,
    /// 0 to 100.
    pub score: u8,
    pub weight: Weight,
    pub categories: Vec<String>,
    pub observed: Option<UnixSeconds>,
    pub expires: Option<UnixSeconds>,
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
}

/// How many sources answered of those that should have. A missing answer is not a clean one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coverage {
    pub answered: usize,
    pub asked: usize,
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

/// The highest share that weak families reach together: just below the shipped `malicious`.
const WEAK_TOGETHER: f64 = 0.79;

/// One number out of all that was said, by these rules:
///
/// - *A family counts once*, by the indicator that weighs most, because sources that copy from each
///   other are one witness.
/// - *Families are independent witnesses*: each leaves `1 − w·s/100` of the innocence that the others
///   left, so the score is `100 · (1 − Π (1 − w·s/100))`. It only rises as families are added, and never
///   beyond 100.
/// - *Hints do not add up to proof*: weak families count together for at most 79, whatever their number;
///   only a witness that is not weak lifts the score beyond that, and only by what he says.
/// - *A weight that an operator sets to 1 is taken at its word*: a score of 90 is 90.
///
/// A source that has nothing against the address says so with a score of 0. `asked` is the number of
/// sources that should have answered; a missing answer lowers the coverage and nothing else.
pub fn combine(indicators: &[Indicator], asked: usize) -> Score {
    let families = families(indicators);
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
    let sources: BTreeSet<_> = indicators
        .iter()
        .map(|indicator| &indicator.source)
        .collect();
    Score {
        value: percent(1.0 - innocence),
        coverage: Coverage {
            answered: sources.len().min(asked),
            asked,
        },
        top: top.map(|family| family.indicator),
    }
}

/// What a family says: its indicator that weighs most, the first of equals.
#[derive(Debug, Clone, Copy)]
struct Family {
    /// Weight times score, 0 to 1.
    share: f64,
    weight: Weight,
    indicator: usize,
}

fn families(indicators: &[Indicator]) -> BTreeMap<&str, Family> {
    let mut families = BTreeMap::new();
    for (at, indicator) in indicators.iter().enumerate() {
        let weight = indicator.weight;
        let share = weight.get() * f64::from(indicator.score.min(100)) / 100.0;
        let given = Family {
            share,
            weight,
            indicator: at,
        };
        let family = families.entry(indicator.family.as_str()).or_insert(given);
        if given.share > family.share {
            *family = given;
        }
    }
    families
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
    use crate::policy::{Band, Policy};

    fn said(family: &str, weight: Weight, score: u8) -> Indicator {
        Indicator {
            source: format!("{family}-{score}"),
            family: family.to_owned(),
            score,
            weight,
            categories: Vec::new(),
            observed: None,
            expires: None,
        }
    }

    /// One indicator per family.
    fn value(said_by: &[(Weight, u8)]) -> u8 {
        let indicators = said_by.iter().enumerate();
        let indicators: Vec<_> = indicators
            .map(|(at, (weight, score))| said(&at.to_string(), *weight, *score))
            .collect();
        combine(&indicators, indicators.len()).value
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
        let score = combine(&indicators, 6);
        assert_eq!(score.value, 77);
        assert_eq!(score.top, Some(1));
        assert_eq!(
            score.coverage,
            Coverage {
                answered: 4,
                asked: 6
            }
        );
        assert_eq!(combine(&indicators[3..], 1).top, None);
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

    proptest! {
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
