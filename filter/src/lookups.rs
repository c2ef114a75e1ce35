//! Look-ups under way: one per key however many requests wait for it.
//!
//! Owns who waits and the bounds. A look-up belongs to the root: its answer comes whatever became of the
//! request that caused it. The callout itself is `callout`'s; what an answer means for a request, `request`'s.

mod callout;

use std::collections::HashMap;

use reputation::{ClientAddress, Verdict};

use crate::breaker::{Breaker, Told};
use crate::cache::{Cache, Compact, Key};
use crate::config::{Config, Policy, Unknown};
use crate::host::{AnswerSize, ContextId, Host, Token};
use crate::metrics::{FailureCause, LookupOutcome};
use crate::turn::Turn;

/// After this an answer will not come any more: the root that asked is gone.
const LOST_MICROS: u64 = 1_000_000;

/// A request that is held until its client is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiter {
    pub context: ContextId,
    pub address: ClientAddress,
    pub policy: Policy,
}

impl Waiter {
    /// The same, not to be held.
    pub fn passing(self) -> Self {
        Self {
            policy: Policy {
                unknown: Unknown::Pass,
                ..self.policy
            },
            ..self
        }
    }
}

/// What became of a request about an unknown client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// It waits for the answer.
    Held,
    /// It may pass; the answer will be there for the next one.
    Passing,
    Failed(FailureCause),
}

/// A look-up that has ended, and whom it concerns.
#[derive(Debug, PartialEq, Eq)]
pub struct Answered {
    pub address: ClientAddress,
    pub generation: u32,
    pub result: Result<Verdict, FailureCause>,
    /// All who wait for this key.
    pub waiters: Vec<Waiter>,
}

#[derive(Default)]
pub struct Lookups {
    under_way: HashMap<Key, Vec<Lookup>>,
    keys: HashMap<u32, Key>,
    held: usize,
    breaker: Breaker,
    told: Told,
}

struct Lookup {
    token: Token,
    address: ClientAddress,
    generation: u32,
    started_micros: u64,
    deadline_micros: u64,
    waiters: Vec<Waiter>,
}

impl Lookups {
    /// Asks about `waiter.address`, or joins a look-up that already does.
    pub fn ask<H: Host>(
        &mut self,
        turn: &mut Turn<'_, H>,
        config: &Config,
        generation: u32,
        waiter: Waiter,
    ) -> Asked {
        let key = Key::prefix(waiter.address, config.ipv6_prefix)
            .unwrap_or_else(|| Key::exact(waiter.address));
        let hold = waiter.policy.unknown == Unknown::Hold && self.may_hold(turn, config);
        if !hold && self.under_way.contains_key(&key) {
            return Asked::Passing;
        }
        let now = turn.host.now_micros();
        let hold_ms = hold.then_some(waiter.policy.hold_ms);
        let deadline = callout::deadline(now, hold_ms);
        if hold && self.join(key, waiter, deadline) {
            return Asked::Held;
        }
        match self.send(
            turn,
            config,
            (key, generation, waiter.address),
            (now, hold_ms),
        ) {
            Ok(()) if hold && self.join(key, waiter, deadline) => Asked::Held,
            Ok(()) => Asked::Passing,
            Err(not_sent) => not_sent,
        }
    }

    /// Sends a look-up, unless there are too many or the sidecar does not answer.
    fn send<H: Host>(
        &mut self,
        turn: &mut Turn<'_, H>,
        config: &Config,
        (key, generation, address): (Key, u32, ClientAddress),
        (now, hold_ms): (u64, Option<u32>),
    ) -> Result<(), Asked> {
        if self.keys.len() >= config.limits.lookups {
            turn.metrics.lookup(LookupOutcome::Limited);
            return Err(Asked::Passing);
        }
        if !self.breaker.permits(now) {
            return Err(Asked::Failed(FailureCause::Breaker));
        }
        let Some(token) = callout::dispatch(turn.host, config, address, hold_ms) else {
            self.failed(turn, now, FailureCause::Unavailable);
            return Err(Asked::Failed(FailureCause::Unavailable));
        };
        self.keys.insert(token.0, key);
        self.under_way.entry(key).or_default().push(Lookup {
            token,
            address,
            generation,
            started_micros: now,
            deadline_micros: callout::deadline(now, hold_ms),
            waiters: Vec::new(),
        });
        Ok(())
    }

    pub fn owns(&self, token: Token) -> bool {
        self.keys.contains_key(&token.0)
    }

    /// Takes the answer to `token` from the host.
    pub fn answered<H: Host>(
        &mut self,
        turn: &mut Turn<'_, H>,
        token: Token,
        size: AnswerSize,
    ) -> Option<Answered> {
        let key = *self.keys.get(&token.0)?;
        let now = turn.host.now_micros();
        let lookup = self.take(key, token)?;
        let result = callout::read(turn.host, size, lookup.address);
        let took = now.saturating_sub(lookup.started_micros);
        turn.metrics.lookup_took(turn.host, took);
        match &result {
            Ok(verdict) => {
                if self.breaker.succeeded() && self.told.on_close() {
                    log::info!("portcullis: look-ups are answered again");
                }
                turn.metrics.lookup(match verdict.provisional {
                    true => LookupOutcome::Provisional,
                    false => LookupOutcome::Ok,
                });
            }
            Err(cause) => self.failed(turn, now, *cause),
        }
        let answers = result.is_ok();
        Some(self.conclude(key, lookup, result, answers))
    }

