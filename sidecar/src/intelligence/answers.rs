//! What providers answered, kept: in memory, and behind that in the store.
//!
//! An answer has two ends. After the soft one it still serves while a new one is fetched, after the
//! hard one it counts no more. That a provider had no word is kept in memory too, for a short while.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use reputation::{Cidr, ClientAddress, UnixSeconds};

use super::providers::{Asked, Gate};
use crate::chance::{is_early, spread_seconds};
use crate::config::ProviderName;
use crate::store::{KEPT_PAST_EXPIRY, Store, StoredVerdict, VerdictKey};
use crate::telemetry::metrics::{CacheLayer, CacheResult};
use crate::telemetry::{Metrics, Sparing, chain};

/// How long an answer is fresh, and how long beyond that it serves, in seconds.
const FRESH_FOR: u32 = 24 * 3600;
pub const STALE_FOR: u32 = KEPT_PAST_EXPIRY;
/// How long before an answer's end those who need it begin to ask anew, on average.
const EARLY: Duration = Duration::from_secs(600);
/// How many keys are kept in memory.
const KEYS: u64 = 200_000;
/// How many keys are known to have no answer in the store, and for how many seconds: longer than a
/// provisional verdict lives, so that whoever comes back after one finds what the store said meanwhile.
const ABSENT: u64 = 50_000;
const ABSENT_FOR: u32 = 10;
/// Under how many bits of an IPv6 address one answer counts for all.
const V6_KEY: u8 = 64;

/// The address under which answers about a client are kept: its own for IPv4, its /64 for IPv6, so
/// that one visitor with a whole network is one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(ClientAddress);

/// One provider's answer, or that it had none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub said: Option<StoredVerdict>,
    soft: UnixSeconds,
    hard: UnixSeconds,
    /// Until when asking again is pointless: it was tried, and gave no word.
    paused: UnixSeconds,
}

/// What each provider answered, by its name: the configuration may have others by the time it is read.
#[derive(Debug, Clone, Default)]
pub struct ByProvider(Arc<Vec<(ProviderName, Answer)>>);

pub struct Answers {
    memory: Cache<Key, ByProvider>,
    /// Until when the store need not be asked again.
    absent: Cache<Key, UnixSeconds>,
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    unread: Sparing,
    unwritten: Sparing,
}

impl Key {
    pub fn of(address: ClientAddress) -> Self {
        let network = match address {
            ClientAddress::V4(_) => None,
            ClientAddress::V6(_) => Cidr::new(address, V6_KEY),
        };
        Self(network.map_or(address, Cidr::network))
    }

    pub fn address(self) -> ClientAddress {
        self.0
    }

    /// Whom an answer under this key is about.
    pub fn prefix(self) -> Cidr {
        match self.0 {
            ClientAddress::V4(_) => Cidr::host(self.0),
            ClientAddress::V6(_) => Cidr::new(self.0, V6_KEY).unwrap_or(Cidr::host(self.0)),
        }
    }
}

impl ByProvider {
    pub fn of(&self, provider: &str) -> Option<&Answer> {
        let mut found = self.all().filter(|(name, _)| **name == *provider);
        found.next().map(|(_, answer)| answer)
    }

    pub fn all(&self) -> impl Iterator<Item = &(ProviderName, Answer)> {
        self.0.iter()
    }

    /// Whether the answer of one of `gates` counts and is a bad word.
    pub fn speak_against<'g>(
        &self,
        gates: impl Iterator<Item = &'g Arc<Gate>>,
        now: UnixSeconds,
    ) -> bool {
        let answers = gates.filter_map(|gate| self.of(gate.name()));
        let mut counting = answers.filter(|answer| answer.counts(now));
        counting.any(|answer| answer.said.as_ref().is_some_and(|said| said.score > 0))
    }
}

impl Answer {
    pub fn is_fresh(&self, now: UnixSeconds) -> bool {
        now < self.soft
    }

    pub fn counts(&self, now: UnixSeconds) -> bool {
        now < self.hard
    }

    /// Seconds for which it is fresh.
    pub fn fresh_for(&self, now: UnixSeconds) -> u32 {
        now.until(self.soft)
    }

