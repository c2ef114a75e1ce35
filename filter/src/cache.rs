//! The worker's memory of answered look-ups: a fixed table, four places per key, no allocation once made.
//!
//! Owns keys, places and life times. An entry holds only under the generation it was asked under: when
//! the sidecar takes something back, everything cached before is asked again.

use std::collections::HashMap;

use reputation::policy::Band;
use reputation::{Action, ClientAddress, DecisionId, Verdict};

use crate::config::Actions;
use crate::metrics::FailureCause;
use crate::turn::Uptime;
use crate::verdict::{Judgement, Source};

const WAYS: usize = 4;
/// More different reasons than this share one name: a faulty sidecar must not fill our memory.
const MAX_REASONS: usize = 1024;
const MAX_REASON_BYTES: usize = 64;
/// The longest that any answer is kept, whatever its time to live says.
const MAX_TTL_S: u32 = 86_400;

/// For what a verdict holds: one address, or all that share its IPv6 prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Key {
    high: u64,
    low: u64,
    /// IPv4 counts as long as its address. Zero marks an empty place.
    prefix_len: u8,
}

/// What was learnt about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    Verdict(Compact),
    /// The look-up failed a moment ago.
    Failed(FailureCause),
}

/// A verdict without its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compact {
    action: Action,
    band: Band,
    score: u8,
    explicit: bool,
    ranked: bool,
    reason: u16,
    decision: Option<DecisionId>,
    shadow: Option<Band>,
}

#[derive(Clone, Copy, Default)]
struct Place {
    key: Key,
    generation: u32,
    expires: u32,
    known: Option<Known>,
}

pub struct Cache {
    places: Vec<[Place; WAYS]>,
    seed: u64,
    reasons: Reasons,
}

/// The texts of reasons, each kept once.
#[derive(Default)]
struct Reasons {
    texts: Vec<String>,
    numbers: HashMap<String, u16>,
}

impl Key {
    /// The key of exactly this address.
    pub fn exact(address: ClientAddress) -> Self {
        match address {
            ClientAddress::V4(bits) => Self {
                high: 0,
                low: u64::from(bits),
                prefix_len: 32,
            },
            ClientAddress::V6(bits) => Self::of_bits(bits, 128),
        }
    }

    /// The key of the address's IPv6 prefix; IPv4 has none.
    pub fn prefix(address: ClientAddress, prefix_len: u8) -> Option<Self> {
        match address {
            ClientAddress::V6(bits) if prefix_len < 128 => {
                let hidden = 128 - u32::from(prefix_len);
                let mask = u128::MAX.checked_shl(hidden).unwrap_or(0);
                Some(Self::of_bits(bits & mask, prefix_len))
            }
            _ => None,
        }
    }

    /// Under which key a verdict with this scope is kept: never for more than it was given for.
    pub fn of_verdict(address: ClientAddress, prefix_len: u8, verdict: &Verdict) -> Self {
        Self::prefix(address, prefix_len)
            .filter(|_| verdict.scope.len() <= prefix_len)
            .unwrap_or_else(|| Self::exact(address))
    }

    fn of_bits(bits: u128, prefix_len: u8) -> Self {
        let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or_default();
        // IPv6 has no zero in `high` that IPv4 could be taken for: the length differs.
        Self {
            high: half(bits >> 64),
            low: half(bits),
            prefix_len,
        }
    }

    fn hash(self, seed: u64) -> u64 {
        let mix = |hash: u64, word: u64| {
            let wide = u128::from(hash ^ word) * u128::from(0x9e37_79b9_7f4a_7c15_u64);
            Self::of_bits(wide, 0).high ^ Self::of_bits(wide, 0).low
        };
        let length = u64::from(self.prefix_len);
        mix(
            mix(mix(seed, self.high), self.low ^ 0x5851_f42d_4c95_7f2d),
            length,
        )
    }
}

