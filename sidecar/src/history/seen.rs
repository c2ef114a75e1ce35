//! What was recorded last of each address, so that only what changes is recorded, and once a day what does
//! not. Owns the bound: of so many addresses, those met last.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use reputation::{Action, Band, ClientAddress, DecisionId, UnixSeconds, Verdict};

/// About 15 MiB when it is full.
const ADDRESSES: u64 = 100_000;
/// After which the same is recorded again, in seconds.
const AGAIN: u32 = 86_400;

pub struct Seen(Cache<ClientAddress, Last>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Last {
    at: UnixSeconds,
    thought: Thought,
}

/// What makes two verdicts the same here; how long each holds does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Thought {
    action: Action,
    band: Band,
    score: u8,
    reason: u64,
    decision: Option<DecisionId>,
}

/// Whether anybody had a word on the address: what nobody said anything about is no news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    Nobody,
    Somebody,
}

impl Seen {
    pub fn new() -> Self {
        let cache = Cache::builder()
            .max_capacity(ADDRESSES)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(Duration::from_secs(AGAIN.into()));
        Self(cache.build())
    }

    /// Whether `verdict` is to be recorded.
    pub fn is_news(
        &self,
        address: ClientAddress,
        verdict: &Verdict,
        heard: Heard,
        now: UnixSeconds,
    ) -> bool {
        match self.0.get(&address) {
            Some(last) => last.thought != Thought::of(verdict) || last.at.plus(AGAIN) <= now,
            // Most addresses of the world: to note each of them would be a log of all visitors.
            None => verdict.rank.is_some() || heard == Heard::Somebody,
        }
    }

    pub fn note(&self, address: ClientAddress, verdict: &Verdict, now: UnixSeconds) {
        let thought = Thought::of(verdict);
        self.0.insert(address, Last { at: now, thought });
    }
}

impl Thought {
    fn of(verdict: &Verdict) -> Self {
        let mut reason = DefaultHasher::new();
        verdict.reason.hash(&mut reason);
        Self {
            action: verdict.action,
            band: verdict.band,
            score: verdict.score,
            reason: reason.finish(),
            decision: verdict.decision,
        }
    }
}

#[cfg(test)]
mod tests {
    use reputation::{Cidr, Rank};

    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_795_000_000);

    fn address() -> ClientAddress {
        "203.0.113.7".parse().unwrap()
    }

    fn verdict(score: u8, reason: &str) -> Verdict {
        Verdict {
            action: Action::Tag,
            band: Band::Suspicious,
            score,
            reason: reason.to_owned(),
            decision: None,
            ttl_s: 60,
            provisional: false,
            rank: Some(Rank::Score),
            scope: Cidr::host(address()),
            shadow: None,
        }
    }

    fn clean() -> Verdict {
        Verdict {
            action: Action::Allow,
            band: Band::Clean,
            rank: None,
            ..verdict(0, "clean")
        }
    }

    #[test]
    fn only_what_changes_is_recorded_and_once_a_day_what_does_not() {
        let seen = Seen::new();
        let is_news =
            |verdict: &Verdict, now| seen.is_news(address(), verdict, Heard::Somebody, now);
        let first = verdict(60, "ipsum");
        assert!(is_news(&first, NOW));
        seen.note(address(), &first, NOW);
        let same = Verdict {
            ttl_s: 3,
            ..first.clone()
        };
        assert!(!is_news(&same, NOW.plus(60)));
        assert!(is_news(&verdict(61, "ipsum"), NOW));
        assert!(is_news(&verdict(60, "other"), NOW));
        assert!(is_news(&same, NOW.plus(AGAIN)));
    }

    #[test]
    fn a_clean_address_of_which_nobody_spoke_is_no_news_unless_it_was_known_before() {
        let seen = Seen::new();
        let clean = clean();
        assert!(!seen.is_news(address(), &clean, Heard::Nobody, NOW));
        assert!(seen.is_news(address(), &clean, Heard::Somebody, NOW));
        seen.note(address(), &verdict(60, "ipsum"), NOW);
        assert!(seen.is_news(address(), &clean, Heard::Nobody, NOW));
    }

    #[test]
    fn a_flood_of_addresses_is_forgotten_again() {
        let seen = Seen::new();
        let flagged = verdict(60, "ipsum");
        for bits in 0..2 * u32::try_from(ADDRESSES).unwrap() {
            seen.note(ClientAddress::V4(bits), &flagged, NOW);
        }
        seen.0.run_pending_tasks();
        assert!(
            seen.0.entry_count() <= ADDRESSES,
            "{}",
            seen.0.entry_count()
        );
    }
}
