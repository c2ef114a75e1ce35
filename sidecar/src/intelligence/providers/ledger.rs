//! Whether a call is to be spent on somebody: by what is left of the day, by what the network had, and by
//! what is known of the address. Pure state; the book itself is in the store.

use reputation::UnixSeconds;

use super::acquaintances::Candidate;
use super::availability::Closed;
use super::budget::Budget;
use super::networks::Networks;
use super::spread::Release;
use crate::clock::Day;
use crate::config;

pub struct Ledger {
    pub budget: Budget,
    networks: Networks,
}

/// Why somebody was not asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skipped {
    Closed(Closed),
    /// Nothing speaks against the address, and it was not seen often enough for what is left.
    SeldomSeen,
    /// What is released of the day so far is used; for a suspicious address, the reserve too.
    Pace,
    /// The address's network has had its share of the day.
    Network,
}

/// What can be spent at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlook {
    /// On anybody.
    pub released: u32,
    /// Beyond that, on the suspicious.
    pub reserved: u32,
    /// How often an address must have been seen, if nothing speaks against it.
    pub sightings_needed: u8,
    /// A call may be booked while fewer than so many are, about anybody and about the suspicious.
    below: u32,
    below_with_reserve: u32,
    per_network: u32,
}

impl Outlook {
    /// How many calls may be booked at most when one about `candidate` is still to be.
    pub fn ceiling(&self, candidate: &Candidate) -> u32 {
        if candidate.suspicious {
            self.below_with_reserve
        } else {
            self.below
        }
    }
}

impl Skipped {
    /// The metric's label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed(closed) => closed.name(),
            Self::SeldomSeen => "seldom_seen",
            Self::Pace => "pace",
            Self::Network => "network",
        }
    }
}

impl Ledger {
    pub fn new(daily_quota: u32) -> Self {
        Self {
            budget: Budget::new(daily_quota),
            networks: Networks::new(),
        }
    }

    pub fn outlook(&self, shares: &config::Budget, now: UnixSeconds) -> Outlook {
        let today = Day::of(now);
        let release = Release::at(now, self.budget.limit(today), shares);
        let taken = self.budget.taken(today);
        let released = release.by_now.saturating_sub(taken);
        let reserved = release.with_reserve.saturating_sub(taken);
        Outlook {
            released,
            reserved: reserved.saturating_sub(released),
            sightings_needed: release.sightings_needed(released, shares.sightings),
            below: release.by_now,
            below_with_reserve: release.with_reserve,
            per_network: release.per_network,
        }
    }

    /// Why nothing is to be spent on `candidate` now, if so.
    pub fn spares(
        &self,
        candidate: &Candidate,
        shares: &config::Budget,
        now: UnixSeconds,
    ) -> Option<Skipped> {
        let (outlook, today) = (self.outlook(shares, now), Day::of(now));
        let suspicious = candidate.suspicious;
        let reserved = if suspicious { outlook.reserved } else { 0 };
        if self.budget.taken(today) >= self.budget.limit(today) {
            Some(Skipped::Closed(Closed::Quota))
        } else if outlook.released == 0 && reserved == 0 {
            Some(Skipped::Pace)
        } else if self.networks.used(candidate.network(), today) >= outlook.per_network {
            Some(Skipped::Network)
        } else if !suspicious && candidate.sightings < outlook.sightings_needed {
            Some(Skipped::SeldomSeen)
        } else {
            None
        }
    }

    /// A call about `candidate` is being booked; [`Self::settle`] follows, whatever comes of it.
    pub fn begin(&mut self, candidate: &Candidate) {
        self.budget.begin();
        self.networks.begin(candidate.network());
    }

