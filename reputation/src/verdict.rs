//! What the filter acts on, and its JSON on the wire between sidecar and filter.

use serde::{Deserialize, Serialize};

use crate::cidr::Cidr;
use crate::decision::DecisionId;
use crate::policy::{Action, Band};
use crate::precedence::Rank;

/// The answer to "what about this address?".
///
/// ```json
/// {"action":"deny","band":"malicious","score":93,"reason":"ipsum","decision":"00000000000000ab",
///  "ttl_s":3600,"provisional":false,"rank":"score","scope":"203.0.113.7/32"}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    pub action: Action,
    pub band: Band,
    /// 0 (nothing known against it) to 100.
    pub score: u8,
    /// The source or rule that weighed most; `clean` or `unknown` where nothing speaks against it.
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionId>,
    /// How long the answer may be kept, in seconds.
    pub ttl_s: u32,
    /// True while a provider is still being asked: keep it for two seconds at most.
    #[serde(default)]
    pub provisional: bool,
    /// Whose word this is; absent for a clean address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<Rank>,
    /// For which addresses it holds. A verdict on one visitor never decides for his neighbours.
    pub scope: Cidr,
    /// What it would be if every source had a say; absent where that is the same. Counted, never acted
    /// upon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Shadow>,
}

/// What a source without a say would lead to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shadow {
    pub action: Action,
    pub band: Band,
    pub reason: String,
}

impl Verdict {
    /// The longest life of a provisional answer, in seconds.
    pub const PROVISIONAL_TTL_S: u32 = 2;

    /// Whether the action is somebody's explicit word. Otherwise it follows from the band, and the
    /// filter's own `actions` decide.
    pub fn is_explicit(&self) -> bool {
        !matches!(self.rank, None | Some(Rank::Score | Rank::HardSource))
    }
}
