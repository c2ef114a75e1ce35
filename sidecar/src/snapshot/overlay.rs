//! What differs between the state that the base was built from and the current one, as an overlay that
//! is complete against that base.
//!
//! What was added is added. Where something was taken back, a mask hides the base, and everything
//! current that touches the mask is stated again. A listed entry that merely changed its class needs no
//! mask: on the same prefix and rank the overlay wins.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use reputation::{Cidr, Decision, DecisionId, UnixSeconds};

use super::compile::{Listed, Mark};
use super::side_by_side::side_by_side;
use super::spoken::Difference;
use crate::intelligence::prefixes::{Bits, Entry, PrefixMap, PrefixMapBuilder};
use crate::intelligence::words::{Word, Words};

/// The most entries and masks that an overlay may have; beyond, a new base is built.
pub const MAX_ENTRIES: usize = 65_536;
/// A change smaller than this never asks for a new base, however small the base is.
const SMALL: usize = 4_096;

/// All that is known at one moment.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub listed: Arc<Listed>,
    pub decisions: Arc<HashMap<DecisionId, Arc<Decision>>>,
    /// What sources decided.
    pub words: Arc<Words>,
}

/// What the feeds changed since the base.
#[derive(Debug, Clone, Default)]
pub struct ListedDelta {
    pub added: Vec<(Cidr, Mark)>,
    pub removed: Vec<Cidr>,
}

/// The content of an overlay.
#[derive(Debug, Default)]
pub struct Plan {
    pub masks: Vec<Cidr>,
    pub listed: Vec<(Cidr, Mark)>,
    pub decided: Vec<Arc<Decision>>,
    pub spoken: Vec<(Cidr, Word)>,
}

/// How large an overlay on a base of `entries` may become.
pub fn limit(entries: usize) -> usize {
    (entries / 8).clamp(SMALL, MAX_ENTRIES)
}

impl ListedDelta {
    pub fn between(base: &Listed, now: &Listed) -> Self {
        let mut delta = Self::default();
        merge(base.entries.v4(), now.entries.v4(), &mut delta);
        merge(base.entries.v6(), now.entries.v6(), &mut delta);
        delta
    }

    pub fn count(&self) -> usize {
        self.added.len() + self.removed.len()
    }

    /// Whether something was taken back, or replaced by something else.
    pub fn takes_back(&self, base: &Listed) -> bool {
        let replaces = |(cidr, mark): &(Cidr, Mark)| {
            let covering = base.entries.covering(*cidr);
            covering
                .iter()
                .any(|(present, there)| present == cidr && there.rank == mark.rank)
        };
        !self.removed.is_empty() || self.added.iter().any(replaces)
    }
}

/// Plans the overlay that turns `base` into `now`; `None` if it would have more than `limit` entries.
pub fn plan(
    base: &State,
    now: &State,
    listed: &ListedDelta,
    limit: usize,
    time: UnixSeconds,
) -> Option<Plan> {
    let difference = Difference::between(&base.words, &now.words, time);
    if difference.stated.len() + difference.masks.len() > limit {
        return None;
    }
    let masks = masks(base, now, listed, &difference, time);
    let spoken = spoken(&now.words, difference.stated, &masks, limit)?;
    let added: BTreeSet<_> = listed.added.iter().copied().collect();
    let mut stated = added;
    for (mask, ()) in masks.iter() {
        stated.extend(now.listed.entries.covering(mask));
        if stated.len() + now.listed.entries.count_inside(mask) > limit {
            return None;
        }
        stated.extend(now.listed.entries.inside(mask));
    }
    let touches_mask = |cidr| !masks.covering(cidr).is_empty() || masks.count_inside(cidr) > 0;
    let decided: Vec<_> = now
        .decisions
        .values()
        .filter(|decision| decision.in_force(time))
        .filter(|decision| !stands_in(base, decision) || touches_mask(decision.cidr))
        .cloned()
        .collect();
    let plan = Plan {
        masks: masks.iter().map(|(mask, ())| mask).collect(),
        listed: stated.into_iter().collect(),
        decided,
        spoken,
    };
    (plan.count() <= limit).then_some(plan)
}

impl Plan {
    pub fn count(&self) -> usize {
        self.masks.len() + self.listed.len() + self.decided.len() + self.spoken.len()
    }
}

/// Whether something of `before` that is in force is gone, or changed.
pub fn takes_back(before: &State, now: &State, time: UnixSeconds) -> bool {
    taken_back(before, now, time).next().is_some()
        || Difference::between(&before.words, &now.words, time).takes_back
}

/// The words that an overlay states: on the prefixes that changed, and whatever touches a mask. `None` if
/// they are more than `limit`.
fn spoken(
    words: &Words,
    changed: Vec<Cidr>,
    masks: &PrefixMap<()>,
    limit: usize,
) -> Option<Vec<(Cidr, Word)>> {
    let mut stated: BTreeSet<(Cidr, Word)> = BTreeSet::new();
    for cidr in changed {
        stated.extend(words.entries.at(cidr).into_iter().map(|word| (cidr, word)));
    }
    for (mask, ()) in masks.iter() {
        if stated.len() + words.entries.count_inside(mask) > limit {
            return None;
        }
        stated.extend(words.entries.covering(mask));
        stated.extend(words.entries.inside(mask));
    }
    Some(stated.into_iter().collect())
}

/// Decisions of the base that are gone or changed, unless they have lapsed by themselves.
fn taken_back<'a>(
    base: &'a State,
    now: &'a State,
    time: UnixSeconds,
) -> impl Iterator<Item = &'a Decision> {
    let gone =
        move |decision: &&Arc<Decision>| decision.in_force(time) && !stands_in(now, decision);
    base.decisions.values().filter(gone).map(Arc::as_ref)
}

fn masks(
    base: &State,
    now: &State,
    listed: &ListedDelta,
    spoken: &Difference,
    time: UnixSeconds,
) -> PrefixMap<()> {
    let mut masks = PrefixMapBuilder::new();
    for cidr in &spoken.masks {
        masks.push(*cidr, ());
    }
    for cidr in &listed.removed {
        masks.push(*cidr, ());
    }
    for decision in taken_back(base, now, time) {
        masks.push(decision.cidr, ());
    }
    masks.build()
}

fn stands_in(state: &State, decision: &Decision) -> bool {
    let there = state.decisions.get(&decision.id);
    there.is_some_and(|there| there.as_ref() == decision)
}

fn merge<N: Bits>(base: &[Entry<N, Mark>], now: &[Entry<N, Mark>], delta: &mut ListedDelta) {
    let key = |entry: &&Entry<N, Mark>| (entry.network, entry.len, entry.value.rank);
    for (old, new) in side_by_side(base.iter(), now.iter(), key) {
        match (old, new) {
            (Some(old), None) => delta.removed.extend(old.cidr()),
            (old, Some(new)) if old != Some(new) => {
                delta.added.extend(new.cidr().map(|cidr| (cidr, new.value)));
            }
            _ => {}
        }
    }
}
