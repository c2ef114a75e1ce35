//! Watches the databases' files: whatever takes a file's place is checked whole, and put in force if it
//! is good. What is not good changes nothing.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::volume::{MAX_BYTES, Refusal, Volume};
use super::{Databases, Slot};
use crate::clock::Clock;
use crate::config::Database;
use crate::intelligence::feeds::{Fetched, file};
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

    /// The databases of a configuration that follows `before`. What is on the disk is in force when
    /// this returns.
    pub async fn places(self: &Arc<Self>, configs: &[Database], before: &Databases) -> Databases {
        let mut slots = Vec::with_capacity(configs.len());
        for config in configs {
            let mut others = before.slots.iter();
            if let Some(same) = others.clone().find(|slot| *slot.config == *config) {
                slots.push(Arc::clone(same));
                continue;
            }
            let slot = Slot::new(config.clone(), self.needs.shutdown.child_token());
            if let Some(forerunner) = others.find(|slot| slot.config.name == config.name) {
                slot.inherit(forerunner);
            }
            let slot = Arc::new(slot);
            self.look(&slot).await;
            slots.push(slot);
        }
        Databases { slots }
    }

    /// `next` is in force in place of `before`: watches what came, and no more what is gone.
    pub fn change(self: &Arc<Self>, before: &Databases, next: &Databases) {
        for slot in next.slots.iter().filter(|slot| !stands_in(slot, before)) {
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
            tokio::time::sleep(slot.config.refresh).await;
            let had_a_say = slot.has_a_say();
            self.look(slot).await;
            // Whether anybody can be asked stands in the manifest.
            if slot.has_a_say() != had_a_say {
                self.needs.publisher.changed(Changed::Feeds);
            }
        }
    }

    async fn look(&self, slot: &Arc<Slot>) {
        let (here, now) = (Arc::clone(slot), self.needs.clock.now());
        let looking = tokio::task::spawn_blocking(move || look(&here, now));
        let looked = looking.await.unwrap_or_else(|source| {
            Err(Refusal::Unchecked {
                path: slot.config.path.clone(),
                source,
            })
        });
        let name = &slot.config.name;
        match looked {
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

/// The volume to take, if there is a new one. Blocks.
fn look(slot: &Slot, now: reputation::UnixSeconds) -> Result<Option<Volume>, Refusal> {
    let seen = slot.state().seen.clone();
    let path = &slot.config.path;
    let (bytes, stamp) = match file::read(path, seen.as_ref(), MAX_BYTES)? {
        Fetched::Unchanged => return Ok(None),
        Fetched::New { body, stamp } => (body, stamp),
    };
    slot.state().seen = Some(stamp);
    let volume = Volume::open(&slot.config, bytes, now)?;
    if let Some(before) = slot.volume() {
        volume.may_follow(&before, path)?;
    }
    Ok(Some(volume))
}

/// Whether it is the very same, not one that is configured alike.
fn stands_in(slot: &Arc<Slot>, databases: &Databases) -> bool {
    databases.slots.iter().any(|other| Arc::ptr_eq(slot, other))
}
