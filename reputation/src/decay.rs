//! How a word loses force as what it speaks of grows old. Owns the law; which source has which half-life
//! is the configuration's.

use std::num::NonZeroU32;

use thiserror::Error;

use crate::time::UnixSeconds;

/// After how many seconds a word has half its force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HalfLife(NonZeroU32);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "a half-life must be at least a second and at most {} seconds",
    u32::MAX
)]
pub struct HalfLifeError;

/// What is always left: an old bad word is not a clean one. Only an end of its own takes the rest away.
pub const FLOOR: f64 = 0.25;

impl HalfLife {
    pub fn from_secs(seconds: u64) -> Result<Self, HalfLifeError> {
        let seconds = u32::try_from(seconds).ok().and_then(NonZeroU32::new);
        seconds.map(Self).ok_or(HalfLifeError)
    }

    pub fn as_secs(self) -> u32 {
        self.0.get()
    }

    /// The share that is left at `now` of a word on what was `observed`: `2^(−age / half-life)`, and
    /// never less than [`FLOOR`]. A moment that is still to come counts as now.
    pub fn left(self, observed: UnixSeconds, now: UnixSeconds) -> f64 {
        let age = f64::from(observed.until(now));
        (-age / f64::from(self.0.get())).exp2().clamp(FLOOR, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::FRAC_1_SQRT_2;

    use proptest::prelude::*;

    use super::*;

    const DAY: u32 = 86_400;
    const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

    fn left(half_life: u32, age: u32) -> f64 {
        let half_life = HalfLife::from_secs(half_life.into()).unwrap();
        half_life.left(UnixSeconds(NOW.0 - age), NOW)
    }

    #[test]
    fn the_law_gives_the_golden_shares() {
        for (half_life, age, expected) in [
            (30 * DAY, 0, 1.0),
            (30 * DAY, 15 * DAY, FRAC_1_SQRT_2),
            (30 * DAY, 30 * DAY, 0.5),
            (30 * DAY, 45 * DAY, 0.353_553),
            (30 * DAY, 60 * DAY, 0.25),
            (30 * DAY, 400 * DAY, 0.25),
            (DAY, DAY / 2, FRAC_1_SQRT_2),
            (u32::MAX, DAY, 0.999_986),
        ] {
            let given = left(half_life, age);
            assert!((given - expected).abs() < 1e-6, "{half_life} {age} {given}");
        }
    }

    #[test]
    fn a_moment_that_is_still_to_come_counts_as_now() {
        let half_life = HalfLife::from_secs(DAY.into()).unwrap();
        assert_eq!(
            half_life.left(NOW.plus(7 * DAY), NOW).to_bits(),
            1.0_f64.to_bits()
        );
    }

    #[test]
    fn what_never_ends_or_is_over_at_once_is_no_half_life() {
        for seconds in [0, u64::from(u32::MAX) + 1] {
            assert_eq!(HalfLife::from_secs(seconds), Err(HalfLifeError));
        }
    }

    proptest! {
        #[test]
        fn the_older_the_less_and_never_more_than_all_nor_less_than_the_floor(
            half_life in 1..=u32::MAX,
            younger in 0..=NOW.0,
            older in 0..=NOW.0,
        ) {
            let (younger, older) = (younger.min(older), younger.max(older));
            let (more, less) = (left(half_life, younger), left(half_life, older));
            prop_assert!(less <= more);
            prop_assert!((FLOOR..=1.0).contains(&less) && (FLOOR..=1.0).contains(&more));
        }
    }
}
