//! What is known right now, for whoever reads it: the feeds, the decisions, the modes. Each is replaced
//! whole, so that a reader never sees half a change.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use reputation::mode::ModeOverride;
use reputation::{Decision, DecisionId};

use super::feeds::FeedsView;

pub type DecisionMap = HashMap<DecisionId, Arc<Decision>>;

#[derive(Default)]
pub struct Sources {
    feeds: ArcSwap<FeedsView>,
    decisions: ArcSwap<DecisionMap>,
    modes: ArcSwap<Vec<ModeOverride>>,
}

impl Sources {
    pub fn feeds(&self) -> Arc<FeedsView> {
        self.feeds.load_full()
    }

    /// Changes the feeds; `change` may run more than once.
    pub fn change_feeds(&self, change: impl Fn(&FeedsView) -> FeedsView) {
        self.feeds.rcu(|feeds| change(feeds));
    }

    pub fn decisions(&self) -> Arc<DecisionMap> {
        self.decisions.load_full()
    }

    pub fn set_decisions(&self, decisions: DecisionMap) {
        self.decisions.store(Arc::new(decisions));
    }

    pub fn modes(&self) -> Arc<Vec<ModeOverride>> {
        self.modes.load_full()
    }

    pub fn set_modes(&self, modes: Vec<ModeOverride>) {
        self.modes.store(Arc::new(modes));
    }
}
