//! The answer to "what about this address?": from the images as the filter reads them, then from what
//! providers answered before, then by asking them, for as long as the caller waits.

use std::sync::Arc;
use std::time::Duration;

use reputation::{Band, Cidr, ClientAddress, UnixSeconds, Verdict};

use super::answers::{Answers, ByProvider, Key};
use super::flight::{Boarded, Flight, Flights};
use super::providers::{Asked, Gate};
use super::recent::RecentlyClean;
use super::setup::Setup;
use super::sources::Sources;
use super::weigh::{LONGEST_TTL, Life, verdict_of};
use crate::clock::Clock;
use crate::snapshot::Publisher;

/// How long to keep an answer that lacks a provider's word, or rests on a stale one.
const SHORT_TTL: u32 = 30;

pub struct Lookup {
    pub sources: Arc<Sources>,
    pub publisher: Publisher,
    pub recent: Arc<RecentlyClean>,
    pub clock: Arc<dyn Clock>,
    answers: Arc<Answers>,
    flights: Flights<Key, ByProvider>,
}

/// What the providers' answers allow.
struct Standing {
    /// A provider that can be asked has no answer that counts.
    missing: bool,
    /// A provider that can be asked has none that is fresh.
    due: bool,
}

impl Lookup {
    pub fn new(
        sources: Arc<Sources>,
        publisher: Publisher,
        recent: Arc<RecentlyClean>,
        clock: Arc<dyn Clock>,
        answers: Answers,
    ) -> Self {
        Self {
            sources,
            publisher,
            recent,
            clock,
            answers: Arc::new(answers),
            flights: Flights::default(),
        }
    }

    /// The verdict within `wait`: a provisional one if a provider is still being asked by then. It rests
    /// on the configuration of its beginning, whatever comes meanwhile.
    pub async fn verdict(&self, address: ClientAddress, prefix: u8, wait: Duration) -> Verdict {
        let now = self.clock.now();
        let view = self.sources.view();
        let published = self.publisher.current();
        if let Some(found) = published
            .as_ref()
            .and_then(|images| images.find(address, now))
        {
            let scope = view.scope(
                published.as_deref(),
                address,
                prefix,
                Some(found.prefix_len),
            );
            return verdict_of(&found, address, scope, now);
        }
        let (answers, life) = self.ask(&view.setup, address, wait, now).await;
        let scope = view.scope(published.as_deref(), address, prefix, None);
        let verdict = view.weigh(address, scope, &answers, life, self.clock.now());
        if verdict.band == Band::Clean && !verdict.provisional {
            self.recent.note(address);
        }
        verdict
    }

    /// What is known without asking anybody.
    pub fn known(&self, address: ClientAddress) -> Option<Verdict> {
        let now = self.clock.now();
        let host = Cidr::host(address);
        let published = self.publisher.current();
        if let Some(found) = published
            .as_ref()
            .and_then(|images| images.find(address, now))
        {
            return Some(verdict_of(&found, address, host, now));
        }
        let view = self.sources.view();
        let answers = self
            .answers
            .remembered(Key::of(address))
            .unwrap_or_default();
        let gates = view.setup.gates.iter();
        let said = gates
            .filter_map(|gate| answers.of(gate.name()))
            .any(|answer| answer.counts(now) && answer.said.is_some());
        let known = said || !view.feeds.indicators(address).is_empty();
        let life = Life::Final { ttl_s: SHORT_TTL };
        known.then(|| view.weigh(address, host, &answers, life, now))
    }

    /// The providers' answers that are kept, without asking anybody.
    pub async fn kept_answers(
        &self,
        setup: &Setup,
        address: ClientAddress,
        now: UnixSeconds,
    ) -> ByProvider {
        self.answers.get(Key::of(address), &setup.gates, now).await
    }

    /// The providers are others now, or are asked differently.
    pub fn forget_answers(&self) {
        self.answers.forget();
    }

