//! The answer to "what about this address?": from the images as the filter reads them, then from what
//! providers answered before, then by asking them, for as long as the caller waits.

use std::sync::Arc;
use std::time::Duration;

use reputation::{Band, Cidr, ClientAddress, Policy, UnixSeconds, Verdict};

use super::answers::{Answers, ByProvider, Key};
use super::flight::{Boarded, Flight, Flights};
use super::providers::{Asked, Gate};
use super::recent::RecentlyClean;
use super::sources::Sources;
use super::weigh::{LONGEST_TTL, Life, verdict_of};
use crate::clock::Clock;
use crate::snapshot::Publisher;

/// How long to keep an answer that lacks a provider's word, or rests on a stale one.
const SHORT_TTL: u32 = 30;

pub struct Lookup {
    pub sources: Arc<Sources>,
    pub publisher: Publisher,
    pub gates: Vec<Arc<Gate>>,
    pub recent: Arc<RecentlyClean>,
    pub clock: Arc<dyn Clock>,
    pub policy: Policy,
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
        gates: Vec<Arc<Gate>>,
        recent: Arc<RecentlyClean>,
        clock: Arc<dyn Clock>,
        policy: Policy,
        answers: Answers,
    ) -> Self {
        Self {
            sources,
            publisher,
            gates,
            recent,
            clock,
            policy,
            answers: Arc::new(answers),
            flights: Flights::default(),
        }
    }

    /// The verdict within `wait`: a provisional one if a provider is still being asked by then.
    pub async fn verdict(&self, address: ClientAddress, prefix: u8, wait: Duration) -> Verdict {
        let now = self.clock.now();
        let published = self.publisher.current();
        if let Some(found) = published
            .as_ref()
            .and_then(|images| images.find(address, now))
        {
            let scope = self.scope(
                published.as_deref(),
                address,
                prefix,
                Some(found.prefix_len),
            );
            return verdict_of(&found, address, scope, now);
        }
        let (answers, life) = self.ask(address, wait, now).await;
        let scope = self.scope(published.as_deref(), address, prefix, None);
        let verdict = self.weigh(address, scope, &answers, life);
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
        let answers = self
            .answers
            .remembered(Key::of(address))
            .unwrap_or_default();
        let said = answers
            .iter()
            .flatten()
            .any(|answer| answer.counts(now) && answer.said.is_some());
        let known = said || !self.sources.feeds().indicators(address).is_empty();
        let life = Life::Final { ttl_s: SHORT_TTL };
        known.then(|| self.weigh(address, host, &answers, life))
    }

    /// The providers' answers that are kept, without asking anybody.
    pub async fn kept_answers(&self, address: ClientAddress) -> ByProvider {
        let now = self.clock.now();
        self.answers.get(Key::of(address), &self.gates, now).await
    }

    async fn ask(
        &self,
        address: ClientAddress,
        wait: Duration,
        now: UnixSeconds,
    ) -> (ByProvider, Life) {
        if !self.gates.iter().any(|gate| gate.may_ask_about(address)) {
            let ttl_s = LONGEST_TTL;
            return (ByProvider::default(), Life::Final { ttl_s });
        }
        let key = Key::of(address);
        let answers = self.answers.get(key, &self.gates, now).await;
        let standing = self.standing(&answers, now);
        if !standing.due {
            let life = self.life(&answers, now);
            return (answers, life);
        }
        let flight = match self.board(key, address) {
            Boarded::Landed(answers) => {
                let life = self.life(&answers, now);
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
                let life = self.life(&answers, now);
                (answers, life)
            }
            None => (answers, Life::Provisional),
        }
    }

    fn board(&self, key: Key, address: ClientAddress) -> Boarded<ByProvider> {
        let now = self.clock.now();
        let landed = || {
            let answers = self.answers.remembered(key)?;
            (!self.standing(&answers, now).due).then_some(answers)
        };
        self.flights.board(key, landed, || {
            let (answers, gates) = (Arc::clone(&self.answers), self.gates.clone());
            let clock = Arc::clone(&self.clock);
            let kept = answers.remembered(key).unwrap_or_default();
            async move {
                let asked = ask_due(&gates, &kept, address, now).await;
                answers.put(key, &gates, asked, clock.now()).await
            }
        })
    }

    fn standing(&self, answers: &ByProvider, now: UnixSeconds) -> Standing {
        let mut standing = Standing {
            missing: false,
            due: false,
        };
        for (at, gate) in self.gates.iter().enumerate() {
            let answer = answers.get(at).and_then(Option::as_ref);
            if answer.is_some_and(|answer| answer.is_fresh(now)) || !gate.is_open() {
                continue;
            }
            standing.due = true;
            standing.missing |= !answer.is_some_and(|answer| answer.counts(now));
        }
        standing
    }

    fn life(&self, answers: &ByProvider, now: UnixSeconds) -> Life {
        let each = (0..self.gates.len()).map(|at| {
            let answer = answers.get(at).and_then(Option::as_ref);
            answer.map_or(SHORT_TTL, |answer| answer.fresh_for(now))
        });
        let ttl_s = each.min().unwrap_or(LONGEST_TTL);
        Life::Final {
            ttl_s: ttl_s.clamp(SHORT_TTL, LONGEST_TTL),
        }
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
    let ask = |(at, gate): (usize, &Arc<Gate>)| {
        let answer = kept.get(at).and_then(Option::as_ref);
        let fresh = answer.is_some_and(|answer| answer.is_fresh(now));
        let gate = Arc::clone(gate);
        (!fresh).then(|| tokio::spawn(async move { gate.ask(address).await }))
    };
    let running: Vec<_> = gates.iter().enumerate().map(ask).collect();
    let mut asked = Vec::with_capacity(running.len());
    for task in running {
        asked.push(match task {
            Some(task) => task.await.unwrap_or(Asked::NotAsked),
            None => Asked::NotAsked,
        });
    }
    asked
}
