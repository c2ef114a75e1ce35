//! The answer to "what about this address?": from the images as the filter reads them, then from what
//! providers say (`asking`), for as long as the caller waits. What lists alone hold
//! to be suspicious stands in the images, and is weighed with all other words all the same.

use std::sync::Arc;
use std::time::Duration;

use reputation::{Band, Cidr, ClientAddress, UnixSeconds, Verdict};
use tokio::time::Instant;

use super::answers::{Answers, ByProvider, Key};
use super::asking::{Asking, SHORT_TTL};
use super::crowdsec::Streams;
use super::feeds::Hearing;
use super::recent::RecentlyClean;
use super::scores::Scores;
use super::setup::Setup;
use super::sources::{Sources, View};
use super::weigh::{Life, verdict_by, verdict_of};
use crate::clock::Clock;
use crate::history::{Heard, History};
use crate::snapshot::Publisher;
use crate::telemetry::Metrics;

pub struct Lookup {
    pub sources: Arc<Sources>,
    pub publisher: Publisher,
    pub recent: Arc<RecentlyClean>,
    pub clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    pub streams: Arc<Streams>,
    asking: Arc<Asking>,
    pub scores: Scores,
    history: Arc<History>,
}

/// What look-ups rest on.
pub struct LookupParts {
    pub sources: Arc<Sources>,
    pub publisher: Publisher,
    pub recent: Arc<RecentlyClean>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    pub streams: Arc<Streams>,
    pub answers: Answers,
    pub history: Arc<History>,
}

impl Lookup {
    pub fn new(parts: LookupParts) -> Self {
        Self {
            asking: Arc::new(Asking::new(parts.answers, Arc::clone(&parts.clock))),
            sources: parts.sources,
            publisher: parts.publisher,
            recent: parts.recent,
            clock: parts.clock,
            metrics: parts.metrics,
            streams: parts.streams,
            scores: Scores::default(),
            history: parts.history,
        }
    }

    /// The verdict within `wait`: a provisional one if the store or a provider has not answered by then. It
    /// rests on the configuration of its beginning, whatever comes meanwhile.
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
            return self.finish(&view, verdict, address, &ByProvider::default(), now);
        }
        // Neither may take the other's time.
        let (heard, kept) = tokio::join!(
            self.streams.hear(&view.setup, address, deadline),
            self.asking.kept(&view, address, deadline, now),
        );
        if let Some(decision) = &heard.decision {
            let len = Some(decision.cidr.len());
            let scope = view.scope(images, address, prefix, len);
            let verdict = verdict_by(decision, scope, heard.for_s.unwrap_or_default());
            return self.finish(&view, verdict, address, &ByProvider::default(), now);
        }
        let asked = self.asking.ask(&view, address, kept, deadline, now);
        let (answers, life) = asked.await;
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
            self.recent.note(address, now);
        }
        self.finish(&view, verdict, address, &answers, now)
    }

    /// Adds what would be answered if every source had a say, and records what is answered at last.
    fn finish(
        &self,
        view: &View,
        verdict: Verdict,
        address: ClientAddress,
        answers: &ByProvider,
        now: UnixSeconds,
    ) -> Verdict {
        let shadow = view.in_shadow(&verdict, address, answers, now);
        // A provisional answer is followed by a final one, which counts.
        if !verdict.provisional {
            if let Some(shadow) = &shadow {
                self.metrics.shadow_answer(&shadow.reason, shadow.action);
            }
            self.record(view, &verdict, address, answers, now);
        }
        Verdict { shadow, ..verdict }
    }

    fn record(
        &self,
        view: &View,
        verdict: &Verdict,
        address: ClientAddress,
        answers: &ByProvider,
        now: UnixSeconds,
    ) {
        let heard = match answers.all().any(|(_, answer)| answer.said.is_some()) {
            true => Heard::Somebody,
            false => Heard::Nobody,
        };
        let words = || {
            let (indicators, score) = view.score(address, answers, Hearing::InForce, now);
            let coverage = score.coverage;
            (indicators, coverage.answered, coverage.asked)
        };
        self.history.note_verdict(address, verdict, heard, words);
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
        let answers = self.asking.remembered(Key::of(address));
        let answers = answers.unwrap_or_default();
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
        self.asking.read(Key::of(address), setup, now).await
    }

    /// The providers are others now, or are asked differently.
    pub fn forget_answers(&self) {
        self.asking.forget();
    }
}
