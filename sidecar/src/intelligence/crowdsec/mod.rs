//! CrowdSec: the decisions of Local APIs, followed by their stream.
//!
//! `lapi` asks, `wire` reads what comes, `batch` makes words of it, `book` joins them to what is known, `stream`
//! is one API's state. This module runs each stream's life and puts what is known in force. It lives in memory:
//! after a restart the API is asked for everything.

mod batch;
mod book;
mod duration;
mod lapi;
mod stream;
#[cfg(test)]
mod tests;
mod trial;
mod wire;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio_util::sync::CancellationToken;

pub use stream::Stream;
pub use trial::try_key;

use self::batch::Gatherer;
use self::lapi::LapiError;
use self::stream::Taken;
use super::prefixes::PrefixMapBuilder;
use super::setup::Setup;
use super::sources::Sources;
use super::words::{Entries, Phrasebook, Words};
use crate::clock::Clock;
use crate::config::CrowdSec;
use crate::http::HttpClient;
use crate::secrets::Secrets;
use crate::snapshot::{Changed, Publisher};
use crate::telemetry::{Metrics, chain};

/// Runs the streams. Which there are is in `sources`.
pub struct Streams {
    pub http: HttpClient,
    pub publisher: Publisher,
    /// Ends every stream's life.
    pub shutdown: CancellationToken,
    pub sources: Arc<Sources>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    pub phrasebook: Arc<Phrasebook>,
    /// One change at a time, so that no older state replaces a newer one.
    pub joining: Mutex<()>,
}

impl Streams {
    /// The places of `configured` in a configuration that follows `before`. What is configured as before
    /// goes on; what is configured differently begins with what was known.
    pub fn places(
        &self,
        configured: &[CrowdSec],
        secrets: &Secrets,
        before: &Setup,
    ) -> Vec<Arc<Stream>> {
        let place = |config: &CrowdSec| {
            let mut streams = before.streams.iter();
            let forerunner = streams.find(|stream| stream.config.name == config.name);
            match forerunner {
                Some(same)
                    if *same.config == *config && before.secrets.agree_on(&config.key, secrets) =>
                {
                    Arc::clone(same)
                }
                other => {
                    let known = other.map(|stream| stream.entries()).unwrap_or_default();
                    let ended = self.shutdown.child_token();
                    Arc::new(Stream::new(config.clone(), known, ended))
                }
            }
        };
        configured.iter().map(place).collect()
    }

    /// Follows a change of the configuration that is in force already.
    pub fn change(self: &Arc<Self>, before: &Setup) {
        let setup = Arc::clone(&self.sources.view().setup);
        for gone in before.streams.iter().filter(|it| !stands_in(it, &setup)) {
            gone.ended.cancel();
            if setup
                .streams
                .iter()
                .all(|it| it.config.name != gone.config.name)
            {
                self.metrics.forget_feed(&gone.config.name);
            }
        }
        for stream in &setup.streams {
            if !stands_in(stream, before) {
                self.keep(stream);
            } else if setup.guard != before.guard {
                stream.begin_anew();
            }
        }
        self.join();
    }

    fn keep(self: &Arc<Self>, stream: &Arc<Stream>) {
        let feed = &stream.config;
        self.metrics.feed_configured(&feed.name, feed.refresh);
        let (streams, stream) = (Arc::clone(self), Arc::clone(stream));
        tokio::spawn(async move {
            let ended = stream.ended.clone();
            ended.run_until_cancelled(streams.live(&stream)).await;
        });
    }

    async fn live(&self, stream: &Arc<Stream>) {
        loop {
            let asked = Instant::now();
            let changed = self.poll(stream).await | stream.drop_lapsed(self.clock.now());
            if changed {
                self.join();
                self.publisher.changed(Changed::Words);
            }
            tokio::time::sleep(stream.pause().saturating_sub(asked.elapsed())).await;
        }
    }

    /// Asks once; says whether something changed.
    async fn poll(&self, stream: &Arc<Stream>) -> bool {
        let (asked, question) = (Instant::now(), stream.question(self.clock.now()));
        let setup = Arc::clone(&self.sources.view().setup);
        let receiver = Gatherer::new(
            &stream.config,
            setup.guard.clone(),
            Arc::clone(&self.phrasebook),
            Arc::clone(&self.clock),
        );
        let answer = lapi::ask(
            &self.http,
            &setup.secrets,
            &stream.config,
            question,
            receiver,
        );
        let batch = match answer.await {
            Ok(receiver) => receiver.finish(),
            Err(error) => {
                self.note_failure(stream, &error);
                return false;
            }
        };
        let (new, deleted) = (batch.new.len(), batch.deleted.len());
        let name = &stream.config.name;
        let now = self.clock.now();
        let taken = stream.take(question, batch, now, setup.guard.max_shrink);
        let duration_ms = asked.elapsed().as_secs_f64() * 1000.0;
        tracing::debug!(
            feed = name,
            ?question,
            new,
            deleted,
            duration_ms,
            ?taken,
            "decisions read"
        );
        if let Taken::Doubted { before, now } = taken {
            tracing::warn!(
                feed = name,
                before,
                now,
                "the Local API has far fewer decisions than it told: asked again before that is believed"
            );
            return false;
        }
        self.metrics.feed_taken(name, stream.entries().len(), now);
        taken == Taken::Changed
    }

    fn note_failure(&self, stream: &Stream, error: &LapiError) {
        let (name, why) = (&stream.config.name, chain(error));
        if stream.fail(why.clone()) == 1 {
            tracing::warn!(
                feed = name,
                why,
                "the decisions cannot be read: what is known stays until it lapses"
            );
        }
        self.metrics.feed_refused(name, "fetch");
    }

    /// Puts in force what all streams know.
    fn join(&self) {
        let _one = self.joining.lock().unwrap_or_else(PoisonError::into_inner);
        let setup = Arc::clone(&self.sources.view().setup);
        let all: Vec<_> = setup
            .streams
            .iter()
            .map(|stream| stream.entries())
            .collect();
        let words = Words::new(joined(&all), &self.phrasebook);
        self.metrics.set_words(&words.counts(self.clock.now()));
        self.sources.set_words(words);
    }
}

fn joined(all: &[Arc<Entries>]) -> Arc<Entries> {
    if let [one] = all {
        return Arc::clone(one);
    }
    let mut entries = PrefixMapBuilder::new();
    for (cidr, word) in all.iter().flat_map(|entries| entries.iter()) {
        entries.push(cidr, word);
    }
    Arc::new(entries.build())
}

fn stands_in(stream: &Arc<Stream>, setup: &Setup) -> bool {
    setup.streams.iter().any(|other| Arc::ptr_eq(stream, other))
}