impl Compact {
    /// Whether a rule decided: one of at least the rank of the score that lists alone lead to, which is
    /// the lowest there is. If not, the address was unlisted when it was asked about.
    pub fn is_ranked(self) -> bool {
        self.ranked
    }
}

impl Cache {
    /// A table for `entries`, which is a power of two of at least [`WAYS`].
    pub fn new(entries: usize, seed: u64) -> Self {
        Self {
            places: vec![[Place::default(); WAYS]; (entries / WAYS).max(1)],
            seed,
            reasons: Reasons::default(),
        }
    }

    pub fn entries(&self) -> usize {
        self.places.len() * WAYS
    }

    /// What is known of an address: a verdict on itself first, then one on its prefix, then a failure.
    pub fn find(
        &self,
        address: ClientAddress,
        prefix_len: u8,
        generation: u32,
        now: Uptime,
    ) -> Option<Known> {
        let exact = self.get(Key::exact(address), generation, now);
        if let Some(Known::Verdict(_)) = exact {
            return exact;
        }
        Key::prefix(address, prefix_len)
            .and_then(|prefix| self.get(prefix, generation, now))
            .or(exact)
    }

    fn get(&self, key: Key, generation: u32, now: Uptime) -> Option<Known> {
        let set = self.places.get(self.index(key))?;
        let place = set.iter().find(|place| place.key == key)?;
        place
            .known
            .filter(|_| place.generation == generation && now.0 < place.expires)
    }

    pub fn keep(&mut self, key: Key, verdict: &Verdict, generation: u32, now: Uptime) -> Compact {
        let longest = if verdict.provisional {
            Verdict::PROVISIONAL_TTL_S
        } else {
            MAX_TTL_S
        };
        let compact = Compact {
            action: verdict.action,
            band: verdict.band,
            score: verdict.score,
            explicit: verdict.is_explicit(),
            ranked: verdict.rank.is_some(),
            reason: self.reasons.number(&verdict.reason),
            decision: verdict.decision,
            shadow: verdict.shadow.as_ref().map(|shadow| shadow.band),
        };
        // At least a second, or an answer without a life would be asked for with every request.
        let expires = now.plus(verdict.ttl_s.clamp(1, longest));
        self.put(key, Known::Verdict(compact), generation, now, expires);
        compact
    }

    /// Remembers for one to two seconds that this address could not be asked about, so that a dead sidecar is
    /// not asked per request. What is known is not forgotten for it.
    pub fn keep_failure(
        &mut self,
        address: ClientAddress,
        cause: FailureCause,
        generation: u32,
        now: Uptime,
        random: u64,
    ) {
        let key = Key::exact(address);
        if let Some(Known::Verdict(_)) = self.get(key, generation, now) {
            return;
        }
        let expires = now.plus(if random.is_multiple_of(2) { 1 } else { 2 });
        self.put(key, Known::Failed(cause), generation, now, expires);
    }

    pub fn judgement(&self, compact: Compact, actions: &Actions, source: Source) -> Judgement<'_> {
        Judgement {
            action: match compact.explicit {
                true => compact.action,
                false => actions.of(compact.band),
            },
            band: compact.band,
            score: compact.score,
            reason: self.reasons.text(compact.reason),
            decision: compact.decision,
            source,
            shadow: compact.shadow.map(|band| match band {
                Band::Clean => Action::Allow,
                flagged => actions.of(flagged),
            }),
        }
    }

    fn put(&mut self, key: Key, known: Known, generation: u32, now: Uptime, expires: Uptime) {
        let index = self.index(key);
        let Some(set) = self.places.get_mut(index) else {
            return;
        };
        let victim = match set.iter_mut().position(|place| place.key == key) {
            Some(same) => set.get_mut(same),
            None => set
                .iter_mut()
                .min_by_key(|place| place.worth(generation, now)),
        };
        if let Some(place) = victim {
            *place = Place {
                key,
                generation,
                expires: expires.0,
                known: Some(known),
            };
        }
    }

    fn index(&self, key: Key) -> usize {
        let sets = u64::try_from(self.places.len()).unwrap_or(1);
        usize::try_from(key.hash(self.seed) & sets.wrapping_sub(1)).unwrap_or(0)
    }
}

