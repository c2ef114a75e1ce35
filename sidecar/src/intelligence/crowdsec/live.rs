//! Live mode: a Local API is asked about each address that no image speaks of. Nothing is followed; what it
//! answers is kept for moments.
//!
//! Owns the cache, the breaker and what is told of both; what a decision means is `batch`'s, as in the stream.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use moka::sync::Cache;
use reputation::{ClientAddress, Decision, UnixSeconds, special};
use tokio::sync::Semaphore;

use super::Streams;
use super::batch::Gatherer;
use super::bouncer::Bouncer;
use super::breaker::Breaker;
use super::lapi::{self, LapiError};
use crate::config::CrowdSec;
use crate::config::crowdsec::Live;
use crate::intelligence::FeedStatus;
use crate::intelligence::flight::{Boarded, Flights};
use crate::intelligence::setup::Setup;
use crate::intelligence::words::{Entries, Words};
use crate::telemetry::chain;

/// How many answers are kept.
const KEPT: u64 = 50_000;
/// How many questions are out at once: whoever sends requests from many addresses must not wear out the API.
const AT_ONCE: usize = 64;

pub struct LiveApi {
    pub config: Arc<CrowdSec>,
    pub live: Live,
    bouncer: Bouncer,
    answers: Cache<ClientAddress, Answer>,
    flights: Flights<ClientAddress, Option<Answer>>,
    places: Semaphore,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    breaker: Breaker,
    last_success: Option<UnixSeconds>,
    last_error: Option<String>,
}

#[derive(Debug, Clone)]
struct Answer {
    /// The decision that counts for the address.
    decision: Option<Decision>,
    until: UnixSeconds,
}

/// What all live APIs say of an address.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    pub decision: Option<Decision>,
    /// For how long that may be kept, in seconds, if anybody was to be asked.
    pub for_s: Option<u32>,
    /// Somebody is still being asked.
    pub waiting: bool,
}

impl LiveApi {
    pub fn new(config: CrowdSec, live: Live) -> Self {
        let config = Arc::new(config);
        Self {
            bouncer: Bouncer::new(Arc::clone(&config)),
            config,
            live,
            answers: Cache::new(KEPT),
            flights: Flights::default(),
            places: Semaphore::new(AT_ONCE),
            state: Mutex::default(),
        }
    }

    pub fn status(&self, now: UnixSeconds) -> FeedStatus {
        let state = self.state();
        FeedStatus {
            last_success: state.last_success,
            age_s: state.last_success.map(|success| success.until(now)),
            last_error: state.last_error.clone(),
            ..FeedStatus::of_crowdsec(&self.config, self.live.cache)
        }
    }

