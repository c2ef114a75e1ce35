//! What must outlive the process: decisions, modes, quota, the snapshot's epoch and version, and what
//! providers answered. The trait is the seam at which the embedded store and Redis can be exchanged.
//!
//! Owns durability. Does not own meaning: which decision wins and when an answer is stale is decided
//! by `intelligence`.

pub mod embedded;
#[cfg(test)]
mod suite;

use std::path::PathBuf;

use async_trait::async_trait;
use reputation::mode::ModeOverride;
use reputation::{ClientAddress, Decision, DecisionId, UnixSeconds};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::clock::Day;

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

    /// A version above every one handed out before in this epoch, across restarts. The first is 1.
    async fn next_version(&self) -> Result<u64, StoreError>;

    async fn decisions(&self) -> Result<Vec<Decision>, StoreError>;

    /// Writes and deletes in one step: after a crash either all of it holds or nothing.
    async fn change_decisions(&self, change: DecisionChange) -> Result<(), StoreError>;

    async fn modes(&self) -> Result<Vec<ModeOverride>, StoreError>;

    /// Replaces all overrides.
    async fn put_modes(&self, modes: &[ModeOverride]) -> Result<(), StoreError>;

    /// How many calls to `provider` were booked on `day`.
    async fn quota(&self, provider: &str, day: Day) -> Result<u32, StoreError>;

    /// Books one call before it goes out; returns the new count. Books of days before `day` are dropped.
    async fn add_quota(&self, provider: &str, day: Day) -> Result<u32, StoreError>;

    /// The provider itself says that at least `used` calls were made on `day` (somebody else may share
    /// the key); returns the count now in force.
    async fn raise_quota(&self, provider: &str, day: Day, used: u32) -> Result<u32, StoreError>;

    /// What `provider` last said of `address`, expired or not: stale answers serve while a new one is
    /// fetched.
    async fn verdict(&self, key: &VerdictKey) -> Result<Option<StoredVerdict>, StoreError>;

    async fn put_verdict(&self, key: VerdictKey, verdict: StoredVerdict) -> Result<(), StoreError>;

    /// Deletes verdicts that expired before `before`; returns how many went.
    async fn prune_verdicts(&self, before: UnixSeconds) -> Result<usize, StoreError>;

    /// Makes everything durable that was written so far. Called on shutdown.
    async fn flush(&self) -> Result<(), StoreError>;

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

pub type BoxedError = Box<dyn std::error::Error + Send + Sync>;
