//! What the filter concluded about a request, whichever way it came to know.

use reputation::lookup::Found;
use reputation::set::Basis;
use reputation::{Action, Band, DecisionId};

use crate::config::Actions;

/// Where a conclusion came from; the metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The filter's own allow list.
    Local,
    /// Base or overlay.
    Snapshot,
    /// An earlier look-up's answer.
    Cache,
    /// A look-up that this request waited for.
    Lookup,
    /// A path that everybody may ask for: whatever is known of the client.
    Exempt,
    /// In no image, and nobody else can be asked: clean.
    Unlisted,
    /// Nothing is known yet.
    Unknown,
}

/// A conclusion, ready to be acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement<'a> {
    pub action: Action,
    pub band: Band,
    pub score: u8,
    pub reason: &'a str,
    pub decision: Option<DecisionId>,
    pub source: Source,
    /// What would be done if every source of the sidecar had a say, if that is something else.
    pub shadow: Option<Action>,
}

impl Source {
    pub const ALL: [Self; 7] = [
        Self::Local,
        Self::Snapshot,
        Self::Cache,
        Self::Lookup,
        Self::Exempt,
        Self::Unlisted,
        Self::Unknown,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Snapshot => "snapshot",
            Self::Cache => "cache",
            Self::Lookup => "lookup",
            Self::Exempt => "exempt",
            Self::Unlisted => "unlisted",
            Self::Unknown => "unknown",
        }
    }
}

impl<'a> Judgement<'a> {
    pub fn of_entry(found: &Found<'a>, actions: &Actions) -> Self {
        Self {
            action: match found.basis {
                Basis::Action(action) => action,
                Basis::Band(band) => actions.of(band),
            },
            band: found.band,
            score: found.score,
            reason: found.reason,
            decision: found.decision,
            source: Source::Snapshot,
            shadow: None,
        }
    }

    /// Whether a request is refused or slowed down by it.
    pub fn hinders(&self) -> bool {
        matches!(self.action, Action::Deny | Action::Throttle)
    }

    /// Clean means that nothing is written anywhere: no header, no filter state.
    pub fn is_clean(&self) -> bool {
        self.action == Action::Allow && self.band == Band::Clean
    }
}
