//! Explicit decisions: giving them, taking them back, letting them lapse. Every change is durable
//! before it counts, and published before the call returns.

mod change;

pub use change::{DecisionError, Given, Hits, NewDecision, Removal, Removed, Restored};

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reputation::decision::{Origin, is_very_wide};
use reputation::{Cidr, Decision, DecisionId, DecisionKind, Rank, UnixSeconds};
use tokio::sync::Mutex;

use super::recent::RecentlyClean;
use super::sources::{DecisionMap, Sources};
use crate::clock::Clock;
use crate::snapshot::{Changed, Publisher};
use crate::store::{DecisionChange, Store, StoreError};
use crate::strangers::is_deceptive;
use crate::telemetry::{Metrics, Sparing, chain};

/// The longest reason and author that are kept, in characters.
const LONGEST_TEXT: usize = 200;
/// How often lapsed decisions are looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// For how long they stay in the store, in seconds. They count no more, but whoever deletes goes by a clock of
/// its own: one that is ahead must not take from all others what is still in force.
const GRACE: u32 = 3600;

pub struct Decisions {
    pub sources: Arc<Sources>,
    pub store: Arc<dyn Store>,
    pub publisher: Publisher,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    pub recent: Arc<RecentlyClean>,
    /// One change at a time, so that store and memory agree.
    changing: Mutex<()>,
    /// How many the metrics tell of.
    counted: AtomicUsize,
}

impl Decisions {
    pub fn new(
        sources: Arc<Sources>,
        store: Arc<dyn Store>,
        publisher: Publisher,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        recent: Arc<RecentlyClean>,
    ) -> Self {
        Self {
            sources,
            store,
            publisher,
            clock,
            metrics,
            recent,
            changing: Mutex::new(()),
            counted: AtomicUsize::new(0),
        }
    }

    /// Gives decisions, each in place of the operator's earlier one of the same rank on the same prefix.
    /// All hold or none does.
    pub async fn give(&self, new: Vec<NewDecision>) -> Result<Given, DecisionError> {
        let accepted = new.into_iter().map(|new| self.accept(new));
        let given = last_of_each(accepted.collect::<Result<_, _>>()?);
        let one = self.changing.lock().await;
        let replaced = self.standing_at(&given);
        let change = DecisionChange {
            put: given.clone(),
            delete: replaced.iter().map(|old| old.id).collect(),
        };
        self.change(change).await?;
        // Others may write while this is published: many changes then become one snapshot.
        drop(one);
        for decision in &given {
            tracing::info!(
                decision_id = %decision.id, cidr = %decision.cidr, kind = ?decision.kind,
                author = decision.author, reason = decision.reason, "decision added"
            );
        }
        self.publisher.publish(Changed::Words).await;
        Ok(Given { given, replaced })
    }

    /// Takes back `taken` and puts `restored` in force again, but for what has lapsed and where somebody
    /// has decided anew since.
    pub async fn restore(
        &self,
        taken: &[DecisionId],
        mut restored: Vec<Decision>,
    ) -> Result<Restored, DecisionError> {
        let now = self.clock.now();
        let one = self.changing.lock().await;
        let present = self.sources.decisions();
        let delete = taken.iter().filter(|id| present.contains_key(id)).copied();
        let delete: Vec<_> = delete.collect();
        let wanted = restored.len();
        let newer = self.standing_at(&restored);
        let newer = newer.iter().filter(|word| !delete.contains(&word.id));
        let newer: HashSet<_> = newer.map(place_of).collect();
        restored.retain(|old| old.in_force(now) && !newer.contains(&place_of(old)));
        let taken_back = delete.iter().filter_map(|id| present.get(id));
        let outcome = Restored {
            taken_back: taken_back.map(|taken| taken.as_ref().clone()).collect(),
            restored: restored.clone(),
            left: wanted - restored.len(),
        };
        let put = restored;
        self.change(DecisionChange { put, delete }).await?;
        drop(one);
        self.publisher.publish(Changed::Words).await;
        Ok(outcome)
    }

    pub async fn remove(&self, what: Removal) -> Result<Vec<Decision>, DecisionError> {
        let one = self.changing.lock().await;
        let mut removed = self.matching(|decision| what.takes_back(decision));
        if removed.is_empty() {
            return match what {
                Removal::Id(id) => Err(DecisionError::Unknown(id)),
                Removal::Bans(_) | Removal::Allows(_) => Ok(removed),
            };
        }
        let change = DecisionChange {
            put: Vec::new(),
            delete: removed.iter().map(|decision| decision.id).collect(),
        };
        self.change(change).await?;
        drop(one);
        let now = self.clock.now();
        removed.retain(|decision| decision.in_force(now));
        for decision in &removed {
            tracing::info!(decision_id = %decision.id, cidr = %decision.cidr, "decision removed");
        }
        self.publisher.publish(Changed::Words).await;
        Ok(removed)
    }

    /// All that are in force, the newest first.
    pub fn all(&self) -> Vec<Decision> {
        let now = self.clock.now();
        let mut all = self.matching(|decision| decision.in_force(now));
        all.sort_by_key(|decision| (std::cmp::Reverse(decision.created), decision.id));
        all
    }

    /// Reads what the store has now, where others may have written; tells whether it differs.
    pub async fn read_again(&self) -> Result<bool, StoreError> {
        let _one = self.changing.lock().await;
        let read = self.store.decisions().await?.into_iter();
        let read: DecisionMap = read.map(|read| (read.id, Arc::new(read))).collect();
        let differs = read != *self.sources.decisions();
        if differs {
            self.put_in_force(read);
        }
        Ok(differs)
    }