    /// One that was not booked costs the network nothing.
    pub fn settle(&mut self, candidate: &Candidate, booked: bool, today: Day) {
        self.budget.settle();
        self.networks.settle(candidate.network(), booked, today);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIDNIGHT: UnixSeconds = UnixSeconds(86_400 * 20_000);

    fn candidate(bits: u32, sightings: u8, suspicious: bool) -> Candidate {
        Candidate {
            address: reputation::ClientAddress::V4(bits),
            sightings,
            suspicious,
        }
    }

    /// Books it at once, as a store that nobody else uses would.
    fn spend(
        ledger: &mut Ledger,
        shares: &config::Budget,
        who: &Candidate,
        now: UnixSeconds,
    ) -> bool {
        if ledger.spares(who, shares, now).is_some() {
            return false;
        }
        ledger.begin(who);
        let used = ledger.budget.used(Day::of(now)) + 1;
        ledger.budget.note_used(Day::of(now), used);
        ledger.settle(who, true, Day::of(now));
        true
    }

    #[test]
    fn each_reason_has_its_turn() {
        let shares = config::Budget::default();
        let mut ledger = Ledger::new(1000);
        let stranger = |bits: u32| candidate(bits << 8, 1, false);
        let asked = (0..500).filter(|bits| spend(&mut ledger, &shares, &stranger(*bits), MIDNIGHT));
        assert_eq!(asked.count(), 51);
        let why = |ledger: &Ledger, who| ledger.spares(&who, &shares, MIDNIGHT);
        assert_eq!(why(&ledger, stranger(999)), Some(Skipped::SeldomSeen));
        assert_eq!(why(&ledger, candidate(999 << 8, 2, false)), None);
        assert_eq!(why(&ledger, candidate(999 << 8, 1, true)), None);
        for low in 0..100 {
            spend(
                &mut ledger,
                &shares,
                &candidate(0xc612_0000 + low, 9, true),
                MIDNIGHT,
            );
        }
        assert_eq!(
            why(&ledger, candidate(0xc612_00ff, 9, true)),
            Some(Skipped::Network)
        );
        assert_eq!(
            why(&ledger, candidate(999 << 8, 9, false)),
            Some(Skipped::Pace)
        );
        assert_eq!(why(&ledger, candidate(999 << 8, 9, true)), None);
        ledger.budget.note_used(Day::of(MIDNIGHT), 1000);
        let none_left = Some(Skipped::Closed(Closed::Quota));
        assert_eq!(why(&ledger, candidate(999 << 8, 9, true)), none_left);
    }

    #[test]
    fn a_network_pays_for_calls_that_are_being_booked_and_not_for_those_that_never_were() {
        let (shares, mut ledger) = (config::Budget::default(), Ledger::new(1000));
        let who = candidate(0xc612_0001, 9, true);
        let today = Day::of(MIDNIGHT);
        for _ in 0..100 {
            ledger.begin(&who);
        }
        let spared = |ledger: &Ledger| ledger.spares(&who, &shares, MIDNIGHT);
        assert_eq!(spared(&ledger), Some(Skipped::Network));
        for _ in 0..100 {
            ledger.settle(&who, false, today);
        }
        assert_eq!(spared(&ledger), None);
        for _ in 0..100 {
            assert_eq!(spared(&ledger), None);
            ledger.begin(&who);
            ledger.settle(&who, true, today);
        }
        assert_eq!(spared(&ledger), Some(Skipped::Network));
    }

    proptest! {
        #[test]
        fn whoever_comes_the_days_calls_and_the_reserve_hold(
            quota in 0_u32..2000,
            reserve_percent in 0_u8..=90,
            visits in prop::collection::vec((any::<u32>(), 0_u8..9, any::<bool>(), 0_u32..400), 0..600),
        ) {
            let shares = config::Budget { reserve_percent, ..Default::default() };
            let mut ledger = Ledger::new(quota);
            let (mut now, mut by_strangers, mut all) = (MIDNIGHT, 0_u32, 0_u32);
            for (bits, sightings, suspicious, pause) in visits {
                now = UnixSeconds((now.0 + pause).min(MIDNIGHT.0 + 86_399));
                let who = candidate(bits, sightings, suspicious);
                let spent = u32::from(spend(&mut ledger, &shares, &who, now));
                all += spent;
                by_strangers += if suspicious { 0 } else { spent };
            }
            prop_assert!(all <= quota);
            let reserve = u64::from(quota) * u64::from(reserve_percent) / 100;
            prop_assert!(u64::from(by_strangers) + reserve <= u64::from(quota));
        }
    }
}