impl Place {
    /// What is least worth keeping goes first: what no longer holds, then what says nothing bad, then
    /// what ends soonest. So a flood of clean addresses does not wash out the bad ones.
    fn worth(&self, generation: u32, now: Uptime) -> (u8, u32) {
        let holds = self.generation == generation && now.0 < self.expires;
        let class = match self.known {
            Some(Known::Verdict(compact)) if holds && compact.band != Band::Clean => 2,
            Some(_) if holds => 1,
            _ => 0,
        };
        (class, self.expires)
    }
}

impl Reasons {
    fn number(&mut self, reason: &str) -> u16 {
        let text = visible(reason);
        if let Some(number) = self.numbers.get(text.as_str()) {
            return *number;
        }
        let full = self.texts.len() >= MAX_REASONS;
        let number = u16::try_from(self.texts.len()).unwrap_or(u16::MAX);
        if full {
            return u16::MAX;
        }
        self.texts.push(text.clone());
        self.numbers.insert(text, number);
        number
    }

    fn text(&self, number: u16) -> &str {
        self.texts
            .get(usize::from(number))
            .map_or("other", String::as_str)
    }
}

/// A reason as it may stand in a header.
pub fn visible(text: &str) -> String {
    printable(text, MAX_REASON_BYTES)
}