    /// Whether it is worth asking again: it is not fresh any more, or will not be for long, somebody
    /// wants it now and `may_be_early` agrees, which is asked last. Then the next one need not wait, and
    /// not all who keep it ask at once.
    pub fn is_due(&self, may_be_early: impl FnOnce() -> bool, now: UnixSeconds) -> bool {
        if !self.is_fresh(now) {
            return true;
        }
        let left = Duration::from_secs(self.fresh_for(now).into());
        let nears_its_end = self.said.is_some() && now >= self.paused && is_early(left, EARLY);
        nears_its_end && may_be_early()
    }

    fn fetched(&self) -> Option<UnixSeconds> {
        self.said.as_ref().map(|said| said.fetched)
    }

    fn stored(said: StoredVerdict) -> Self {
        let soft = said.expires;
        Self {
            said: Some(said),
            soft,
            hard: soft.plus(STALE_FOR),
            paused: UnixSeconds(0),
        }
    }

    fn none_for(seconds: u32, now: UnixSeconds) -> Self {
        let end = now.plus(spread_seconds(seconds));
        Self {
            said: None,
            soft: end,
            hard: end,
            paused: end,
        }
    }

    /// The same when asking for another gave no word: it serves on, and is not asked for again until
    /// the pause is over.
    fn paused_for(self, seconds: u32, now: UnixSeconds) -> Self {
        let paused = now.plus(spread_seconds(seconds));
        Self {
            soft: self.soft.max(paused),
            paused,
            ..self
        }
    }
}

impl Answers {
    pub fn new(store: Arc<dyn Store>, metrics: Arc<Metrics>) -> Self {
        Self {
            memory: Cache::new(KEYS),
            absent: Cache::new(ABSENT),
            store,
            metrics,
            unread: Sparing::once_a_minute(),
            unwritten: Sparing::once_a_minute(),
        }
    }

    /// From memory alone.
    pub fn remembered(&self, key: Key) -> Option<ByProvider> {
        self.memory.get(&key)
    }

    /// From memory, counted. `None` if the store may have what memory lacks.
    pub fn recall(&self, key: Key, now: UnixSeconds) -> Option<ByProvider> {
        let found = self.memory.get(&key);
        let answers = found.clone().unwrap_or_default();
        self.count(CacheLayer::Memory, &answers, now);
        found.or_else(|| self.is_absent(key, now).then_some(answers))
    }

    /// As [`Self::recall`], for somebody who was counted.
    pub fn at_hand(&self, key: Key, now: UnixSeconds) -> Option<ByProvider> {
        let found = self.remembered(key);
        found.or_else(|| self.is_absent(key, now).then(ByProvider::default))
    }

    /// From the store, into memory.
    pub async fn read(&self, key: Key, gates: &[Arc<Gate>], now: UnixSeconds) -> ByProvider {
        let Some(answers) = self.stored(key, gates, now).await else {
            self.count(CacheLayer::Store, &ByProvider::default(), now);
            return ByProvider::default();
        };
        self.count(CacheLayer::Store, &answers, now);
        if answers.all().next().is_some() {
            self.memory.insert(key, answers.clone());
        } else {
            self.absent.insert(key, now.plus(ABSENT_FOR));
        }
        answers
    }

    fn is_absent(&self, key: Key, now: UnixSeconds) -> bool {
        let until = self.absent.get(&key);
        // A clock that was set back makes it no longer.
        until.is_some_and(|until| now < until && now.until(until) <= ABSENT_FOR)
    }

    /// Takes what siblings were told in the meantime from the store, and the gates out of `gates` that
    /// need not be asked any more: for what is remembered, and that nothing was stored is remembered too.
    pub async fn renew(&self, key: Key, gates: &mut Vec<Arc<Gate>>, now: UnixSeconds) {
        let Some(stored) = self.stored(key, gates, now).await else {
            return;
        };
        let before = self.memory.get(&key).unwrap_or_default();
        let is_newer = |(name, it): &&(ProviderName, Answer)| {
            it.is_fresh(now) && it.fetched() > before.of(name).and_then(Answer::fetched)
        };
        let mut renewed: Vec<_> = stored.all().filter(is_newer).cloned().collect();
        if renewed.is_empty() {
            return;
        }
        let newer: Vec<_> = renewed.iter().map(|(name, _)| name.clone()).collect();
        gates.retain(|gate| !newer.contains(gate.name()));
        let others = before.all().filter(|(name, _)| !newer.contains(name));
        renewed.extend(others.cloned());
        self.memory.insert(key, ByProvider(Arc::new(renewed)));
    }

