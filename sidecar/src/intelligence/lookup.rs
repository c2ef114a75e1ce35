//! The answer to "what about this address?": from the images as the filter reads them, then from what
//! providers answered before, then by asking them, for as long as the caller waits. What lists alone hold
//! to be suspicious stands in the images, and is weighed with all other words all the same.

use std::sync::Arc;
use std::time::Duration;

use reputation::{Band, Cidr, ClientAddress, Policy, UnixSeconds, Verdict};
use tokio::time::Instant;

use super::answers::{Answers, ByProvider, Key};
use super::crowdsec::Streams;
use super::feeds::Hearing;
use super::flight::{Boarded, Flight, Flights};
use super::providers::{Acquaintances, Asked, Candidate, Gate};
use super::recent::RecentlyClean;
use super::scores::Scores;
use super::setup::Setup;
use super::sources::{Sources, View};
use super::weigh::{LONGEST_TTL, Life, verdict_by, verdict_of};
use crate::clock::Clock;
use crate::snapshot::Publisher;
use crate::telemetry::Metrics;

/// How long to keep an answer that lacks a provider's word, or rests on a stale one.
const SHORT_TTL: u32 = 30;

pub struct Lookup {
    pub sources: Arc<Sources>,
    pub publisher: Publisher,
    pub recent: Arc<RecentlyClean>,
    pub clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    pub streams: Arc<Streams>,
    answers: Arc<Answers>,
    flights: Flights<Key, ByProvider>,
    acquaintances: Arc<Acquaintances>,
    pub scores: Scores,
}

/// A question, and those who are to be asked it.
struct Question {
    key: Key,
    candidate: Candidate,
    gates: Vec<Arc<Gate>>,
    policy: Policy,
}

impl Lookup {
    pub fn new(
        sources: Arc<Sources>,
        publisher: Publisher,
        recent: Arc<RecentlyClean>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        streams: Arc<Streams>,
        answers: Answers,
    ) -> Self {
        Self {
            sources,
            publisher,
            recent,
            clock,
            metrics,
            streams,
            answers: Arc::new(answers),
            flights: Flights::default(),
            acquaintances: Arc::new(Acquaintances::default()),
            scores: Scores::default(),
        }
    }

    /// The verdict within `wait`: a provisional one if a provider is still being asked by then. It rests
    /// on the configuration of its beginning, whatever comes meanwhile.
    pub async fn verdict(&self, address: ClientAddress, prefix: u8, wait: Duration) -> Verdict {
        let (now, deadline) = (self.clock.now(), Instant::now() + wait);
        let view = self.sources.view();
        let published = self.publisher.current();
        let images = published.as_deref();
        let found = images.and_then(|images| images.find(address, now));
        let listed = found.as_ref().map(|found| found.prefix_len);
        if let Some(found) = found.as_ref().filter(|found| !found.is_open()) {
            let scope = view.scope(images, address, prefix, listed);
            let verdict = verdict_of(found, address, scope, now);
            return self.with_shadow(&view, verdict, address, &ByProvider::default(), now);
        }
        let heard = self.streams.hear(&view.setup, address, deadline).await;
        if let Some(decision) = &heard.decision {
            let len = Some(decision.cidr.len());
            let scope = view.scope(images, address, prefix, len);
            let verdict = verdict_by(decision, scope, heard.for_s.unwrap_or_default());
            return self.with_shadow(&view, verdict, address, &ByProvider::default(), now);
        }
        let (answers, life) = self.ask(&view, address, deadline, now).await;
        let life = life.with(&heard);
        // Of the addresses beside it nothing was heard.
        let alone = heard.for_s.or(heard.waiting.then_some(0)).map(|_| u8::MAX);
        let scope = view.scope(images, address, prefix, alone.or(listed));
        let weighed = view.weigh(address, scope, &answers, life, self.clock.now());
        let verdict = Verdict {
            // Even if it is clean now: that tells the filter that what lists alone say is weighed in.
            rank: weighed.rank.or(found.map(|found| found.rank)),
            ..weighed
        };
        if !verdict.provisional {
            self.scores.note(verdict.score, now);
        }
        if verdict.band == Band::Clean && !verdict.provisional {
            self.recent.note(address);
        }
        self.with_shadow(&view, verdict, address, &answers, now)
    }

    /// Adds what would be answered if every source had a say.
    fn with_shadow(
        &self,
        view: &View,
        verdict: Verdict,
        address: ClientAddress,
        answers: &ByProvider,
        now: UnixSeconds,
    ) -> Verdict {
        let shadow = view.in_shadow(&verdict, address, answers, now);
        // A provisional answer is followed by a final one, which counts.
        if let Some(shadow) = shadow.as_ref().filter(|_| !verdict.provisional) {
            self.metrics.shadow_answer(&shadow.reason, shadow.action);
        }
        Verdict { shadow, ..verdict }
    }

