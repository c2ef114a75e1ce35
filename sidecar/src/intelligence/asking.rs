//! What providers say of an address: what they said before, from memory and else from the store, and what
//! they say now, if they are to be asked. All of that for as long as somebody waits, who never waits
//! longer: what was begun for him goes on without him.

use std::sync::Arc;

use reputation::{Band, ClientAddress, Policy, UnixSeconds};
use tokio::time::{Instant, timeout_at};

use super::answers::{Answers, ByProvider, Key};
use super::feeds::Hearing;
use super::flight::{Boarded, Flight, Flights};
use super::providers::{Acquaintances, Asked, Candidate, Gate};
use super::setup::Setup;
use super::sources::View;
use super::weigh::{LONGEST_TTL, Life};
use crate::clock::Clock;
use crate::telemetry::metrics::CacheLayer;

/// How long to keep an answer that lacks a provider's word, or rests on a stale one.
pub const SHORT_TTL: u32 = 30;

pub struct Asking {
    answers: Arc<Answers>,
    clock: Arc<dyn Clock>,
    reads: Flights<Key, ByProvider>,
    calls: Flights<Key, ByProvider>,
    acquaintances: Arc<Acquaintances>,
}

/// What is kept of providers' answers.
pub enum Kept {
    /// Nobody is ever asked about the address.
    Nothing,
    Here(ByProvider, CacheLayer),
    /// The store did not say in time.
    Late,
}

/// A question, and those who are to be asked it.
struct Question {
    key: Key,
    candidate: Candidate,
    gates: Vec<Arc<Gate>>,
    policy: Policy,
    /// Where what is known already comes from.
    known_from: CacheLayer,
}

impl Asking {
    pub fn new(answers: Answers, clock: Arc<dyn Clock>) -> Self {
        Self {
            answers: Arc::new(answers),
            clock,
            reads: Flights::default(),
            calls: Flights::default(),
            acquaintances: Arc::default(),
        }
    }

    /// From memory alone.
    pub fn remembered(&self, key: Key) -> Option<ByProvider> {
        self.answers.remembered(key)
    }

    /// From memory, else from the store, however long that takes.
    pub async fn read(&self, key: Key, setup: &Setup, now: UnixSeconds) -> ByProvider {
        match self.answers.recall(key, now) {
            Some(answers) => answers,
            None => self.answers.read(key, &setup.gates, now).await,
        }
    }

    /// The providers are others now, or are asked differently.
    pub fn forget(&self) {
        self.answers.forget();
    }

    /// What is kept about `address` and can be had by `deadline`. If it comes later, whoever is to be
    /// asked then is asked all the same.
    pub async fn kept(
        self: &Arc<Self>,
        view: &Arc<View>,
        address: ClientAddress,
        deadline: Instant,
        now: UnixSeconds,
    ) -> Kept {
        let gates = &view.setup.gates;
        if !gates.iter().any(|gate| gate.may_ask_about(address)) {
            return Kept::Nothing;
        }
        let key = Key::of(address);
        if let Some(answers) = self.answers.recall(key, now) {
            return Kept::Here(answers, CacheLayer::Memory);
        }
        let (boarded, is_first) = self.begin_reading(key, &view.setup, now);
        let flight = match boarded {
            Boarded::Landed(answers) => return Kept::Here(answers, CacheLayer::Memory),
            Boarded::Full => return Kept::Late,
            Boarded::Aloft(flight) => flight,
        };
        let mut landed = Box::pin(flight.landed());
        match timeout_at(deadline, &mut landed).await {
            Ok(Some(answers)) => Kept::Here(answers, CacheLayer::Store),
            Ok(None) => Kept::Late,
            Err(_elapsed) => {
                if is_first {
                    self.go_on(Arc::clone(view), address, landed);
                }
                Kept::Late
            }
        }
    }

    /// The reading of what the store has, and whether this begins it.
    fn begin_reading(
        &self,
        key: Key,
        setup: &Arc<Setup>,
        now: UnixSeconds,
    ) -> (Boarded<ByProvider>, bool) {
        let mut is_first = false;
        let at_hand = || self.answers.at_hand(key, now);
        let boarded = self.reads.board(key, at_hand, || {
            is_first = true;
            let (answers, setup) = (Arc::clone(&self.answers), Arc::clone(setup));
            async move { answers.read(key, &setup.gates, now).await }
        });
        (boarded, is_first)
    }

    /// Goes on for somebody who could not wait for the store. As many at most as reads are under way.
    fn go_on(
        self: &Arc<Self>,
        view: Arc<View>,
        address: ClientAddress,
        landed: impl Future<Output = Option<ByProvider>> + Send + 'static,
    ) {
        let asking = Arc::clone(self);
        tokio::spawn(async move {
            let Some(answers) = landed.await else {
                return;
            };
            let now = asking.clock.now();
            if let Some(question) =
                asking.question(&view, address, &answers, CacheLayer::Store, now)
            {
                asking.board(question, &answers);
            }
        });
    }

    /// What providers say of `address`, by `deadline`, beyond what is `kept`.
    pub async fn ask(
        &self,
        view: &View,
        address: ClientAddress,
        kept: Kept,
        deadline: Instant,
        now: UnixSeconds,
    ) -> (ByProvider, Life) {
        let gates = &view.setup.gates;
        let (answers, layer) = match kept {
            Kept::Nothing => {
                let ttl_s = LONGEST_TTL;
                return (ByProvider::default(), Life::Final { ttl_s });
            }
            Kept::Late => return (ByProvider::default(), Life::Provisional),
            Kept::Here(answers, layer) => (answers, layer),
        };
        let Some(question) = self.question(view, address, &answers, layer, now) else {
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
        known_from: CacheLayer,
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
            known_from,
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
        self.calls.board(key, landed, || {
            let answers = Arc::clone(&self.answers);
            let (clock, known) = (Arc::clone(&self.clock), Arc::clone(&self.acquaintances));
            async move {
                // What comes from the store was read just now.
                if question.known_from == CacheLayer::Memory {
                    answers.renew(key, &mut question.gates, clock.now()).await;
                }
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
    let landed = timeout_at(deadline, flight?.landed());
    landed.await.ok().flatten()
}
