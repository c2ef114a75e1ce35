//! Whether a store works, and what about it may cost the operator decisions: asked regularly, told in
//! the log when it changes, and in metrics.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::time::MissedTickBehavior;

use super::Store;
use crate::telemetry::Metrics;

/// How often health is looked at.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreHealth {
    pub kind: StoreKind,
    /// Where it is, without secrets: a path or a URL.
    pub place: String,
    /// Why it does not work now, if it does not.
    pub fault: Option<String>,
    pub concerns: Vec<Concern>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreKind {
    Embedded,
    Redis,
}

/// What is wrong with a store that works, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
pub enum Concern {
    #[error(
        "its maxmemory-policy is {policy}, which may delete decisions when memory runs out: set \
         volatile-lru, or noeviction"
    )]
    Evicting { policy: String },
    #[error(
        "it writes nothing to disk, so that its restart loses every decision: set appendonly yes"
    )]
    NoPersistence,
    #[error(
        "it writes to disk only now and then, so that a crash loses the latest decisions and calls \
         of the quota: set appendonly yes"
    )]
    SnapshotsOnly,
    #[error(
        "it fails to write to disk: look into its log, and whether its disk is full or its \
         directory is missing"
    )]
    PersistenceFailing,
    #[error(
        "it asks for no password at {address}, where others may reach it: set an ACL user with a \
         password (store.username, store.password)"
    )]
    NoPassword { address: String },
    #[error(
        "it is a read-only replica: bans and modes cannot be written. Name the primary in store.url"
    )]
    ReadOnly,
    #[error("its user may not ask INFO, so its settings are not known: allow +info")]
    Unexamined,
    #[error(
        "its memory is full, so that it refuses writes: raise its maxmemory, or set its \
         maxmemory-policy to volatile-lru"
    )]
    Full,
    #[error(
        "decisions on {prefixes} stand in it without the mark that so wide a prefix is meant, so no sidecar \
         wrote them and they are left out: delete them there, or give them by `portcullis ban --force`"
    )]
    Unforced { prefixes: String },
}

impl Concern {
    /// Names it in metrics, for good.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Evicting { .. } => "evicting",
            Self::NoPersistence => "no_persistence",
            Self::SnapshotsOnly => "snapshots_only",
            Self::PersistenceFailing => "persistence_failing",
            Self::NoPassword { .. } => "no_password",
            Self::ReadOnly => "read_only",
            Self::Unexamined => "unexamined",
            Self::Full => "full",
            Self::Unforced { .. } => "unforced",
        }
    }
}

/// Looks at `store` regularly, for as long as it is polled.
pub(super) async fn watch(store: Arc<dyn Store>, metrics: Arc<Metrics>) {
    let mut told = Told::default();
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let health = store.health().await;
        metrics.store_health(&health);
        told.tell(&health);
    }
}

/// What the log says already.
#[derive(Default)]
struct Told {
    fault: Option<String>,
    concerns: BTreeSet<Concern>,
}

impl Told {
    fn tell(&mut self, health: &StoreHealth) {
        let place = health.place.as_str();
        match &health.fault {
            // One fault may hide another that is found a moment later: each is told.
            Some(fault) if self.fault.as_ref() != Some(fault) => {
                tracing::error!(place, fault, "the store does not work");
            }
            None if self.fault.is_some() => tracing::warn!(place, "the store works again"),
            _ => {}
        }
        self.fault.clone_from(&health.fault);
        let concerns: BTreeSet<_> = health.concerns.iter().cloned().collect();
        for concern in concerns.difference(&self.concerns) {
            tracing::warn!(place, %concern, "the store works, but");
        }
        for concern in self.concerns.difference(&concerns) {
            tracing::info!(place, concern = concern.name(), "no concern any more");
        }
        self.concerns = concerns;
    }
}
