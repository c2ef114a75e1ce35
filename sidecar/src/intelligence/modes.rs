//! The modes that the operator sets at run time: kept in the store, sent in the manifest.

use std::sync::Arc;
use std::time::Duration;

use reputation::mode::{Mode, ModeOverride};
use thiserror::Error;
use tokio::sync::Mutex;

use super::sources::Sources;
use crate::clock::Clock;
use crate::snapshot::{Changed, Publisher};
use crate::store::{Store, StoreError};

/// A proxy reads a manifest of bounded size.
const MOST: usize = 256;
/// The longest route or glob, in bytes.
const LONGEST_ROUTE: usize = 256;

/// Why a mode is not set or taken back.
#[derive(Debug, Error)]
pub enum ModeError {
    #[error("a route is 1 to {LONGEST_ROUTE} bytes of text without control characters")]
    Route,
    #[error("{MOST} modes are set already: take some back first")]
    TooMany,
    #[error("the mode is not kept")]
    Store(#[from] StoreError),
}

pub struct Modes {
    sources: Arc<Sources>,
    store: Arc<dyn Store>,
    publisher: Publisher,
    clock: Arc<dyn Clock>,
    /// One change at a time, so that store and memory agree.
    changing: Mutex<()>,
}

impl Modes {
    pub fn new(
        sources: &Arc<Sources>,
        store: &Arc<dyn Store>,
        publisher: &Publisher,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        Self {
            sources: Arc::clone(sources),
            store: Arc::clone(store),
            publisher: publisher.clone(),
            clock: Arc::clone(clock),
            changing: Mutex::new(()),
        }
    }

    pub fn in_force(&self) -> Vec<ModeOverride> {
        let now = self.clock.now();
        let modes = self.sources.modes();
        modes
            .iter()
            .filter(|mode| mode.in_force(now))
            .cloned()
            .collect()
    }

    /// Sets `mode` for `route` or for all, in place of what was set for the same before.
    pub async fn set(
        &self,
        mode: Mode,
        route: Option<String>,
        ttl: Option<Duration>,
    ) -> Result<(), ModeError> {
        let speaks = |route: &str| (1..=LONGEST_ROUTE).contains(&route.len());
        let plain = |route: &str| !route.chars().any(char::is_control);
        if !route.as_deref().is_none_or(|it| speaks(it) && plain(it)) {
            return Err(ModeError::Route);
        }
        let _one = self.changing.lock().await;
        let seconds = ttl.map(|ttl| u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX));
        let until = seconds.map(|seconds| self.clock.now().plus(seconds));
        let mode = ModeOverride { mode, route, until };
        self.read().await?;
        let mut modes = self.in_force();
        modes.retain(|other| other.route != mode.route);
        if modes.len() >= MOST {
            return Err(ModeError::TooMany);
        }
        tracing::info!(mode = mode.mode.name(), route = ?mode.route, until = ?mode.until, "mode set");
        modes.push(mode);
        Ok(self.replace(modes).await?)
    }

    /// Takes back what was set for `route`; without one, everything.
    pub async fn clear(&self, route: Option<&str>) -> Result<(), ModeError> {
        let _one = self.changing.lock().await;
        tracing::info!(?route, "modes taken back");
        self.read().await?;
        let mut modes = self.in_force();
        modes.retain(|mode| route.is_some_and(|route| mode.route.as_deref() != Some(route)));
        Ok(self.replace(modes).await?)
    }

    /// Reads what the store has now, where others may have written; tells whether it differs.
    pub async fn read_again(&self) -> Result<bool, StoreError> {
        let _one = self.changing.lock().await;
        self.read().await
    }

    /// Before a change too: all modes are written at once, so one that a sibling has just set would be
    /// lost if it were not known here yet.
    async fn read(&self) -> Result<bool, StoreError> {
        let read = self.store.modes().await?;
        let differs = read != *self.sources.modes();
        if differs {
            self.sources.set_modes(read);
        }
        Ok(differs)
    }

    async fn replace(&self, modes: Vec<ModeOverride>) -> Result<(), StoreError> {
        self.store.put_modes(&modes).await?;
        self.sources.set_modes(modes);
        self.publisher.publish(Changed::Words).await;
        Ok(())
    }
}