    /// The providers are others now: what is kept in memory lacks what the store may have of them, and
    /// tells of silences that may be over.
    pub fn forget(&self) {
        self.memory.invalidate_all();
        self.absent.invalidate_all();
    }

    /// Keeps what came of asking, one result per provider; those that were not asked keep what they
    /// said before.
    pub async fn put(
        &self,
        key: Key,
        gates: &[Arc<Gate>],
        asked: Vec<Asked>,
        now: UnixSeconds,
    ) -> ByProvider {
        let before = self.memory.get(&key).unwrap_or_default();
        let mut answers = Vec::with_capacity(gates.len());
        for (gate, asked) in gates.iter().zip(asked) {
            let old = before.of(gate.name()).cloned();
            let answer = match asked {
                Asked::Said(word) => {
                    let said = StoredVerdict {
                        score: word.score,
                        stance: word.stance,
                        categories: word.categories,
                        observed: word.observed,
                        fetched: now,
                        expires: now.plus(spread_seconds(FRESH_FOR)),
                    };
                    self.write(key, gate.name(), said.clone()).await;
                    Some(Answer::stored(said))
                }
                // A stale word beats none: it serves on, and is asked for again after the pause.
                Asked::Silent { for_s } => Some(match old.filter(|old| old.said.is_some()) {
                    Some(old) => old.paused_for(for_s, now),
                    None => Answer::none_for(for_s, now),
                }),
                Asked::NotAsked => old,
            };
            answers.extend(answer.map(|answer| (gate.name().clone(), answer)));
        }
        let asked = |name: &ProviderName| gates.iter().any(|gate| gate.name() == name);
        answers.extend(before.all().filter(|(name, _)| !asked(name)).cloned());
        let answers = ByProvider(Arc::new(answers));
        self.memory.insert(key, answers.clone());
        self.absent.invalidate(&key);
        answers
    }

    /// `None` if the store does not say.
    async fn stored(&self, key: Key, gates: &[Arc<Gate>], now: UnixSeconds) -> Option<ByProvider> {
        let keys = gates.iter().map(|gate| store_key(key, gate.name()));
        let keys: Vec<_> = keys.collect();
        let said = match self.store.verdicts(&keys).await {
            Ok(said) => said,
            Err(error) => {
                if self.unread.is_due() {
                    tracing::warn!(error = chain(&error), "the store gives no answers");
                }
                return None;
            }
        };
        let named = gates.iter().map(|gate| gate.name().clone()).zip(said);
        let answers = named.filter_map(|(name, said)| Some((name, Answer::stored(said?))));
        let counting = answers.filter(|(_, answer)| answer.counts(now));
        Some(ByProvider(Arc::new(counting.collect())))
    }

    async fn write(&self, key: Key, provider: &str, said: StoredVerdict) {
        let written = self.store.put_verdict(store_key(key, provider), said);
        if let Err(error) = written.await
            && self.unwritten.is_due()
        {
            tracing::warn!(provider, error = chain(&error), "an answer is not kept");
        }
    }

    fn count(&self, layer: CacheLayer, answers: &ByProvider, now: UnixSeconds) {
        let answers = answers.all().map(|(_, answer)| answer);
        let counting = answers.filter(|answer| answer.counts(now));
        let result = match counting.map(|answer| answer.is_fresh(now)).min() {
            None => CacheResult::Miss,
            Some(true) => CacheResult::Hit,
            Some(false) => CacheResult::Stale,
        };
        self.metrics.cache_request(layer, result);
    }
}

fn store_key(key: Key, provider: &str) -> VerdictKey {
    VerdictKey {
        provider: provider.to_owned(),
        address: key.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_neighbours_in_a_64_share_a_key_and_those_beyond_do_not() {
        let key = |text: &str| Key::of(text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::2"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }
}
