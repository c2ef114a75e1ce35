//! Watches the databases' files: whatever takes a file's place is checked whole, and put in force if it
//! is good. What is not good changes nothing.

use std::sync::Arc;

use hyper::body::Bytes;
use reputation::UnixSeconds;
use tokio_util::sync::CancellationToken;

use super::volume::{MAX_BYTES, Refusal, Volume};
use super::{Databases, Slot};
use crate::clock::Clock;
use crate::config::Database;
use crate::intelligence::feeds::{Fetched, Stamp, file};
use crate::snapshot::{Changed, Publisher};
use crate::telemetry::{Metrics, chain};

pub struct Keeper {
    needs: Needs,
}

/// What keeping databases needs of its surroundings.
pub struct Needs {
    pub publisher: Publisher,
    /// Ends every watch.
    pub shutdown: CancellationToken,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
}

impl Keeper {
    pub fn new(needs: Needs) -> Self {
        Self { needs }
    }

    /// The databases of a configuration that follows `before`. One that follows another in force has
    /// been read when this returns, so that nothing goes unsaid; nobody waits for any other, which is
    /// read as soon as it is watched.
    pub async fn places(self: &Arc<Self>, configs: &[Database], before: &Databases) -> Databases {
        let mut slots = Vec::with_capacity(configs.len());
        for config in configs {
            let mut others = before.slots.iter();
            if let Some(same) = others.clone().find(|slot| *slot.config == *config) {
                slots.push(Arc::clone(same));
                continue;
            }
            let slot = Slot::new(config.clone(), self.needs.shutdown.child_token());
            let forerunner = others.find(|slot| slot.config.name == config.name);
            if let Some(forerunner) = forerunner {
                slot.inherit(forerunner);
            }
            let slot = Arc::new(slot);
            if forerunner.is_some_and(|forerunner| forerunner.volume().is_some()) {
                self.look(&slot).await;
            }
            slots.push(slot);
        }
        Databases { slots }
    }

    /// `next` is in force in place of `before`: watches what came, and no more what is gone.
    pub fn change(self: &Arc<Self>, before: &Databases, next: &Databases) {
        for slot in next.slots.iter().filter(|slot| !stands_in(slot, before)) {
            let config = &slot.config;
            let metrics = &self.needs.metrics;
            metrics.database_configured(&config.name, config.max_age);
            let (keeper, slot) = (Arc::clone(self), Arc::clone(slot));
            tokio::spawn(async move {
                let ended = slot.ended.clone();
                ended.run_until_cancelled(keeper.watch(&slot)).await;
            });
        }
        for gone in before.slots.iter().filter(|slot| !stands_in(slot, next)) {
            gone.ended.cancel();
            let name = &gone.config.name;
            if !next.slots.iter().any(|slot| slot.config.name == *name) {
                self.needs.metrics.forget_database(name);
            }
        }
    }

    async fn watch(&self, slot: &Arc<Slot>) {
        loop {
            let had_a_say = slot.has_a_say();
            self.look(slot).await;
            // Whether anybody can be asked stands in the manifest.
            if slot.has_a_say() != had_a_say {
                self.needs.publisher.changed(Changed::Feeds);
            }
            tokio::time::sleep(slot.config.refresh).await;
        }
    }

    async fn look(&self, slot: &Arc<Slot>) {
        let (here, now) = (Arc::clone(slot), self.needs.clock.now());
        let looking = tokio::task::spawn_blocking(move || look(&here, now));
        let looked = looking.await.unwrap_or_else(|source| {
            Looked::refused(Refusal::Unchecked {
                path: slot.config.path.clone(),
                source,
            })
        });
        let name = &slot.config.name;
        match looked.found {
            Ok(None) => {}
            Ok(Some(volume)) => {
                let (built, nodes) = (volume.built, volume.nodes());
                let kind = volume.kind.name();
                slot.take(volume);
                self.needs.metrics.database_taken(name, built);
                tracing::info!(
                    database = name,
                    kind,
                    nodes,
                    built = built.0,
                    "database in force"
                );
            }
            Err(refusal) => self.refuse(slot, &refusal),
        }
        // Not before what was found counts: whoever inherits a half-read file would never read it.
        if let Some(stamp) = looked.stamp {
            slot.state().seen = Some(stamp);
        }
    }

    /// A file that stays away is told of once.
    fn refuse(&self, slot: &Slot, refusal: &Refusal) {
        let (name, why) = (&slot.config.name, chain(refusal));
        let mut state = slot.state();
        if state.last_error.as_ref() != Some(&why) {
            tracing::warn!(database = name, why, "a database is not taken");
            self.needs.metrics.database_refused(name, refusal.cause());
        }
        state.last_error = Some(why);
    }
}

/// What a look at a file came to.
struct Looked {
    /// The volume to take, if there is a new one.
    found: Result<Option<Volume>, Refusal>,
    /// The file that was looked into, if another than before.
    stamp: Option<Stamp>,
}

impl Looked {
    fn refused(refusal: Refusal) -> Self {
        Self {
            found: Err(refusal),
            stamp: None,
        }
    }
}

/// Blocks.
fn look(slot: &Slot, now: UnixSeconds) -> Looked {
    let seen = slot.state().seen.clone();
    match file::read(&slot.config.path, seen.as_ref(), MAX_BYTES) {
        Ok(Fetched::Unchanged) => Looked {
            found: Ok(None),
            stamp: None,
        },
        Ok(Fetched::New { body, stamp }) => {
            let found = check(slot, body, now).map(Some);
            // That one is so by our clock, which may be set right: it is looked at again.
            let is_final = !matches!(found, Err(Refusal::Future { .. }));
            let stamp = is_final.then_some(stamp);
            Looked { found, stamp }
        }
        Err(unread) => Looked::refused(unread.into()),
    }
}

fn check(slot: &Slot, bytes: Bytes, now: UnixSeconds) -> Result<Volume, Refusal> {
    let volume = Volume::open(&slot.config, bytes, now)?;
    if let Some(before) = slot.volume() {
        volume.may_follow(&before, &slot.config.path)?;
    }
    Ok(volume)
}

/// Whether it is the very same, not one that is configured alike.
fn stands_in(slot: &Arc<Slot>, databases: &Databases) -> bool {
    databases.slots.iter().any(|other| Arc::ptr_eq(slot, other))
}