/// Foreign text as it may stand in a header or a line of a log: visible ASCII, of bounded length.
pub fn printable(text: &str, most: usize) -> String {
    let kept = text.chars().take(most);
    kept.map(|c| {
        if c.is_ascii_graphic() || c == ' ' {
            c
        } else {
            '_'
        }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{clean_verdict, deny_verdict, ip};

    const NOW: Uptime = Uptime(1_000);
    const ACTIONS: Actions = Actions {
        suspicious: Action::Tag,
        malicious: Action::Deny,
    };

    fn cache() -> Cache {
        Cache::new(64, 3)
    }

    fn action(cache: &Cache, address: &str, now: Uptime) -> Option<Action> {
        match cache.find(ip(address), 64, 1, now)? {
            Known::Verdict(compact) => {
                Some(cache.judgement(compact, &ACTIONS, Source::Cache).action)
            }
            Known::Failed(_) => None,
        }
    }

    fn keep(cache: &mut Cache, address: &str, verdict: &Verdict) {
        cache.keep(Key::of_verdict(ip(address), 64, verdict), verdict, 1, NOW);
    }

    #[test]
    fn a_verdict_lives_as_long_as_it_says() {
        let mut cache = cache();
        let verdict = Verdict {
            ttl_s: 10,
            ..deny_verdict("192.0.2.1/32")
        };
        keep(&mut cache, "192.0.2.1", &verdict);
        assert_eq!(action(&cache, "192.0.2.1", NOW), Some(Action::Deny));
        assert_eq!(action(&cache, "192.0.2.1", NOW.plus(9)), Some(Action::Deny));
        assert_eq!(action(&cache, "192.0.2.1", NOW.plus(10)), None);
        assert_eq!(action(&cache, "192.0.2.2", NOW), None);
    }

    #[test]
    fn a_provisional_verdict_lives_two_seconds_at_most() {
        let mut cache = cache();
        let verdict = Verdict {
            provisional: true,
            ..clean_verdict("192.0.2.1/32")
        };
        keep(&mut cache, "192.0.2.1", &verdict);
        assert_eq!(
            action(&cache, "192.0.2.1", NOW.plus(1)),
            Some(Action::Allow)
        );
        assert_eq!(action(&cache, "192.0.2.1", NOW.plus(2)), None);
    }

    #[test]
    fn another_generation_makes_it_forget() {
        let mut cache = cache();
        keep(&mut cache, "192.0.2.1", &deny_verdict("192.0.2.1/32"));
        assert!(cache.find(ip("192.0.2.1"), 64, 1, NOW).is_some());
        assert!(cache.find(ip("192.0.2.1"), 64, 2, NOW).is_none());
    }

    #[test]
    fn a_verdict_on_a_prefix_holds_for_the_neighbours_and_one_on_an_address_does_not() {
        let mut cache = cache();
        keep(&mut cache, "2001:db8::1", &clean_verdict("2001:db8::/64"));
        assert_eq!(action(&cache, "2001:db8::2", NOW), Some(Action::Allow));
        keep(&mut cache, "2001:db8::2", &deny_verdict("2001:db8::2/128"));
        assert_eq!(action(&cache, "2001:db8::2", NOW), Some(Action::Deny));
        assert_eq!(action(&cache, "2001:db8::1", NOW), Some(Action::Allow));
        keep(
            &mut cache,
            "2001:db8:1::2",
            &deny_verdict("2001:db8:1::2/128"),
        );
        assert_eq!(action(&cache, "2001:db8:1::1", NOW), None);
        keep(
            &mut cache,
            "2001:db8:2::",
            &deny_verdict("2001:db8:2::/128"),
        );
        assert_eq!(
            action(&cache, "2001:db8:2::1", NOW),
            None,
            "the network address is one address"
        );
    }

    #[test]
    fn a_flood_of_clean_addresses_leaves_the_bad_ones() {
        let mut cache = cache();
        keep(&mut cache, "192.0.2.1", &deny_verdict("192.0.2.1/32"));
        for n in 0..10_000_u32 {
            let address = ClientAddress::V4(n);
            let verdict = clean_verdict(&format!("{address}/32"));
            cache.keep(Key::exact(address), &verdict, 1, NOW);
        }
        assert_eq!(action(&cache, "192.0.2.1", NOW), Some(Action::Deny));
        assert_eq!(cache.entries(), 64);
    }

    #[test]
    fn reasons_are_made_fit_for_headers_and_bounded() {
        let mut reasons = Reasons::default();
        let number = reasons.number("a\r\nb: ü");
        assert_eq!(reasons.text(number), "a__b: _");
        assert_eq!(reasons.number("a\r\nb: ü"), number);
        (0..5_000).for_each(|n| {
            reasons.number(&format!("reason {n}"));
        });
        assert!(reasons.texts.len() <= MAX_REASONS);
        let beyond = reasons.number("one more");
        assert_eq!(reasons.text(beyond), "other");
    }

    #[test]
    fn a_failure_takes_the_place_of_nothing_that_is_known() {
        let mut cache = cache();
        let (client, verdict) = (ip("2001:db8::1"), deny_verdict("2001:db8::1/128"));
        for key in [Key::exact(client), Key::prefix(client, 64).unwrap()] {
            cache.keep(key, &verdict, 1, NOW);
            cache.keep_failure(client, FailureCause::Timeout, 1, NOW, 1);
            assert_eq!(action(&cache, "2001:db8::1", NOW), Some(Action::Deny));
            cache = self::cache();
        }
        cache.keep(Key::exact(client), &verdict, 1, NOW);
        cache.keep_failure(client, FailureCause::Timeout, 2, NOW, 1);
        let failed = Some(Known::Failed(FailureCause::Timeout));
        assert_eq!(
            cache.find(client, 64, 2, NOW),
            failed,
            "what was taken back is not known"
        );
    }

    #[test]
    fn a_failure_is_remembered_for_a_moment() {
        let mut cache = cache();
        let client = ip("192.0.2.1");
        cache.keep_failure(client, FailureCause::Timeout, 1, NOW, 0);
        let failed = Some(Known::Failed(FailureCause::Timeout));
        assert_eq!(cache.find(ip("192.0.2.1"), 64, 1, NOW), failed);
        assert_eq!(cache.find(ip("192.0.2.1"), 64, 1, NOW.plus(1)), None);
    }
}
