//! From what sources say to one score. Owns the arithmetic and the shipped weights; what a score leads
//! to is `policy`'s.

use std::collections::BTreeMap;

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
    pub const STRONG: Self = Self(0.75);
    pub const MEDIUM: Self = Self(0.5);
    pub const WEAK: Self = Self(0.3);

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
}

/// Families count by their highest contribution; `100 · (1 − Π (1 − w·s/100))` over them.
pub fn combine(indicators: &[Indicator], asked: usize) -> Score {
    let mut families: BTreeMap<&str, Contribution> = BTreeMap::new();
    for (at, indicator) in indicators.iter().enumerate() {
        let given = Contribution::of(indicator, at);
        let family = families.entry(&indicator.family).or_insert(given);
        if given.share > family.share {
            *family = given;
        }
    }
    let good = families
        .values()
        .map(|family| 1.0 - family.share)
        .product::<f64>();
    let only_weak = families
        .values()
        .all(|family| family.weight <= WEAK_AT_MOST);
    let value = percent(1.0 - good);
    let top = families.values().filter(|family| family.share > 0.0);
    let top = top.max_by(|one, other| {
        one.share
            .total_cmp(&other.share)
            .then(other.indicator.cmp(&one.indicator))
    });
    Score {
        value: if only_weak {
            value.min(WEAK_CAP)
        } else {
            value
        },
        coverage: Coverage {
            answered: indicators.len().min(asked),
            asked,
        },
        top: top.map(|family| family.indicator),
    }
}

/// Families of at most this weight are weak: together they never reach the shipped `malicious`.
const WEAK_AT_MOST: f64 = 0.4;
const WEAK_CAP: u8 = 79;

/// What one indicator adds.
#[derive(Debug, Clone, Copy)]
struct Contribution {
    /// 0 to 1.
    share: f64,
    weight: f64,
    indicator: usize,
}

impl Contribution {
    fn of(indicator: &Indicator, at: usize) -> Self {
        let weight = indicator.weight.get();
        let share = weight * f64::from(indicator.score.min(100)) / 100.0;
        Self {
            share,
            weight,
            indicator: at,
        }
    }
}

/// Rounds 0.0..=1.0 to 0..=100.
fn percent(share: f64) -> u8 {
    (0..=100_u8)
        .rev()
        .find(|value| f64::from(*value) - 0.5 <= share * 100.0)
        .unwrap_or(0)
}
