//! The gate before a provider: asks it only about public addresses, only about those that are worth a
//! call, only within what is released of the day's quota, only while it works, and only with a key.
//!
//! A call is booked in the store before it goes out, so that neither a crash nor a restart refills the
//! quota.

mod trying;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reputation::score::Indicator;
use reputation::{ClientAddress, UnixSeconds, special};

use super::acquaintances::Candidate;
use super::availability::Closed;
use super::ledger::{Outlook, Skipped};
use super::state::State;
use super::status::ProviderStatus;
use super::{Keys, Outcome, Provider, Reply, Word, rotation};
use crate::clock::{Clock, Day};
use crate::config::{self, ProviderName, SecretName};
use crate::secrets::{SecretError, Secrets};
use crate::store::{Booking, KEPT_PAST_EXPIRY, Store, StoreError, StoredVerdict};
use crate::telemetry::{Metrics, chain};

/// How long after a missing key it is looked for again, in seconds.
const KEY_LOOK: u32 = 10;
/// How long after a call that could not be booked none is tried, in seconds.
const STORE_PAUSE: u32 = 2;
/// How long an address is left alone, in seconds, after the provider failed to answer for it, and after
/// it said that it never will.
const FAILURE_PAUSE: u32 = 60;
const BAD_QUESTION_PAUSE: u32 = 86_400;

pub struct Gate {
    config: config::Provider,
    provider: Box<dyn Provider>,
    needs: GateNeeds,
    /// Shared with the gate that takes this one's place when the configuration changes elsewhere.
    state: Arc<Mutex<State>>,
}

#[derive(Clone)]
pub struct GateNeeds {
    pub store: Arc<dyn Store>,
    pub secrets: Arc<Secrets>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    pub budget: config::Budget,
    /// For tests: asks about special-purpose addresses too.
    pub permit_special: bool,
}

/// What came of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    Said(Word),
    /// It was asked and gave no word; asking again is pointless for so many seconds.
    Silent {
        for_s: u32,
    },
    /// It was not asked.
    NotAsked,
}

