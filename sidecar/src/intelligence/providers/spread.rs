//! How a day's calls are released: some at once, the rest evenly until midnight, less a reserve for
//! addresses that are suspicious already. Nothing is remembered here: what is released follows from the
//! time of day, and what was used from the store's book, so that neither a restart nor another process
//! beside this one refills anything.

use reputation::UnixSeconds;

use crate::clock::SECONDS_PER_DAY;
use crate::config;

/// At least so many go out at once, and so many from one network, if the day has them: a share of a small
/// plan would be nothing.
const BURST_AT_LEAST: u32 = 20;
const NETWORK_AT_LEAST: u32 = 10;

/// Of how many calls a day, how many at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release {
    /// What anybody may have used by now.
    pub by_now: u32,
    /// The same, and the whole reserve: what the suspicious may have used.
    pub with_reserve: u32,
    /// What anybody may have used at the end of the day.
    pub open: u32,
    /// What one network may use of the day.
    pub per_network: u32,
}

impl Release {
    pub fn at(now: UnixSeconds, limit: u32, budget: &config::Budget) -> Self {
        let reserve = percent(limit, budget.reserve_percent);
        let open = limit.saturating_sub(reserve);
        let burst = percent(limit, budget.burst_percent)
            .max(BURST_AT_LEAST)
            .min(open);
        let elapsed = now.0 % SECONDS_PER_DAY;
        let by_now = burst.saturating_add(part(open.saturating_sub(burst), elapsed));
        Self {
            by_now,
            with_reserve: by_now.saturating_add(reserve),
            open,
            per_network: percent(limit, budget.network_percent).max(NETWORK_AT_LEAST),
        }
    }

    /// How often an address must have been seen to be asked about when so many are `left` of what is
    /// released: once while half is left, and once more with each halving, up to `most`.
    pub fn sightings_needed(&self, left: u32, most: u8) -> u8 {
        let scarce = |needed: &u8| {
            let released = u64::from(self.by_now);
            u64::from(left) << u32::from(*needed).min(16) < released
        };
        let enough = (1..most).find(|needed| !scarce(needed));
        enough.unwrap_or(most)
    }
}

fn percent(of: u32, percent: u8) -> u32 {
    let share = u64::from(of) * u64::from(percent) / 100;
    u32::try_from(share).unwrap_or(of)
}

/// The part of `of` that is due so many seconds after midnight.
fn part(of: u32, elapsed: u32) -> u32 {
    let due = u64::from(of) * u64::from(elapsed) / u64::from(SECONDS_PER_DAY);
    u32::try_from(due).unwrap_or(of)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u32, limit: u32) -> Release {
        let now = UnixSeconds(SECONDS_PER_DAY * 20_000 + seconds);
        Release::at(now, limit, &config::Budget::default())
    }

    #[test]
    fn a_thousand_are_a_hundred_at_once_seven_hundred_over_the_day_and_two_hundred_kept_back() {
        let released = [0, 43_200, 86_399].map(|seconds| at(seconds, 1000).by_now);
        assert_eq!(released, [100, 450, 799]);
        assert_eq!(at(0, 1000).with_reserve, 300);
        assert_eq!(at(0, 1000).open, 800);
        assert_eq!(at(0, 1000).per_network, 100);
    }

    #[test]
    fn a_small_plan_is_there_at_once() {
        let small = at(0, 7);
        assert_eq!((small.by_now, small.with_reserve), (6, 7));
        assert_eq!(at(0, 0).with_reserve, 0);
    }

    #[test]
    fn the_scarcer_the_budget_the_oftener_an_address_must_have_been_seen() {
        let release = at(43_200, 1000);
        let lefts = [450, 225, 224, 112, 57, 56, 1, 0];
        let needed = lefts.map(|left| release.sightings_needed(left, 4));
        assert_eq!(needed, [1, 1, 2, 3, 3, 4, 4, 4]);
        assert_eq!(release.sightings_needed(0, 1), 1);
    }

    proptest! {
        #[test]
        fn never_more_is_released_than_the_day_has_and_never_less_than_before(
            limit in 0_u32..=10_000_000,
            (early, late) in (0_u32..86_400, 0_u32..86_400),
            (reserve_percent, burst_percent) in (0_u8..=90, 1_u8..=100),
        ) {
            let budget = config::Budget { reserve_percent, burst_percent, ..Default::default() };
            let [before, after] = [early.min(late), early.max(late)]
                .map(|seconds| Release::at(UnixSeconds(seconds), limit, &budget));
            prop_assert!(before.by_now <= after.by_now);
            prop_assert!(after.by_now <= after.open);
            prop_assert!(after.with_reserve <= limit);
            let kept = u64::from(limit) * u64::from(reserve_percent) / 100;
            prop_assert_eq!(u64::from(limit - after.open), kept);
        }

        #[test]
        fn more_that_is_left_never_asks_for_more_sightings(
            limit in 0_u32..=10_000_000,
            (few, many) in (0_u32..10_000_000, 0_u32..10_000_000),
            most in 1_u8..=15,
        ) {
            let release = at(50_000, limit);
            let [few, many] = [few.min(many), few.max(many)]
                .map(|left| release.sightings_needed(left, most));
            prop_assert!(many <= few);
            prop_assert!((1..=most).contains(&many));
        }
    }
}
