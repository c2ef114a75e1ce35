//! CrowdSec: the decisions of Local APIs, followed by their stream.
//!
//! `bouncer` is as whom, `lapi` asks, `wire` reads what comes, `batch` makes words of it, `book` joins them to what is known, `stream`
//! is one API's state, `copy` keeps it on disk, `usage` tells the API about it. This module runs each stream's life and puts what is known in
//! force. After a restart the API is asked for everything.

mod batch;
mod book;
mod bouncer;
mod breaker;
mod copy;
mod copying;
mod duration;
mod lapi;
mod live;
mod stream;
#[cfg(test)]
mod tests;
mod trial;
mod usage;
mod wire;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio_util::sync::CancellationToken;

pub use copy::Copies;
pub use live::{Heard, LiveApi, lives};
pub use stream::Stream;
pub use trial::try_key;

use self::batch::{Batch, Gatherer};
use self::bouncer::Pass;
use self::copying::Copying;
use self::lapi::{LapiError, Question};
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
use crate::telemetry::{Metrics, Sparing, chain};

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
    pub copies: Arc<Copies>,
    /// One change at a time, so that no older state replaces a newer one.
    pub joining: Mutex<()>,
    pub uncopied: Sparing,
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
                    if *same.config == *config && before.agrees_on_key_of(config, secrets) =>
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
        let followed = configured.iter().filter(|config| config.live.is_none());
        followed.map(place).collect()
    }

    /// Follows a change of the configuration that is in force already. Returns when what is kept on disk is read.
    pub async fn change(self: &Arc<Self>, before: &Setup) {
        let setup = Arc::clone(&self.sources.view().setup);
        for gone in before.streams.iter().filter(|it| !stands_in(it, &setup)) {
            gone.ended.cancel();
            if setup.crowdsec.iter().all(|it| it.name != gone.config.name) {
                self.metrics.forget_feed(&gone.config.name);
            }
        }
        for gone in before.lives.iter().map(|live| &live.config.name) {
            if setup.crowdsec.iter().all(|it| it.name != *gone) {
                self.metrics.forget_feed(gone);
            }
        }
        for stream in &setup.streams {
            if !stands_in(stream, before) {
                self.restore(stream).await;
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
            let life = async { tokio::join!(streams.live(&stream), streams.tell_usage(&stream)) };
            ended.run_until_cancelled(life).await;
        });
    }

    /// Begins with what is kept on disk, unless more than that is known.
    async fn restore(self: &Arc<Self>, stream: &Arc<Stream>) {
        if !stream.entries().is_empty() {
            return;
        }
        let (streams, config) = (Arc::clone(self), Arc::clone(&stream.config));
        let reading = tokio::task::spawn_blocking(move || {
            let (guard, now) = (&streams.sources.view().setup.guard, streams.clock.now());
            streams
                .copies
                .load(&config, guard, &streams.phrasebook, now)
        });
        let name = &stream.config.name;
        match reading.await {
            Ok(Ok(Some(kept))) => {
                let (entries, told) = (kept.entries.len(), kept.told);
                tracing::info!(
                    feed = name,
                    entries,
                    "decisions of before the restart in force"
                );
                self.metrics.feed_taken(name, entries, told);
                stream.restore(kept);
            }
            Ok(Ok(None)) => {}
            Ok(Err(error)) => {
                let error = chain(&error);
                tracing::warn!(
                    feed = name,
                    error,
                    "the decisions kept on disk are not used"
                );
            }
            // It ends early only with the runtime.
            Err(_ended) => {}
        }
    }

    async fn live(&self, stream: &Arc<Stream>) {
        let mut copying = Copying::default();
        loop {
            let asked = Instant::now();
            let changed = self.poll(stream).await | stream.drop_lapsed(self.clock.now());
            if changed {
                self.join();
                self.publisher.changed(Changed::Words);
            }
            self.copy(stream, &mut copying).await;
            tokio::time::sleep(stream.pause().saturating_sub(asked.elapsed())).await;
        }
    }

    /// Writes what is known to the disk, if it is time for that.
    async fn copy(&self, stream: &Arc<Stream>, copying: &mut Copying) {
        let (entries, Some(told)) = stream.known() else {
            return;
        };
        let begun = Instant::now();
        if !copying.is_due(&entries, told, begun) {
            return;
        }
        let words = Words::new(Arc::clone(&entries), &self.phrasebook);
        let (copies, config) = (Arc::clone(&self.copies), Arc::clone(&stream.config));
        let saving = tokio::task::spawn_blocking(move || copies.save(&config, &words, told));
        match saving.await {
            Ok(Ok(())) => copying.wrote(entries, told, begun),
            Ok(Err(error)) => {
                copying.tried(begun);
                if self.uncopied.is_due() {
                    let (feed, error) = (&stream.config.name, chain(&error));
                    tracing::warn!(feed, error, "a restart would forget the decisions");
                }
            }
            // It ends early only with the runtime.
            Err(_ended) => {}
        }
    }

    /// Asks once; says whether something changed.
    async fn poll(&self, stream: &Arc<Stream>) -> bool {
        let asked = Instant::now();
        let setup = Arc::clone(&self.sources.view().setup);
        let (question, batch) = match self.ask(stream, &setup).await {
            Ok(answer) => answer,
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

    async fn ask(
        &self,
        stream: &Arc<Stream>,
        setup: &Setup,
    ) -> Result<(Question, Batch), LapiError> {
        let ask = |pass| async move { self.ask_with(stream, setup, &pass).await };
        let (bouncer, secrets) = (&stream.bouncer, &setup.secrets);
        bouncer.let_in(&self.http, secrets, ask).await
    }

    async fn ask_with(
        &self,
        stream: &Arc<Stream>,
        setup: &Setup,
        pass: &Pass,
    ) -> Result<(Question, Batch), LapiError> {
        let question = stream.question(&pass.caller, self.clock.now());
        let receiver = Gatherer::new(
            &stream.config,
            setup.guard.clone(),
            Arc::clone(&self.phrasebook),
            Arc::clone(&self.clock),
        );
        let answer = lapi::ask(pass, &stream.config, question, receiver).await?;
        stream.told_to(&pass.caller);
        Ok((question, answer.finish()))
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