impl Gate {
    pub fn new(config: config::Provider, provider: Box<dyn Provider>, needs: GateNeeds) -> Self {
        let state = State::new(config.daily_quota);
        Self {
            config,
            provider,
            needs,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Takes the place of `before`: goes on with what that learnt if it asked the same provider in the
    /// same way, and begins anew otherwise.
    pub fn following(self, before: &Self) -> Self {
        let (ours, theirs) = (&self.needs.secrets, &before.needs.secrets);
        let same = self.config == before.config
            && self.config.secrets().all(|key| ours.agree_on(key, theirs));
        Self {
            state: if same {
                Arc::clone(&before.state)
            } else {
                self.state
            },
            ..self
        }
    }

    pub fn config(&self) -> &config::Provider {
        &self.config
    }

    /// Reads today's count from the store and shows it: at start, and after midnight.
    pub async fn recount(&self) {
        let today = self.needs.clock.today();
        match self.needs.store.quota(self.name(), today).await {
            Ok(used) => self.show_quota(today, Some(used)),
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(
                    provider = %self.config.name,
                    error,
                    "the quota's count cannot be read"
                );
                self.show_quota(today, None);
            }
        }
    }

    pub fn name(&self) -> &ProviderName {
        &self.config.name
    }

    /// Whether it has a say on `client`: what it says in shadow is told and moves nothing.
    pub fn has_say_on(&self, client: ClientAddress) -> bool {
        self.config.say.covers(&self.config.name, client)
    }

    pub fn may_ask_about(&self, address: ClientAddress) -> bool {
        self.needs.permit_special || special::is_public(address)
    }

    /// Whether it would be asked about `candidate` now; if not, that is counted.
    pub fn admits(&self, candidate: &Candidate) -> bool {
        let spared = self.spares(&self.state(), candidate);
        if let Some(why) = spared {
            self.needs.metrics.provider_skipped(self.name(), why.name());
        }
        spared.is_none()
    }

    /// Whether calls are so plentiful that one may go out before it must.
    pub fn has_plenty(&self) -> bool {
        self.outlook(&self.state()).sightings_needed <= 1
    }

    pub fn indicator(&self, said: &StoredVerdict) -> Indicator {
        Indicator {
            source: self.config.name.to_string(),
            family: self.config.family.clone(),
            score: said.score,
            stance: said.stance,
            weight: self.config.weight,
            categories: said.categories.clone(),
            observed: said.observed.or(Some(said.fetched)),
            half_life: self.config.half_life,
            // It serves on while another is fetched.
            expires: Some(said.expires.plus(KEPT_PAST_EXPIRY)),
        }
    }

    /// Asks, if that is permitted. Takes as long as the provider's timeout.
    pub async fn ask(&self, candidate: &Candidate) -> Asked {
        let address = candidate.address;
        if !self.may_ask_about(address) {
            return Asked::NotAsked;
        }
        if !self.provider.speaks_of(address) {
            return Asked::Silent {
                for_s: BAD_QUESTION_PAUSE,
            };
        }
        let booked = match self.admit(candidate) {
            Ok(keys) => self.book(candidate).await.map(|booked| (keys, booked)),
            Err(why) => Err(why),
        };
        match booked {
            Ok((keys, booked)) => self.call(address, &keys, booked).await,
            Err(why) => {
                self.needs.metrics.provider_skipped(self.name(), why.name());
                Asked::NotAsked
            }
        }
    }

    /// Makes the call that was booked at `booked`.
    async fn call(&self, address: ClientAddress, keys: &Keys, booked: UnixSeconds) -> Asked {
        let began = Instant::now();
        let (mut reply, mut booked) = (self.check(address, keys).await, booked);
        if matches!(reply.outcome, Outcome::KeyRefused(_)) {
            let took = began.elapsed();
            if let Some(second) = self.ask_with_others(address, keys).await {
                self.count(&reply.outcome, took);
                (reply, booked) = second;
            }
        }
        self.learn(&reply, booked, began.elapsed()).await;
        match reply.outcome {
            Outcome::Said(word) => Asked::Said(word),
            Outcome::BadQuestion(_) => Asked::Silent {
                for_s: BAD_QUESTION_PAUSE,
            },
            _ => Asked::Silent {
                for_s: FAILURE_PAUSE,
            },
        }
    }

    async fn check(&self, address: ClientAddress, keys: &Keys) -> Reply {
        let now = self.needs.clock.now();
        let mut reply = self.provider.check(address, keys, now).await;
        reply.outcome = reply.outcome.without(keys);
        reply
    }

    /// Asks once more if a key has another value than the refused one: a call of its own, which the
    /// pace does not hold up. Says when it was booked.
    async fn ask_with_others(
        &self,
        address: ClientAddress,
        refused: &Keys,
    ) -> Option<(Reply, UnixSeconds)> {
        let others = rotation::others(refused, &self.needs.secrets).await?;
        let now = self.needs.clock.now();
        let today = Day::of(now);
        let quota = self.state().ledger.budget.limit(today);
        let booked = self.book_below(quota, today).await;
        booked
            .ok()
            .filter(|booking| matches!(booking, Booking::Made(_)))?;
        let reply = self.check(address, &others).await;
        if !matches!(reply.outcome, Outcome::KeyRefused(_)) {
            rotation::taken(&others, &self.needs.secrets);
            self.state().note_keys(&others);
        }
        Some((reply, now))
    }

    pub fn status(&self) -> ProviderStatus {
        let state = self.state();
        let (now, today) = (self.needs.clock.now(), self.needs.clock.today());
        let (outlook, remaining) = (self.outlook(&state), state.ledger.budget.remaining(today));
        let used_up = || (remaining == 0).then(|| (Closed::Quota, today.end()));
        let closed = state.availability.closed_at(now).or_else(used_up);
        ProviderStatus {
            name: self.config.name.to_string(),
            available: closed.is_none(),
            closed: closed.map(|(why, _)| why),
            closed_until: closed.map(|(_, until)| until),
            daily_quota: state.ledger.budget.limit(today),
            remaining,
            released: outlook.released,
            reserved: outlook.reserved,
            sightings_needed: outlook.sightings_needed,
            enforce_percent: self.config.say,
            last_success: state.last_success,
            last_error: state.last_error.clone(),
        }
    }

    /// Why nobody is to be asked about `candidate` now, if so. A key that was refused may be another by
    /// now: that is looked at when it is used.
    fn spares(&self, state: &State, candidate: &Candidate) -> Option<Skipped> {
        let now = self.needs.clock.now();
        let closed = state.availability.closed_at(now).map(|(why, _)| why);
        let closed = closed.filter(|why| *why != Closed::Key);
        let spared = || state.ledger.spares(candidate, &self.needs.budget, now);
        closed.map(Skipped::Closed).or_else(spared)
    }

    fn outlook(&self, state: &State) -> Outlook {
        state
            .ledger
            .outlook(&self.needs.budget, self.needs.clock.now())
    }

    /// The keys to ask with, if a call may go out. It is counted as being booked from then on.
    fn admit(&self, candidate: &Candidate) -> Result<Keys, Skipped> {
        let now = self.needs.clock.now();
        let key = |name: &SecretName| Ok((name.clone(), self.needs.secrets.get(name)?));
        let keys: Result<Keys, SecretError> = self.config.secrets().map(key).collect();
        let mut state = self.state();
        if let Some(why) = self.spares(&state, candidate) {
            return Err(why);
        }
        match keys {
            Ok(keys) => {
                state.note_keys(&keys);
                state.availability.admit(now).map_err(Skipped::Closed)?;
                state.ledger.begin(candidate);
                Ok(keys)
            }
            Err(error) => {
                if state.availability.admit(now).is_ok() {
                    let why = chain(&error);
                    tracing::error!(provider = %self.config.name, why, "the provider cannot be asked");
                    state.availability.close(Closed::Key, now.plus(KEY_LOOK));
                    state.last_error = Some(why);
                }
                Err(Skipped::Closed(Closed::Key))
            }
        }
    }

    /// Books one call for today, and says when. Without a book nobody is asked: a quota that is not counted is lost. The
    /// book is everybody's: others may have taken meanwhile what was left when this call was admitted.
    async fn book(&self, candidate: &Candidate) -> Result<UnixSeconds, Skipped> {
        let now = self.needs.clock.now();
        let today = Day::of(now);
        let ceiling = self.outlook(&self.state()).ceiling(candidate);
        let booked = self.book_below(ceiling, today).await;
        let mut state = self.state();
        let made = matches!(booked, Ok(Booking::Made(_)));
        state.ledger.settle(candidate, made, today);
        let quota = state.ledger.budget.limit(today);
        match booked {
            Ok(Booking::Made(used)) => {
                if used == quota {
                    tracing::warn!(provider = %self.config.name, "this is the last of the day's calls");
                }
                Ok(now)
            }
            Ok(Booking::Full(used)) => {
                state.availability.give_back();
                Err(if used < quota {
                    Skipped::Pace
                } else {
                    Skipped::Closed(Closed::Quota)
                })
            }
            Err(error) => Err(self.note_unbooked(&mut state, &error)),
        }
    }

    async fn book_below(&self, below: u32, today: Day) -> Result<Booking, StoreError> {
        let booked = self.needs.store.book_call(self.name(), today, below).await;
        self.show_quota(today, booked.as_ref().ok().map(|booking| booking.count()));
        booked
    }

    fn note_unbooked(&self, state: &mut State, error: &StoreError) -> Skipped {
        let (now, why) = (self.needs.clock.now(), chain(error));
        state
            .availability
            .close(Closed::Store, now.plus(STORE_PAUSE));
        if state.unbooked.is_due() {
            tracing::error!(provider = %self.config.name, why, "the call cannot be booked");
        }
        state.last_error = Some(why);
        Skipped::Closed(Closed::Store)
    }

    /// Learns from what came of a call that was booked at `booked`: its day's limits are no other day's.
    async fn learn(&self, reply: &Reply, booked: UnixSeconds, took: Duration) {
        let now = self.needs.clock.now();
        let (outcome, today) = (&reply.outcome, Day::of(now));
        let limits = reply.limits.of_call(booked, now);
        self.count(outcome, took);
        self.state()
            .learn(self.name(), outcome, limits, booked, now);
        let left = limits.left_today();
        let used = match left.filter(|_| outcome.is_the_sources_own()) {
            Some(remaining) => self.raise_book(today, remaining).await,
            None => None,
        };
        self.show_quota(today, used);
    }

    fn count(&self, outcome: &Outcome, took: Duration) {
        let metrics = &self.needs.metrics;
        metrics.provider_request(self.name(), outcome.name(), took);
    }

    /// The provider counts as well, and others may use the same key: what it has left counts if that
    /// is fewer. Others' calls do not come off a quota of ours that is smaller than the provider's.
    async fn raise_book(&self, today: Day, remaining: u32) -> Option<u32> {
        let limit = self.state().ledger.budget.limit(today);
        let said = limit.saturating_sub(remaining);
        let raised = self.needs.store.raise_quota(self.name(), today, said).await;
        if let Err(error) = &raised {
            let error = chain(error);
            tracing::warn!(provider = %self.config.name, error, "quota not kept");
        }
        raised.ok()
    }

    /// Notes what was `used` today, if that is known, and exports what is left.
    fn show_quota(&self, today: Day, used: Option<u32>) {
        let mut state = self.state();
        if let Some(used) = used {
            state.ledger.budget.note_used(today, used);
        }
        let (limit, remaining) = (
            state.ledger.budget.limit(today),
            state.ledger.budget.remaining(today),
        );
        self.needs
            .metrics
            .provider_quota(self.name(), limit, remaining);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
