//! What must outlive the process: decisions, modes, quota, the snapshot's epoch and version, and what
//! providers answered. The trait is the seam at which the embedded store and Redis can be exchanged.
//!
//! Owns durability. Does not own meaning: which decision wins and when an answer is stale is decided
//! by `intelligence`.

pub mod embedded;
mod health;
mod number;
pub mod redis;
#[cfg(test)]
pub(crate) mod suite;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use reputation::manifest::SnapshotVersion;
use reputation::mode::ModeOverride;
use reputation::score::Stance;
use reputation::{ClientAddress, Decision, DecisionId, UnixSeconds};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use self::redis::RedisStore;
use crate::clock::{Clock, Day};
use crate::config::{Backend, Config};
use crate::secrets::Secrets;
use crate::telemetry::Metrics;
use embedded::EmbeddedStore;

pub use health::{Concern, StoreHealth, StoreKind};
pub use number::{Number, Step};

/// How long past its expiry a verdict stays readable at least, in seconds: stale answers serve while a
/// new one is fetched.
pub const KEPT_PAST_EXPIRY: u32 = 72 * 3600;

/// Every method but the verdicts' is durable before it returns: what it wrote survives `kill -9` and a
/// power cut. Verdicts are written in the background, at most a second later.
#[async_trait]
pub trait Store: Send + Sync {
    /// The creation time of this store in seconds, or what it was raised to: orders snapshots of one
    /// fleet (see `reputation::manifest::SnapshotVersion`).
    async fn epoch(&self) -> Result<u64, StoreError>;

    /// Opens an epoch of at least `at_least` and restarts the versions; returns the epoch now in force.
    /// Does nothing if it is that high already.
    async fn raise_epoch(&self, at_least: u64) -> Result<u64, StoreError>;

    /// The epoch now in force, and in it a version above every one handed out before, to whomever,
    /// across restarts. The first is 1. In the same step it is kept whether the snapshot takes something
    /// back, which all who are numbered later learn.
    ///
    /// A store that cannot be written counts on in memory: the proxies must get what is in force, and
    /// first of all the modes. It fails only if the process itself cannot go on.
    async fn next_number(&self, step: Step) -> Result<Number, StoreError>;

    /// The highest version that was handed out in the epoch now in force, to whomever; 0 if none was.
    async fn latest(&self) -> Result<SnapshotVersion, StoreError>;

    /// Resolves when epoch, decisions or modes may differ from what was last read here, because another
    /// process wrote them or the store came back. What this process writes need not count.
    async fn changed(&self);

    async fn decisions(&self) -> Result<Vec<Decision>, StoreError>;

    /// Writes and deletes in one step: after a crash either all of it holds or nothing.
    async fn change_decisions(&self, change: DecisionChange) -> Result<(), StoreError>;

    async fn modes(&self) -> Result<Vec<ModeOverride>, StoreError>;

    /// Replaces all overrides.
    async fn put_modes(&self, modes: &[ModeOverride]) -> Result<(), StoreError>;

    /// Replaces all overrides if they still are `before`, in one step; whether they were. A store that only
    /// this process writes has nobody to compare with.
    async fn swap_modes(
        &self,
        _before: &[ModeOverride],
        modes: &[ModeOverride],
    ) -> Result<bool, StoreError> {
        self.put_modes(modes).await.map(|()| true)
    }

    /// How many calls to `provider` were booked on `day`.
    async fn quota(&self, provider: &str, day: Day) -> Result<u32, StoreError>;

    /// Books one call before it goes out, if fewer than `below` were booked on `day`: looked at and booked
    /// in one step, whoever else books at that moment. Books of days before `day` are dropped.
    async fn book_call(&self, provider: &str, day: Day, below: u32) -> Result<Booking, StoreError>;

    /// The provider itself says that at least `used` calls were made on `day` (somebody else may share
    /// the key); returns the count now in force.
    async fn raise_quota(&self, provider: &str, day: Day, used: u32) -> Result<u32, StoreError>;

    /// What each provider last said of its address, in the order of `keys`, expired or not.
    async fn verdicts(&self, keys: &[VerdictKey])
    -> Result<Vec<Option<StoredVerdict>>, StoreError>;

