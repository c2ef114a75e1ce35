//! Whose word counts. Highest first: (the filter's own allow list, which is not here), operator allow,
//! operator ban, trusted list, hard source, source decision, score. Within a rank the longer prefix
//! wins, then the newer entry.

use serde::{Deserialize, Serialize};

/// The standing of an entry. The numeric value is stored in images: larger wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Rank {
    /// The arithmetic of all soft sources.
    Score = 1,
    /// A decision that came from a source, such as CrowdSec.
    SourceDecision = 2,
    /// A list marked `block = true`.
    HardSource = 3,
    /// A list marked `allow = true`, the protected ranges, and special-purpose space: no source may
    /// block what it holds, only an operator.
    Trusted = 4,
    OperatorBan = 5,
    OperatorAllow = 6,
}

impl Rank {
    pub const ALL: [Self; 6] = [
        Self::Score,
        Self::SourceDecision,
        Self::HardSource,
        Self::Trusted,
        Self::OperatorBan,
        Self::OperatorAllow,
    ];

    /// The rank stored as `value`, if it is one.
    pub fn from_u8(value: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|rank| *rank as u8 == value)
    }

    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rank| rank.name() == name)
    }

    /// The name used in JSON, logs and explanations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Score => "score",
            Self::SourceDecision => "source_decision",
            Self::HardSource => "hard_source",
            Self::Trusted => "trusted",
            Self::OperatorBan => "operator_ban",
            Self::OperatorAllow => "operator_allow",
        }
    }
}