    /// Clears away what has lapsed, for as long as it is polled.
    pub async fn sweep(&self) {
        let warning = Sparing::once_a_minute();
        let mut ticks = tokio::time::interval(SWEEP);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.count();
            if let Err(error) = self.clear_lapsed().await
                && warning.is_due()
            {
                tracing::warn!(
                    error = chain(&error),
                    "lapsed decisions are not cleared away"
                );
            }
        }
    }

    async fn clear_lapsed(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let long_ago = |end: UnixSeconds| end.plus(GRACE) <= now;
        let lapsed = |decision: &Decision| decision.expires.is_some_and(long_ago);
        if !self
            .sources
            .decisions()
            .values()
            .any(|decision| lapsed(decision))
        {
            return Ok(());
        }
        let _one = self.changing.lock().await;
        let lapsed = self.matching(lapsed);
        let delete = lapsed.iter().map(|decision| decision.id).collect();
        let put = Vec::new();
        self.change(DecisionChange { put, delete }).await
    }

    fn accept(&self, new: NewDecision) -> Result<Decision, DecisionError> {
        self.check_width(&new)?;
        let now = self.clock.now();
        let expires = match new.ttl.map(|ttl| u32::try_from(ttl.as_secs())) {
            None => None,
            Some(Ok(0)) => return Err(DecisionError::NoTime),
            Some(seconds) => Some(now.plus(seconds.unwrap_or(u32::MAX))),
        };
        Ok(Decision {
            id: self.fresh_id()?,
            cidr: new.cidr,
            kind: new.kind,
            origin: Origin::Operator,
            reason: one_line(new.reason, "reason")?,
            author: one_line(new.author, "author")?,
            created: now,
            // "Never" is not a date: a decision that would outlast the calendar has no end.
            expires: expires.filter(|expires| *expires < UnixSeconds::MAX),
        })
    }

    fn check_width(&self, new: &NewDecision) -> Result<(), DecisionError> {
        // A wide allow switches protection off, as a wide ban locks out.
        if !is_very_wide(new.cidr) {
            return Ok(());
        }
        if new.cidr.len() == 0 && new.kind != DecisionKind::Allow {
            return Err(DecisionError::Everything(new.cidr));
        }
        if new.force {
            return Ok(());
        }
        let clean = self.recent.all();
        let hit = clean.iter().filter(|address| new.cidr.contains(**address));
        let now = self.clock.now();
        let overlaps = |old: &Decision| old.in_force(now) && old.cidr.overlaps(new.cidr);
        Err(DecisionError::TooWide {
            cidr: new.cidr,
            hits: Hits {
                address_bits: new.cidr.network().width() - new.cidr.len(),
                recently_clean: hit.count(),
                decisions: self.matching(overlaps).len(),
            },
        })
    }

    fn fresh_id(&self) -> Result<DecisionId, DecisionError> {
        let taken = self.sources.decisions();
        loop {
            // Zero stands for "no id" where an id is optional.
            let id = DecisionId(getrandom::u64().map_err(|_| DecisionError::NoId)?);
            if id.0 != 0 && !taken.contains_key(&id) {
                return Ok(id);
            }
        }
    }

    /// The operator's decisions that have the places of `others`.
    fn standing_at(&self, others: &[Decision]) -> Vec<Decision> {
        let places: HashSet<_> = others.iter().map(place_of).collect();
        self.matching(|old| old.origin == Origin::Operator && places.contains(&place_of(old)))
    }

    fn matching(&self, wanted: impl Fn(&Decision) -> bool) -> Vec<Decision> {
        let decisions = self.sources.decisions();
        let matching = decisions.values().filter(|decision| wanted(decision));
        matching.map(|decision| decision.as_ref().clone()).collect()
    }

    async fn change(&self, change: DecisionChange) -> Result<(), StoreError> {
        self.store.change_decisions(change.clone()).await?;
        let mut decisions = DecisionMap::clone(&self.sources.decisions());
        for id in &change.delete {
            decisions.remove(id);
        }
        for decision in change.put {
            decisions.insert(decision.id, Arc::new(decision));
        }
        self.put_in_force(decisions);
        Ok(())
    }

    fn put_in_force(&self, decisions: DecisionMap) {
        self.sources.set_decisions(decisions);
        self.show();
    }

    /// Shows in the metrics what lapsed since.
    fn count(&self) {
        let now = self.clock.now();
        let decisions = self.sources.decisions();
        let in_force = decisions.values().filter(|it| it.in_force(now)).count();
        if in_force != self.counted.load(Ordering::Relaxed) {
            self.show();
        }
    }

    fn show(&self) {
        let now = self.clock.now();
        let decisions = self.sources.decisions();
        let in_force: Vec<_> = decisions.values().filter(|it| it.in_force(now)).collect();
        self.counted.store(in_force.len(), Ordering::Relaxed);
        self.metrics
            .set_decisions(in_force.into_iter().map(Arc::as_ref));
    }
}

/// An operator has one word on each.
fn place_of(decision: &Decision) -> (Cidr, Rank) {
    (decision.cidr, decision.rank())
}

/// Of several words on one place the last.
fn last_of_each(mut words: Vec<Decision>) -> Vec<Decision> {
    let mut seen = HashSet::new();
    words.reverse();
    words.retain(|word| seen.insert(place_of(word)));
    words.reverse();
    words
}

/// Reasons reach headers and logs.
fn one_line(text: String, what: &'static str) -> Result<String, DecisionError> {
    let text = text.trim();
    if text.chars().any(is_deceptive) {
        return Err(DecisionError::Text { what });
    }
    Ok(text.chars().take(LONGEST_TEXT).collect())
}