    async fn put_verdict(&self, key: VerdictKey, verdict: StoredVerdict) -> Result<(), StoreError>;

    /// Deletes verdicts that expired before `before`, if the store does not let them lapse by itself;
    /// returns how many went.
    async fn prune_verdicts(&self, before: UnixSeconds) -> Result<usize, StoreError>;

    /// Makes everything durable that was written so far. Called on shutdown.
    async fn flush(&self) -> Result<(), StoreError>;

    /// Whether it works now, and what about it may cost the operator decisions.
    async fn health(&self) -> StoreHealth;

    async fn put_decision(&self, decision: &Decision) -> Result<(), StoreError> {
        let put = vec![decision.clone()];
        self.change_decisions(DecisionChange {
            put,
            delete: Vec::new(),
        })
        .await
    }

    async fn delete_decision(&self, id: DecisionId) -> Result<(), StoreError> {
        let delete = vec![id];
        self.change_decisions(DecisionChange {
            put: Vec::new(),
            delete,
        })
        .await
    }
}

/// Opens the store that `config` asks for, and watches its health until `shutdown`. Must be called
/// within a tokio runtime.
pub async fn open(
    config: &Config,
    secrets: &Arc<Secrets>,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
    shutdown: &CancellationToken,
) -> Result<Arc<dyn Store>, StoreError> {
    let directory = &config.store.path;
    let store: Arc<dyn Store> = match &config.store.backend {
        Backend::Embedded => Arc::new(EmbeddedStore::open(directory, clock.now()).await?),
        Backend::Redis(config) => {
            Arc::new(RedisStore::open(config, directory, secrets, clock).await?)
        }
    };
    let watching = health::watch(Arc::clone(&store), Arc::clone(metrics));
    let ended = shutdown.clone();
    tokio::spawn(async move { ended.run_until_cancelled(watching).await });
    Ok(store)
}

/// What came of booking a call, and the count that is in force now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Booking {
    /// The call may go out; it is counted.
    Made(u32),
    /// It may not, and is not counted: so many were booked before.
    Full(u32),
}

#[derive(Debug, Clone, Default)]
pub struct DecisionChange {
    pub put: Vec<Decision>,
    pub delete: Vec<DecisionId>,
}

/// One provider's word on one address: providers answer at different times and live differently long.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VerdictKey {
    pub provider: String,
    pub address: ClientAddress,
}

/// What a provider said, ready to become an indicator again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredVerdict {
    /// 0 to 100.
    #[serde(rename = "s")]
    pub score: u8,
    #[serde(rename = "t", default, skip_serializing_if = "is_rated")]
    pub stance: Stance,
    #[serde(rename = "c", default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// When the provider last saw something.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<UnixSeconds>,
    /// When the provider was asked.
    #[serde(rename = "f")]
    pub fetched: UnixSeconds,
    /// From when on it is to be asked again.
    #[serde(rename = "e")]
    pub expires: UnixSeconds,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_rated(stance: &Stance) -> bool {
    *stance == Stance::Rated
}

/// Why the store did not do what it was asked. The sentences are for the operator who starts it.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error(
        "the store's directory {path} cannot be used: create it, or let the user that runs \
         portcullis write there, or set store.path"
    )]
    Directory {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "the store {path} is in use by another process: stop the other `portcullis serve`, or give \
         this one its own store.path"
    )]
    Locked { path: PathBuf },
    #[error(
        "the store {path} is damaged or was written by another version: move it away and start again \
         (decisions made by hand are lost with it), or restore it from a backup"
    )]
    Damaged {
        path: PathBuf,
        #[source]
        source: BoxedError,
    },
    #[error("the store failed to {what}")]
    Failed {
        what: &'static str,
        #[source]
        source: BoxedError,
    },
}

impl Booking {
    pub fn count(self) -> u32 {
        match self {
            Self::Made(count) | Self::Full(count) => count,
        }
    }
}

pub type BoxedError = Box<dyn std::error::Error + Send + Sync>;

fn failed(what: &'static str, source: impl Into<BoxedError>) -> StoreError {
    StoreError::Failed {
        what,
        source: source.into(),
    }
}
