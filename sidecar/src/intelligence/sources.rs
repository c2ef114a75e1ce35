//! What is known right now, for whoever reads it: the configuration with the feeds under it, the
//! decisions, the modes. Each is replaced whole, so that a reader never sees half a change.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use reputation::mode::ModeOverride;
use reputation::{Decision, DecisionId};

use super::feeds::{FeedsView, LoadedFeed, Slot};
use super::setup::Setup;
use super::words::Words;

pub type DecisionMap = HashMap<DecisionId, Arc<Decision>>;

/// The configuration in force, and what is loaded of its feeds.
#[derive(Clone, Default)]
pub struct View {
    pub setup: Arc<Setup>,
    /// In the order of `setup.feeds`.
    pub feeds: FeedsView,
}

#[derive(Default)]
pub struct Sources {
    view: ArcSwap<View>,
    decisions: ArcSwap<DecisionMap>,
    words: ArcSwap<Words>,
    modes: ArcSwap<Vec<ModeOverride>>,
}

impl View {
    /// The same with `feed` in the place of `slot`.
    pub fn with(&self, slot: &Slot, feed: Arc<LoadedFeed>) -> Self {
        let mut places = self.setup.feeds.iter();
        let at = places.position(|other| std::ptr::eq(other.as_ref(), slot));
        Self {
            setup: Arc::clone(&self.setup),
            feeds: match at {
                Some(at) => self.feeds.with(at, feed),
                None => self.feeds.clone(),
            },
        }
    }
}

impl Sources {
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    pub fn set_view(&self, view: View) {
        self.view.store(Arc::new(view));
    }

    /// Replaces what is in force of one feed, unless the configuration has it no more.
    pub fn put_in_force(&self, slot: &Slot, feed: &Arc<LoadedFeed>) {
        self.view.rcu(|view| view.with(slot, Arc::clone(feed)));
    }

    pub fn decisions(&self) -> Arc<DecisionMap> {
        self.decisions.load_full()
    }

    pub fn set_decisions(&self, decisions: DecisionMap) {
        self.decisions.store(Arc::new(decisions));
    }

    /// What sources decided.
    pub fn words(&self) -> Arc<Words> {
        self.words.load_full()
    }

    pub fn set_words(&self, words: Words) {
        self.words.store(Arc::new(words));
    }

    pub fn modes(&self) -> Arc<Vec<ModeOverride>> {
        self.modes.load_full()
    }

    pub fn set_modes(&self, modes: Vec<ModeOverride>) {
        self.modes.store(Arc::new(modes));
    }
}