    async fn ask(
        &self,
        setup: &Setup,
        address: ClientAddress,
        wait: Duration,
        now: UnixSeconds,
    ) -> (ByProvider, Life) {
        let gates = &setup.gates;
        if !gates.iter().any(|gate| gate.may_ask_about(address)) {
            let ttl_s = LONGEST_TTL;
            return (ByProvider::default(), Life::Final { ttl_s });
        }
        let key = Key::of(address);
        let answers = self.answers.get(key, gates, now).await;
        let standing = Standing::of(gates, &answers, now);
        if !standing.due {
            let life = life(gates, &answers, now);
            return (answers, life);
        }
        let flight = match self.board(gates, key, address) {
            Boarded::Landed(answers) => {
                let life = life(gates, &answers, now);
                return (answers, life);
            }
            Boarded::Full => None,
            Boarded::Aloft(flight) => Some(flight),
        };
        if !standing.missing {
            return (answers, Life::Final { ttl_s: SHORT_TTL });
        }
        match landed_within(flight, wait).await {
            Some(answers) => {
                let life = life(gates, &answers, now);
                (answers, life)
            }
            None => (answers, Life::Provisional),
        }
    }

    fn board(&self, gates: &[Arc<Gate>], key: Key, address: ClientAddress) -> Boarded<ByProvider> {
        let now = self.clock.now();
        let landed = || {
            let answers = self.answers.remembered(key)?;
            (!Standing::of(gates, &answers, now).due).then_some(answers)
        };
        self.flights.board(key, landed, || {
            let (answers, gates) = (Arc::clone(&self.answers), gates.to_vec());
            let clock = Arc::clone(&self.clock);
            let kept = answers.remembered(key).unwrap_or_default();
            async move {
                let asked = ask_due(&gates, &kept, address, now).await;
                answers.put(key, &gates, asked, clock.now()).await
            }
        })
    }
}

impl Standing {
    fn of(gates: &[Arc<Gate>], answers: &ByProvider, now: UnixSeconds) -> Self {
        let mut standing = Self {
            missing: false,
            due: false,
        };
        for gate in gates {
            let answer = answers.of(gate.name());
            if answer.is_some_and(|answer| answer.is_fresh(now)) || !gate.is_open() {
                continue;
            }
            standing.due = true;
            standing.missing |= !answer.is_some_and(|answer| answer.counts(now));
        }
        standing
    }
}

fn life(gates: &[Arc<Gate>], answers: &ByProvider, now: UnixSeconds) -> Life {
    let each = gates.iter().map(|gate| {
        let answer = answers.of(gate.name());
        answer.map_or(SHORT_TTL, |answer| answer.fresh_for(now))
    });
    let ttl_s = each.min().unwrap_or(LONGEST_TTL);
    Life::Final {
        ttl_s: ttl_s.clamp(SHORT_TTL, LONGEST_TTL),
    }
}

async fn landed_within(flight: Option<Flight<ByProvider>>, wait: Duration) -> Option<ByProvider> {
    let landed = tokio::time::timeout(wait, flight?.landed());
    landed.await.ok().flatten()
}

/// Asks those that have no fresh answer, all at once: one slow provider does not delay another.
async fn ask_due(
    gates: &[Arc<Gate>],
    kept: &ByProvider,
    address: ClientAddress,
    now: UnixSeconds,
) -> Vec<Asked> {
    let ask = |gate: &Arc<Gate>| {
        let answer = kept.of(gate.name());
        let fresh = answer.is_some_and(|answer| answer.is_fresh(now));
        let gate = Arc::clone(gate);
        (!fresh).then(|| tokio::spawn(async move { gate.ask(address).await }))
    };
    let running: Vec<_> = gates.iter().map(ask).collect();
    let mut asked = Vec::with_capacity(running.len());
    for task in running {
        asked.push(match task {
            Some(task) => task.await.unwrap_or(Asked::NotAsked),
            None => Asked::NotAsked,
        });
    }
    asked
}