    /// Ends look-ups whose answer will not come.
    pub fn sweep<H: Host>(&mut self, turn: &mut Turn<'_, H>, now: u64) -> Vec<Answered> {
        if self.keys.is_empty() {
            return Vec::new();
        }
        let all = self.under_way.iter();
        let lost: Vec<_> = all
            .flat_map(|(key, lookups)| lookups.iter().map(|lookup| (*key, lookup)))
            .filter(|(_, lookup)| now > lookup.deadline_micros.saturating_add(LOST_MICROS))
            .map(|(key, lookup)| (key, lookup.token))
            .collect();
        self.end(turn, lost, now)
    }

    /// Ends everything, because the sidecar that was asked is not ours any more.
    pub fn abandon<H: Host>(&mut self, turn: &mut Turn<'_, H>, now: u64) -> Vec<Answered> {
        let all = self.under_way.iter();
        let all = all.flat_map(|(key, lookups)| lookups.iter().map(|one| (*key, one.token)));
        let all = all.collect();
        self.end(turn, all, now)
    }

    fn end<H: Host>(
        &mut self,
        turn: &mut Turn<'_, H>,
        ended: Vec<(Key, Token)>,
        now: u64,
    ) -> Vec<Answered> {
        let mut answered = Vec::with_capacity(ended.len());
        for (key, token) in ended {
            if let Some(lookup) = self.take(key, token) {
                self.failed(turn, now, FailureCause::Timeout);
                answered.push(self.conclude(key, lookup, Err(FailureCause::Timeout), false));
            }
        }
        answered
    }

    fn may_hold<H: Host>(&self, turn: &mut Turn<'_, H>, config: &Config) -> bool {
        let may = self.held < config.limits.held;
        if !may {
            turn.metrics.lookup(LookupOutcome::Unheld);
        }
        may
    }

    /// Lets `waiter` wait for a look-up of `key` that ends in time for it.
    fn join(&mut self, key: Key, waiter: Waiter, deadline: u64) -> bool {
        let mut lookups = self.under_way.get_mut(&key).into_iter().flatten();
        match lookups.find(|lookup| lookup.deadline_micros <= deadline) {
            Some(lookup) => {
                lookup.waiters.push(waiter);
                self.held = self.held.saturating_add(1);
                true
            }
            None => false,
        }
    }

    fn failed<H: Host>(&mut self, turn: &mut Turn<'_, H>, now: u64, cause: FailureCause) {
        if self.breaker.failed(now, turn.random.draw()) && self.told.on_open(now) {
            let cause = cause.name();
            log::warn!(
                "portcullis: look-ups fail ({cause}): nothing is asked but a probe a second"
            );
        }
        turn.metrics.lookup(match cause {
            FailureCause::Timeout => LookupOutcome::Timeout,
            FailureCause::Rubbish => LookupOutcome::Rubbish,
            FailureCause::Wire => LookupOutcome::Wire,
            _ => LookupOutcome::Unavailable,
        });
    }

    fn take(&mut self, key: Key, token: Token) -> Option<Lookup> {
        self.keys.remove(&token.0);
        let lookups = self.under_way.get_mut(&key)?;
        let at = lookups.iter().position(|lookup| lookup.token == token)?;
        let lookup = lookups.swap_remove(at);
        if lookups.is_empty() {
            self.under_way.remove(&key);
        }
        Some(lookup)
    }

    /// An answer is everybody's who waits for the key; a failure only of those who waited for it.
    fn conclude(
        &mut self,
        key: Key,
        lookup: Lookup,
        result: Result<Verdict, FailureCause>,
        for_all: bool,
    ) -> Answered {
        let mut waiters = lookup.waiters;
        if for_all {
            let others = self.under_way.get_mut(&key).into_iter().flatten();
            others.for_each(|other| waiters.append(&mut other.waiters));
        }
        self.held = self.held.saturating_sub(waiters.len());
        Answered {
            address: lookup.address,
            generation: lookup.generation,
            result,
            waiters,
        }
    }
}

/// Whether what was answered holds for this address too.
pub fn concerns(verdict: &Verdict, address: ClientAddress) -> bool {
    verdict.scope.contains(address)
}

/// Keeps an answer in `cache` for those who come later.
pub fn remember<H: Host>(
    turn: &mut Turn<'_, H>,
    cache: &mut Cache,
    ipv6_prefix: u8,
    answered: &Answered,
) -> Option<Compact> {
    let now = turn.uptime;
    match &answered.result {
        Ok(verdict) => {
            let key = Key::of_verdict(answered.address, ipv6_prefix, verdict);
            Some(cache.keep(key, verdict, answered.generation, now))
        }
        Err(cause) => {
            let random = turn.random.draw();
            cache.keep_failure(answered.address, *cause, answered.generation, now, random);
            None
        }
    }
}
