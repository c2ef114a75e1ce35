//! The modes that the operator sets at run time: kept in the store, sent in the manifest.
//!
//! They are the brake, so they hold even where the store does not take them; it is asked again until it
//! does.

use std::sync::Arc;
use std::time::Duration;

use reputation::mode::{Mode, ModeOverride};
use thiserror::Error;
use tokio::sync::{Mutex, Notify};

use super::sources::Sources;
use crate::clock::Clock;
use crate::snapshot::{Changed, Publisher};
use crate::store::{Store, StoreError};

/// A proxy reads a manifest of bounded size.
const MOST: usize = 256;
/// The longest route or glob, in bytes.
const LONGEST_ROUTE: usize = 256;
/// How often modes are made anew when a sibling changes them at the same moment.
const TRIES: u32 = 8;
/// How long to wait after the store did not take the modes.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Why a mode is not set or taken back.
#[derive(Debug, Error)]
pub enum ModeError {
    #[error("a route is 1 to {LONGEST_ROUTE} bytes of text without control characters")]
    Route,
    #[error("{MOST} modes are set already: take some back first")]
    TooMany,
    #[error(
        "it holds at this sidecar's proxies from now on, but the store did not take it: a restart would \
         end it, and other sidecars do not know of it. The store is asked again until it takes it"
    )]
    NotKept(#[source] StoreError),
}

pub struct Modes {
    sources: Arc<Sources>,
    store: Arc<dyn Store>,
    publisher: Publisher,
    clock: Arc<dyn Clock>,
    /// One change at a time, so that store and memory agree.
    changing: Mutex<Kept>,
    refused: Notify,
}

/// Whether the store has what is in force.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Kept {
    #[default]
    Yes,
    NotYet,
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
            changing: Mutex::default(),
            refused: Notify::new(),
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
        let mut kept = self.changing.lock().await;
        let seconds = ttl.map(|ttl| u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX));
        let until = seconds.map(|seconds| self.clock.now().plus(seconds));
        let mode = ModeOverride { mode, route, until };
        tracing::info!(mode = mode.mode.name(), route = ?mode.route, until = ?mode.until, "mode set");
        let with = |mut modes: Vec<ModeOverride>| {
            modes.retain(|other| other.route != mode.route);
            if modes.len() >= MOST {
                return Err(ModeError::TooMany);
            }
            modes.push(mode.clone());
            Ok(modes)
        };
        self.change(with, &mut kept).await
    }

    /// Takes back what was set for `route`; without one, everything.
    pub async fn clear(&self, route: Option<&str>) -> Result<(), ModeError> {
        let mut kept = self.changing.lock().await;
        tracing::info!(?route, "modes taken back");
        let without = |mut modes: Vec<ModeOverride>| {
            modes.retain(|mode| route.is_some_and(|route| mode.route.as_deref() != Some(route)));
            Ok(modes)
        };
        self.change(without, &mut kept).await
    }

    /// Reads what the store has now, where others may have written, or gives it what it did not take
    /// before; tells whether what is in force differs.
    pub async fn read_again(&self) -> Result<bool, StoreError> {
        self.read(&mut *self.changing.lock().await).await
    }

    /// Resolves when it is time to offer the store again what it did not take.
    pub async fn overdue(&self) {
        self.refused.notified().await;
        tokio::time::sleep(RETRY_AFTER).await;
    }

    async fn read(&self, kept: &mut Kept) -> Result<bool, StoreError> {
        if *kept == Kept::NotYet {
            self.store.put_modes(&self.in_force()).await?;
            tracing::info!("the store has taken the modes that it had refused");
            *kept = Kept::Yes;
            return Ok(false);
        }
        let read = self.store.modes().await?;
        let differs = read != *self.sources.modes();
        if differs {
            self.sources.set_modes(read);
        }
        Ok(differs)
    }

    /// All modes are written at once, so they are written only if they still are what they were made of:
    /// one that a sibling sets at this moment would be lost. Where they never are, such as among what no
    /// sidecar wrote, the operator's word goes before.
    async fn change(
        &self,
        change: impl Fn(Vec<ModeOverride>) -> Result<Vec<ModeOverride>, ModeError>,
        kept: &mut Kept,
    ) -> Result<(), ModeError> {
        for _ in 0..TRIES {
            if *kept == Kept::Yes {
                // What cannot be read stays as it is: writing will say why.
                let _unread = self.read(kept).await;
            }
            let before = self.sources.modes();
            let modes = change(self.in_force())?;
            match self.store.swap_modes(&before, &modes).await {
                Ok(false) if *kept == Kept::Yes => {}
                Ok(false) => break,
                Ok(true) => return self.put_in_force(modes, kept, Ok(())).await,
                Err(error) => return self.put_in_force(modes, kept, Err(error)).await,
            }
        }
        let modes = change(self.in_force())?;
        let put = self.store.put_modes(&modes).await;
        self.put_in_force(modes, kept, put).await
    }

    async fn put_in_force(
        &self,
        modes: Vec<ModeOverride>,
        kept: &mut Kept,
        put: Result<(), StoreError>,
    ) -> Result<(), ModeError> {
        self.sources.set_modes(modes);
        self.publisher.publish(Changed::Words).await;
        *kept = if put.is_ok() { Kept::Yes } else { Kept::NotYet };
        if put.is_err() {
            self.refused.notify_one();
        }
        put.map_err(ModeError::NotKept)
    }
}
