//! What is known about addresses, and who is asked: feeds, providers, decisions, look-ups, and the
//! snapshot that follows from them.
//!
//! [`Intelligence`] is the whole of it for `api` and `cli`; each module below owns one part.

mod answers;
mod asking;
mod crowdsec;
pub mod databases;
mod decisions;
mod epochs;
mod explain;
pub mod feeds;
mod flight;
mod lookup;
mod modes;
pub mod prefixes;
pub mod providers;
mod recent;
mod retry_after;
mod scores;
mod search;
pub mod setup;
mod siblings;
pub mod sources;
mod start;
mod take_over;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tidy;
mod trials;
mod undisturbed;
mod weigh;
pub mod words;

use std::sync::Arc;
use std::time::Duration;

use reputation::manifest::SnapshotVersion;
use reputation::mode::{Mode, ModeOverride};
use reputation::{ClientAddress, Decision, DecisionId, Policy, Verdict};
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use databases::DatabaseStatus;
pub use decisions::{DecisionError, Given, Hits, NewDecision, Removal, Removed, Restored};
pub use epochs::Claim;
pub use explain::{Context, Coverage, Explanation, Rule, SourceWord, Vouched};
pub use feeds::{FeedStatus, ReleaseError};
pub use modes::ModeError;
pub use providers::ProviderStatus;
pub use scores::Spread;
pub use search::{Found, Search, Wanted, Window};

pub use crate::snapshot::Published;

use crate::clock::Clock;
use crate::config::Config;
use crate::history::History;
use crate::http::{HttpClient, Routes};
use crate::secrets::{Secrets, Trial, Vault};
use crate::snapshot::{Changed, Publisher};
use crate::store::{Store, StoreError};
use crate::telemetry::Metrics;
use answers::Answers;
use crowdsec::Streams;
use decisions::Decisions;
use epochs::Epochs;
use feeds::Keeper;
use lookup::{Lookup, LookupParts};
use modes::Modes;
use recent::RecentlyClean;
use sources::Sources;
use undisturbed::undisturbed;

/// What intelligence is made of.
pub struct Parts {
    pub config: Arc<Config>,
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    pub http: HttpClient,
    pub vault: Arc<Vault>,
    pub history: Arc<History>,
    /// Ends every task.
    pub shutdown: CancellationToken,
}

/// Why nothing can be known.
#[derive(Debug, Error)]
pub enum StartError {
    #[error("the decisions and modes cannot be read")]
    Store(#[from] StoreError),
}

pub struct Intelligence {
    decisions: Arc<Decisions>,
    epochs: Arc<Epochs>,
    modes: Arc<Modes>,
    keeper: Arc<Keeper>,
    databases: Arc<databases::Keeper>,
    streams: Arc<Streams>,
    lookup: Lookup,
    publisher: Publisher,
    sources: Arc<Sources>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    http: HttpClient,
    vault: Arc<Vault>,
    history: Arc<History>,
}

impl Intelligence {
    /// Reads what the store and the disk have, and starts everything that goes on by itself. The first
    /// snapshot is built from that, without waiting for the network.
    pub async fn start(parts: Parts) -> Result<Arc<Self>, StartError> {
        let sources = Arc::new(Sources::default());
        let recent = Arc::new(RecentlyClean::default());
        start::load(&sources, &parts).await?;
        let publisher = Publisher::start(start::workshop(&sources, &parts));
        let streams = Arc::new(start::streams(&sources, &publisher, &parts));
        let intelligence = Arc::new(Self {
            decisions: Arc::new(start::decisions(&sources, &recent, &publisher, &parts)),
            epochs: Arc::new(start::epochs(&publisher, &parts)),
            modes: Arc::new(Modes::new(&sources, &parts.store, &publisher, &parts.clock)),
            keeper: Arc::new(start::keeper(&sources, &recent, &publisher, &parts)),
            databases: Arc::new(start::databases(&publisher, &parts)),
            streams: Arc::clone(&streams),
            lookup: Lookup::new(LookupParts {
                sources: Arc::clone(&sources),
                publisher: publisher.clone(),
                recent,
                clock: Arc::clone(&parts.clock),
                metrics: Arc::clone(&parts.metrics),
                streams,
                answers: Answers::new(Arc::clone(&parts.store), Arc::clone(&parts.metrics)),
                history: Arc::clone(&parts.history),
            }),
            publisher,
            sources,
            store: parts.store,
            clock: parts.clock,
            metrics: parts.metrics,
            http: parts.http,
            vault: parts.vault,
            history: parts.history,
        });
        intelligence.put_in_place(&parts.config).await;
        intelligence.remember_as(&parts.config);
        intelligence.publisher.changed(Changed::Feeds);
        intelligence.keep_tidy(&parts.shutdown);
        Ok(intelligence)
    }

    /// The verdict on `address`, waiting for a provider for at most `wait`. For IPv6, `prefix` is the
    /// length of the networks that the caller treats as one client.
    pub async fn verdict(&self, address: ClientAddress, prefix: u8, wait: Duration) -> Verdict {
        self.lookup.verdict(address, prefix, wait).await
    }

    /// What is known of `address` already; asks nobody, waits for nothing.
    pub fn known(&self, address: ClientAddress) -> Option<Verdict> {
        self.lookup.known(address)
    }

