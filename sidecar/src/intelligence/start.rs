//! What intelligence is made of at its start: each part, with what it needs of the others.

use std::sync::Arc;

use super::Parts;
use super::crowdsec::{Copies, Streams};
use super::databases;
use super::decisions::Decisions;
use super::epochs::Epochs;
use super::feeds::{Keeper, Needs};
use super::recent::RecentlyClean;
use super::sources::Sources;
use crate::snapshot::{Publisher, Workshop};
use crate::store::StoreError;
use crate::telemetry::Sparing;

/// What the store has of decisions and modes.
pub async fn load(sources: &Sources, parts: &Parts) -> Result<(), StoreError> {
    let decisions = parts.store.decisions().await?;
    let by_id = decisions
        .into_iter()
        .map(|decision| (decision.id, Arc::new(decision)));
    sources.set_decisions(by_id.collect());
    sources.set_modes(parts.store.modes().await?);
    Ok(())
}

pub fn workshop(sources: &Arc<Sources>, parts: &Parts) -> Workshop {
    Workshop {
        sources: Arc::clone(sources),
        store: Arc::clone(&parts.store),
        clock: Arc::clone(&parts.clock),
        shutdown: parts.shutdown.clone(),
    }
}

pub fn keeper(
    sources: &Arc<Sources>,
    recent: &Arc<RecentlyClean>,
    publisher: &Publisher,
    parts: &Parts,
) -> Keeper {
    let needs = Needs {
        http: parts.http.clone(),
        publisher: publisher.clone(),
        shutdown: parts.shutdown.clone(),
        sources: Arc::clone(sources),
        recent: Arc::clone(recent),
        clock: Arc::clone(&parts.clock),
        metrics: Arc::clone(&parts.metrics),
    };
    Keeper::new(&parts.config.store.path, needs)
}

pub fn streams(sources: &Arc<Sources>, publisher: &Publisher, parts: &Parts) -> Streams {
    Streams {
        http: parts.http.clone(),
        publisher: publisher.clone(),
        shutdown: parts.shutdown.clone(),
        sources: Arc::clone(sources),
        clock: Arc::clone(&parts.clock),
        metrics: Arc::clone(&parts.metrics),
        phrasebook: Arc::default(),
        copies: Arc::new(Copies::under(&parts.config.store.path)),
        uncopied: Sparing::once_a_minute(),
        joining: std::sync::Mutex::default(),
    }
}

pub fn decisions(
    sources: &Arc<Sources>,
    recent: &Arc<RecentlyClean>,
    publisher: &Publisher,
    parts: &Parts,
) -> Decisions {
    Decisions::new(
        Arc::clone(sources),
        Arc::clone(&parts.store),
        publisher.clone(),
        Arc::clone(&parts.clock),
        Arc::clone(&parts.metrics),
        Arc::clone(recent),
    )
}

pub fn epochs(publisher: &Publisher, parts: &Parts) -> Epochs {
    let (store, clock) = (Arc::clone(&parts.store), Arc::clone(&parts.clock));
    Epochs::new(publisher.clone(), store, clock)
}

pub fn databases(publisher: &Publisher, parts: &Parts) -> databases::Keeper {
    databases::Keeper::new(databases::Needs {
        publisher: publisher.clone(),
        shutdown: parts.shutdown.clone(),
        clock: Arc::clone(&parts.clock),
        metrics: Arc::clone(&parts.metrics),
    })
}