    /// What is known without asking anybody.
    pub fn known(&self, address: ClientAddress) -> Option<Verdict> {
        let now = self.clock.now();
        let host = Cidr::host(address);
        let published = self.publisher.current();
        let found = published
            .as_ref()
            .and_then(|images| images.find(address, now));
        if let Some(found) = found.filter(|found| !found.is_open()) {
            return Some(verdict_of(&found, address, host, now));
        }
        let view = self.sources.view();
        let heard = self.streams.heard(&view.setup, address);
        if let Some(decision) = &heard.decision {
            return Some(verdict_by(decision, host, heard.for_s.unwrap_or_default()));
        }
        let answers = self
            .answers
            .remembered(Key::of(address))
            .unwrap_or_default();
        let gates = view.setup.gates.iter();
        let said = gates
            .filter_map(|gate| answers.of(gate.name()))
            .any(|answer| answer.counts(now) && answer.said.is_some());
        let listed = !view.feeds.indicators(address, Hearing::InForce).is_empty();
        let known = said || listed || view.setup.databases.speak_against(address);
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
        view: &View,
        address: ClientAddress,
        deadline: Instant,
        now: UnixSeconds,
    ) -> (ByProvider, Life) {
        let gates = &view.setup.gates;
        if !gates.iter().any(|gate| gate.may_ask_about(address)) {
            let ttl_s = LONGEST_TTL;
            return (ByProvider::default(), Life::Final { ttl_s });
        }
        let key = Key::of(address);
        let answers = self.answers.get(key, gates, now).await;
        let Some(question) = self.question(view, address, &answers, now) else {
            let life = life(gates, &answers, now);
            return (answers, life);
        };
        let missing = question.is_open(&answers, now);
        let flight = match self.board(question, &answers) {
            Boarded::Landed(answers) => {
                let life = life(gates, &answers, now);
                return (answers, life);
            }
            Boarded::Full => None,
            Boarded::Aloft(flight) => Some(flight),
        };
        if !missing {
            return (answers, Life::Final { ttl_s: SHORT_TTL });
        }
        match landed_by(deadline, flight).await {
            Some(answers) => {
                let life = life(gates, &answers, now);
                (answers, life)
            }
            None => (answers, Life::Provisional),
        }
    }

    /// What is to be asked about `address`, if anybody is to be asked: only those whose answer is due
    /// count it as seen.
    fn question(
        &self,
        view: &View,
        address: ClientAddress,
        answers: &ByProvider,
        now: UnixSeconds,
    ) -> Option<Question> {
        let (key, setup) = (Key::of(address), &view.setup);
        let is_due = |gate: &&Arc<Gate>| {
            let answer = answers.of(gate.name());
            answer.is_none_or(|answer| answer.is_due(|| gate.has_plenty(), now))
        };
        let due: Vec<_> = setup.gates.iter().filter(is_due).cloned().collect();
        if due.is_empty() {
            return None;
        }
        let listed = !view.feeds.indicators(address, Hearing::InForce).is_empty();
        let heard = setup.gates.iter();
        let heard = heard.filter(|gate| gate.has_say_on(key.address()));
        let suspicious =
            listed || answers.speak_against(heard, now) || setup.databases.speak_against(address);
        let window_s = setup.budget.window_s();
        let candidate = self
            .acquaintances
            .meet(address, key.address(), suspicious, window_s, now);
        let admitted = due.into_iter().filter(|gate| gate.admits(&candidate));
        let question = Question {
            key,
            candidate,
            gates: admitted.collect(),
            policy: setup.policy,
        };
        (!question.gates.is_empty()).then_some(question)
    }

    /// `seen` is what the question rests on: what was answered since need not be asked again.
    fn board(&self, mut question: Question, seen: &ByProvider) -> Boarded<ByProvider> {
        let (key, now) = (question.key, self.clock.now());
        let gates = question.gates.clone();
        let landed = || {
            let answers = self.answers.remembered(key)?;
            let is_new = |gate: &Arc<Gate>| {
                let answer = answers.of(gate.name());
                answer.is_some_and(|it| it.is_fresh(now)) && answer != seen.of(gate.name())
            };
            gates.iter().all(is_new).then_some(answers)
        };
        self.flights.board(key, landed, || {
            let answers = Arc::clone(&self.answers);
            let (clock, known) = (Arc::clone(&self.clock), Arc::clone(&self.acquaintances));
            async move {
                answers.renew(key, &mut question.gates, clock.now()).await;
                let asked = question.ask().await;
                let now = clock.now();
                if question.is_bad(&asked) {
                    known.note_bad(question.candidate.network(), now);
                }
                answers.put(key, &question.gates, asked, now).await
            }
        })
    }
}

impl Question {
    /// Whether somebody has no answer to it that counts.
    fn is_open(&self, answers: &ByProvider, now: UnixSeconds) -> bool {
        let mut each = self.gates.iter().map(|gate| answers.of(gate.name()));
        each.any(|answer| !answer.is_some_and(|answer| answer.counts(now)))
    }

    /// Asks all at once: one slow provider does not delay another.
    async fn ask(&self) -> Vec<Asked> {
        let ask = |gate: &Arc<Gate>| {
            let (gate, candidate) = (Arc::clone(gate), self.candidate);
            tokio::spawn(async move { gate.ask(&candidate).await })
        };
        let running: Vec<_> = self.gates.iter().map(ask).collect();
        let mut asked = Vec::with_capacity(running.len());
        for task in running {
            asked.push(task.await.unwrap_or(Asked::NotAsked));
        }
        asked
    }

    /// Whether somebody who has a say on it said something bad.
    fn is_bad(&self, asked: &[Asked]) -> bool {
        let client = self.key.address();
        let heard = self.gates.iter().zip(asked);
        let heard = heard.filter(|(gate, _)| gate.has_say_on(client));
        let mut words = heard.filter_map(|(_, asked)| match asked {
            Asked::Said(word) => Some(word),
            Asked::Silent { .. } | Asked::NotAsked => None,
        });
        words.any(|word| self.policy.band(word.score) != Band::Clean)
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

async fn landed_by(deadline: Instant, flight: Option<Flight<ByProvider>>) -> Option<ByProvider> {
    let landed = tokio::time::timeout_at(deadline, flight?.landed());
    landed.await.ok().flatten()
}