    pub async fn explain(&self, address: ClientAddress) -> Explanation {
        self.lookup.explain(address).await
    }

    /// The current snapshot, and each one after it.
    pub fn snapshots(&self) -> watch::Receiver<Option<Arc<Published>>> {
        self.publisher.subscribe()
    }

    /// A proxy says that it holds something newer than we ever published: another sidecar's, or our own
    /// of before the store was lost. If that can be, a higher epoch makes it take ours again.
    pub async fn claimed(&self, seen: SnapshotVersion) -> Claim {
        self.epochs.claimed(seen).await
    }

    /// Gives decisions, each in place of the operator's earlier one on the same prefix; all or none.
    pub async fn give_decisions(&self, new: Vec<NewDecision>) -> Result<Given, DecisionError> {
        let decisions = Arc::clone(&self.decisions);
        undisturbed(async move { decisions.give(new).await }).await
    }

    /// Takes back `taken` and gives `restored` again, where nobody has decided since.
    pub async fn restore_decisions(
        &self,
        taken: Vec<DecisionId>,
        restored: Vec<Decision>,
    ) -> Result<Restored, DecisionError> {
        let decisions = Arc::clone(&self.decisions);
        undisturbed(async move { decisions.restore(&taken, restored).await }).await
    }

    pub async fn remove_decisions(&self, what: Removal) -> Result<Removed, DecisionError> {
        let decisions = Arc::clone(&self.decisions);
        let removed = undisturbed(async move { decisions.remove(what).await }).await?;
        let spoken_of = what
            .cidr()
            .or(removed.first().map(|decision| decision.cidr));
        let still_refused_by = match spoken_of {
            Some(cidr) => self.lookup.refusing_rule(cidr.network()).await,
            None => None,
        };
        Ok(Removed {
            removed,
            still_refused_by,
        })
    }

    /// All decisions of operators in force, the newest first.
    pub fn decisions(&self) -> Vec<Decision> {
        self.decisions.all()
    }

    /// At most `most` of the decisions of sources in force, by address, and how many there are.
    pub fn source_decisions(&self, most: usize) -> (Vec<Decision>, usize) {
        let (words, now) = (self.sources.words(), self.clock.now());
        let in_force = || {
            let entries = words.entries.iter();
            entries.filter(|(_, word)| word.in_force(now))
        };
        let first = in_force().take(most);
        let first = first.filter_map(|(cidr, word)| words.decision(cidr, &word));
        (first.collect(), in_force().count())
    }

    pub fn feeds(&self) -> Vec<FeedStatus> {
        let mut feeds = self.keeper.statuses();
        let (view, now) = (self.sources.view(), self.clock.now());
        feeds.extend(view.setup.streams.iter().map(|stream| stream.status(now)));
        feeds.extend(view.setup.lives.iter().map(|live| live.status(now)));
        feeds
    }

    /// Lets the held version of a feed in.
    pub async fn release_feed(&self, name: &str) -> Result<(), ReleaseError> {
        let (keeper, publisher) = (Arc::clone(&self.keeper), self.publisher.clone());
        let name = name.to_owned();
        undisturbed(async move {
            keeper.release(&name).await?;
            publisher.publish(Changed::Feeds).await;
            Ok(())
        })
        .await
    }

    pub fn providers(&self) -> Vec<ProviderStatus> {
        let view = self.sources.view();
        let gates = view.setup.gates.iter();
        gates.map(|gate| gate.status()).collect()
    }

    pub fn databases(&self) -> Vec<DatabaseStatus> {
        let now = self.clock.now();
        self.sources.view().setup.databases.statuses(now)
    }

    /// Through which proxies we ask others.
    pub fn outgoing(&self) -> Routes {
        self.http.routes()
    }

    /// The secrets that are configured.
    pub fn secrets(&self) -> Arc<Secrets> {
        Arc::clone(&self.sources.view().setup.secrets)
    }

    /// Where it is recorded what was thought and done, if anywhere.
    pub fn history(&self) -> &Arc<History> {
        &self.history
    }

    /// Tries each key with which a source is asked, on that source.
    pub async fn try_keys(&self) -> Vec<Trial> {
        let setup = Arc::clone(&self.sources.view().setup);
        trials::try_keys(&setup, &self.http).await
    }

    /// Where the bands begin.
    pub fn policy(&self) -> Policy {
        self.sources.view().setup.policy
    }

    /// How the scores of what was weighed lately are spread.
    pub fn scores(&self) -> Spread {
        self.lookup.scores.spread(self.clock.now())
    }

    /// Sets a mode for a route (or glob) or for all, for `ttl` or until it is taken back.
    pub async fn set_mode(
        &self,
        mode: Mode,
        route: Option<String>,
        ttl: Option<Duration>,
    ) -> Result<(), ModeError> {
        let modes = Arc::clone(&self.modes);
        undisturbed(async move { modes.set(mode, route, ttl).await }).await
    }

    /// Takes back what was set for `route`; without one, everything.
    pub async fn clear_modes(&self, route: Option<&str>) -> Result<(), ModeError> {
        let (modes, route) = (Arc::clone(&self.modes), route.map(str::to_owned));
        undisturbed(async move { modes.clear(route.as_deref()).await }).await
    }

    pub fn modes(&self) -> Vec<ModeOverride> {
        self.modes.in_force()
    }
}
