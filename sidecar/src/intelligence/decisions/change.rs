//! What operators change about decisions, what comes of it, and why it may be refused.

use std::fmt;
use std::time::Duration;

use reputation::decision::Origin;
use reputation::{Cidr, Decision, DecisionId, DecisionKind};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::super::explain::Rule;
use crate::store::StoreError;

#[derive(Debug, Clone)]
pub struct NewDecision {
    pub cidr: Cidr,
    pub kind: DecisionKind,
    pub reason: String,
    pub author: String,
    /// Absent: until it is taken back.
    pub ttl: Option<Duration>,
    /// Even for a very wide prefix.
    pub force: bool,
}

/// Which of the operator's decisions to take back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    Id(DecisionId),
    /// Bans and throttles on this prefix or inside it.
    Bans(Cidr),
    /// Allows on this prefix or inside it.
    Allows(Cidr),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Removed {
    pub removed: Vec<Decision>,
    /// What refuses the prefix's first address all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub still_refused_by: Option<Rule>,
}

/// What was given.
#[derive(Debug, Clone)]
pub struct Given {
    pub given: Vec<Decision>,
    /// What stood in its place before.
    pub replaced: Vec<Decision>,
}

/// What came of putting things back as they were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    pub taken_back: Vec<Decision>,
    pub restored: Vec<Decision>,
    /// Lapsed by now, or decided anew by somebody.
    pub left: usize,
}

/// What a very wide decision would hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hits {
    /// How many addresses the prefix has, as a power of two.
    pub address_bits: u8,
    /// Of the addresses lately answered clean.
    pub recently_clean: usize,
    /// Decisions that lie inside or around it.
    pub decisions: usize,
}

#[derive(Debug, Error)]
pub enum DecisionError {
    #[error("{cidr} is very wide ({hits})")]
    TooWide { cidr: Cidr, hits: Hits },
    #[error("{0} holds every address: name the prefixes that are meant")]
    Everything(Cidr),
    #[error("a decision must last at least a second")]
    NoTime,
    #[error("the {what} must be one line of text without control characters")]
    Text { what: &'static str },
    #[error("there is no decision {0}")]
    Unknown(DecisionId),
    #[error("no random number for the decision's id")]
    NoId,
    #[error("the decision is not kept")]
    Store(#[from] StoreError),
}

impl Removal {
    pub(super) fn takes_back(self, decision: &Decision) -> bool {
        let operators = decision.origin == Origin::Operator;
        match self {
            Self::Id(id) => decision.id == id,
            Self::Bans(cidr) => {
                operators && decision.kind != DecisionKind::Allow && cidr.covers(decision.cidr)
            }
            Self::Allows(cidr) => {
                operators && decision.kind == DecisionKind::Allow && cidr.covers(decision.cidr)
            }
        }
    }

    /// The prefix that is spoken of, if the removal names one.
    pub fn cidr(self) -> Option<Cidr> {
        match self {
            Self::Id(_) => None,
            Self::Bans(cidr) | Self::Allows(cidr) => Some(cidr),
        }
    }
}

impl fmt::Display for Hits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "2^{} addresses, {} of those lately answered clean, {} other decisions",
            self.address_bits, self.recently_clean, self.decisions
        )
    }
}