    fn remembered(&self, address: ClientAddress, now: UnixSeconds) -> Option<Answer> {
        self.answers
            .get(&address)
            .filter(|answer| now < answer.until)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heard {
    fn hear(&mut self, decision: Option<Decision>, for_s: u32) {
        self.for_s = Some(self.for_s.map_or(for_s, |least| least.min(for_s)));
        if self.decision.is_none() {
            self.decision = decision;
        }
    }
}

impl Streams {
    /// What live APIs say of `address` until `deadline`. One that fails says nothing.
    pub async fn hear(
        self: &Arc<Self>,
        setup: &Arc<Setup>,
        address: ClientAddress,
        deadline: tokio::time::Instant,
    ) -> Heard {
        let mut heard = Heard::default();
        let nobody = setup.lives.is_empty();
        if nobody || !setup.guard.permit_special && !special::is_public(address) {
            return heard;
        }
        for api in &setup.lives {
            self.hear_one(setup, api, address, deadline, &mut heard)
                .await;
        }
        heard
    }

    /// The same, of what is remembered alone.
    pub fn heard(&self, setup: &Setup, address: ClientAddress) -> Heard {
        let (mut heard, now) = (Heard::default(), self.clock.now());
        for answer in setup
            .lives
            .iter()
            .filter_map(|api| api.remembered(address, now))
        {
            heard.hear(answer.decision, now.until(answer.until));
        }
        heard
    }

    async fn hear_one(
        self: &Arc<Self>,
        setup: &Arc<Setup>,
        api: &Arc<LiveApi>,
        address: ClientAddress,
        deadline: tokio::time::Instant,
        heard: &mut Heard,
    ) {
        let now = self.clock.now();
        if let Some(answer) = api.remembered(address, now) {
            return heard.hear(answer.decision, now.until(answer.until));
        }
        if !api.state().breaker.admits(Instant::now()) {
            return heard.hear(None, whole_seconds(api.live.cache));
        }
        let fly = || {
            let (streams, setup, api) = (Arc::clone(self), Arc::clone(setup), Arc::clone(api));
            async move { streams.ask_about(&setup, &api, address).await }
        };
        let landed = || api.remembered(address, now).map(Some);
        let flight = match api.flights.board(address, landed, fly) {
            Boarded::Landed(answer) => Ok(answer),
            Boarded::Full => Ok(None),
            Boarded::Aloft(flight) => tokio::time::timeout_at(deadline, flight.landed())
                .await
                .map(Option::flatten),
        };
        match flight {
            Ok(Some(answer)) => heard.hear(answer.decision, now.until(answer.until)),
            Ok(None) => heard.hear(None, whole_seconds(api.live.cache)),
            Err(_elapsed) => heard.waiting = true,
        }
    }

    /// Asks, and remembers what is answered. `None` if nothing is.
    async fn ask_about(
        &self,
        setup: &Setup,
        api: &LiveApi,
        address: ClientAddress,
    ) -> Option<Answer> {
        let _place = api.places.try_acquire().ok()?;
        let gatherer = || {
            Gatherer::new(
                &api.config,
                setup.guard.clone(),
                Arc::clone(&self.phrasebook),
                Arc::clone(&self.clock),
            )
        };
        let ask = |pass| {
            let receiver = gatherer();
            async move { lapi::ask_about(&pass, api, address, receiver).await }
        };
        let answered = api.bouncer.let_in(&self.http, &setup.secrets, ask).await;
        let now = self.clock.now();
        match answered {
            Ok(receiver) => {
                let words = receiver.finish().new;
                let counting = words.into_iter().filter(|(cidr, _)| cidr.contains(address));
                let strongest = counting.max_by_key(|(cidr, word)| (cidr.len(), *word));
                let known = Words::new(Arc::<Entries>::default(), &self.phrasebook);
                let decision = strongest.and_then(|(cidr, word)| known.decision(cidr, &word));
                self.note_answer(api, now);
                Some(api.remember(address, decision, now))
            }
            Err(error) => {
                self.note_silence(api, &error);
                None
            }
        }
    }

    fn note_answer(&self, api: &LiveApi, now: UnixSeconds) {
        let mut state = api.state();
        state.breaker.succeed();
        (state.last_success, state.last_error) = (Some(now), None);
        drop(state);
        self.metrics.feed_taken(&api.config.name, 0, now);
    }

    fn note_silence(&self, api: &LiveApi, error: &LapiError) {
        let (feed, why) = (&api.config.name, chain(error));
        let mut state = api.state();
        if state.last_error.is_none() {
            tracing::warn!(
                feed,
                why,
                "the Local API does not answer: it has no say meanwhile"
            );
        }
        state.breaker.fail(Instant::now());
        state.last_error = Some(why);
        drop(state);
        self.metrics.feed_refused(feed, "fetch");
    }
}

impl LiveApi {
    fn remember(
        &self,
        address: ClientAddress,
        decision: Option<Decision>,
        now: UnixSeconds,
    ) -> Answer {
        let longest = now.plus(whole_seconds(self.live.cache));
        let ends = decision.as_ref().and_then(|decision| decision.expires);
        let answer = Answer {
            until: ends.map_or(longest, |ends| ends.min(longest)),
            decision,
        };
        self.answers.insert(address, answer.clone());
        answer
    }
}

fn whole_seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

/// The live APIs of `configured`. What is configured as before goes on.
pub fn lives(
    configured: &[CrowdSec],
    secrets: &crate::secrets::Secrets,
    before: &Setup,
) -> Vec<Arc<LiveApi>> {
    let live = |config: &CrowdSec| {
        let live = config.live?;
        let mut forerunners = before.lives.iter();
        let same = forerunners
            .find(|api| *api.config == *config && before.agrees_on_key_of(config, secrets));
        Some(same.map_or_else(|| Arc::new(LiveApi::new(config.clone(), live)), Arc::clone))
    };
    configured.iter().filter_map(live).collect()
}
