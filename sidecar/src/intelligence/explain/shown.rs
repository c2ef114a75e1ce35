//! The shape of an explanation, as the API sends it and the command line reads it.

use reputation::score::{Part, Stance};
use reputation::{
    Action, Band, Cidr, ClientAddress, Decision, DecisionId, Rank, Shadow, UnixSeconds,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Explanation {
    pub address: ClientAddress,
    /// What happens to a request from it, under the shipped actions per band.
    pub action: Action,
    pub band: Band,
    pub score: u8,
    pub reason: String,
    /// The id that a refused client of this address sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision_id: Option<DecisionId>,
    /// The rule that decides; absent if nothing speaks of the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Rule>,
    /// Every decision whose prefix holds the address.
    pub decisions: Vec<Decision>,
    pub sources: Vec<SourceWord>,
    /// What the sources' words add up to, whichever rule decides.
    #[serde(default)]
    pub combined: u8,
    /// Who vouches for the address, if it would have a higher score without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap: Option<Vouched>,
    /// What would happen if every source had a say, if that is something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Shadow>,
    pub coverage: Coverage,
}

/// That a score is lower than what was said against the address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vouched {
    pub by: String,
    /// What the score would be.
    pub from: u8,
}

/// The rule that decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub rank: Rank,
    pub action: Action,
    pub reason: String,
    pub prefix: Cidr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<UnixSeconds>,
}

/// What one feed, provider or database says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SourceWord {
    pub source: String,
    pub family: String,
    /// `score`, `block` or `allow` for a feed, otherwise `provider` or `database`.
    pub role: String,
    pub score: u8,
    /// How far it is believed; absent where it is outside the arithmetic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// Whether it says how bad the address is, or vouches for it.
    #[serde(default)]
    pub stance: Stance,
    /// What becomes of it in the arithmetic; absent where it is outside of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// What its age leaves of it: 1 is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<f64>,
    /// What it says against the address in all: weight times score times what is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points: Option<f64>,
    /// It has no say: what it would lead to is counted only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_shadow: bool,
    /// For which prefix it was said.
    pub prefix: Cidr,
    /// How long ago we got it, in seconds; of a database, how long ago it was built.
    pub age_s: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// When the source last saw something, as it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<UnixSeconds>,
    /// What a database says of whose the address is, and where, whether that has a score or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Context>,
}

/// What is no word for or against anybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// The autonomous system, such as `AS64500`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asn: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organisation: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
}

/// How many of the sources that should have a word had one. A missing word is not a clean one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    pub answered: usize,
    pub asked: usize,
}

impl SourceWord {
    /// What becomes of it, where that is not plain.
    pub fn remark(&self) -> &'static str {
        match self.part {
            _ if self.in_shadow => "in shadow: counted only",
            Some(Part::Outweighed) => "outweighed in its family",
            Some(Part::Caps) => "vouches for it",
            Some(Part::Powerless) => "vouches no more",
            Some(Part::Expired) => "expired",
            Some(Part::Counts) | None => "",
        }
    }
}

impl Context {
    /// What a database says besides its score, in one line.
    pub fn in_words(&self) -> Option<String> {
        let system = match (&self.asn, &self.organisation) {
            (Some(asn), Some(organisation)) => Some(format!("{asn} {organisation}")),
            (asn, organisation) => asn.clone().or_else(|| organisation.clone()),
        };
        let parts = system.into_iter().chain(self.country.clone());
        let parts: Vec<_> = parts.chain(self.flags.iter().cloned()).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}
