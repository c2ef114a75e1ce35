//! Explicit words on an address or prefix: ban, throttle, allow. Vocabulary as CrowdSec has it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::address::ClientAddress;
use crate::cidr::Cidr;
use crate::policy::Action;
use crate::precedence::Rank;
use crate::time::UnixSeconds;

/// Names a decision, to a refused client too: 16 hexadecimal digits that reveal nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DecisionId(pub u64);

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not a decision id: 16 hexadecimal digits are expected")]
pub struct DecisionIdError(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionKind {
    Ban,
    Throttle,
    Allow,
}

/// Who spoke. Serialized as a plain string: `operator` or the source's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Origin {
    Operator,
    Source(String),
}

/// One word of one author on one prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    pub id: DecisionId,
    pub cidr: Cidr,
    #[serde(rename = "type")]
    pub kind: DecisionKind,
    pub origin: Origin,
    pub reason: String,
    /// Who gave the word, as far as known: a user name, a machine.
    pub author: String,
    pub created: UnixSeconds,
    /// Absent: until it is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<UnixSeconds>,
}

impl Decision {
    pub fn rank(&self) -> Rank {
        match (&self.origin, self.kind) {
            (Origin::Operator, DecisionKind::Allow) => Rank::OperatorAllow,
            (Origin::Operator, _) => Rank::OperatorBan,
            (Origin::Source(_), DecisionKind::Allow) => Rank::Trusted,
            (Origin::Source(_), _) => Rank::SourceDecision,
        }
    }

    pub fn action(&self) -> Action {
        match self.kind {
            DecisionKind::Ban => Action::Deny,
            DecisionKind::Throttle => Action::Throttle,
            DecisionKind::Allow => Action::Allow,
        }
    }

    pub fn in_force(&self, now: UnixSeconds) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

impl DecisionKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ban => "ban",
            Self::Throttle => "throttle",
            Self::Allow => "allow",
        }
    }
}

/// Wider decisions are given by those alone who say that they mean it.
const WIDEST_V4: u8 = 16;
const WIDEST_V6: u8 = 32;

/// Whether a prefix is so wide that a slip of the hand would hit a good part of the world.
pub fn is_very_wide(cidr: Cidr) -> bool {
    let widest = match cidr.network() {
        ClientAddress::V4(_) => WIDEST_V4,
        ClientAddress::V6(_) => WIDEST_V6,
    };
    cidr.len() < widest
}

impl DecisionId {
    /// The id of a refusal that rests on a list or a score rather than on a decision: the same for the
    /// same reason and address wherever it is computed, so that `portcullis explain` can show it.
    pub fn for_listing(reason: &str, address: ClientAddress) -> Self {
        let hash = reason.bytes().fold(FNV_OFFSET, fnv);
        Self(match address {
            ClientAddress::V4(bits) => bits.to_be_bytes().into_iter().fold(hash, fnv),
            ClientAddress::V6(bits) => bits.to_be_bytes().into_iter().fold(hash, fnv),
        })
    }

    /// The id of a decision that a source names by `parts`: the same wherever it is computed, and without
    /// the source's own numbering, which would tell a refused client how much the source knows.
    pub fn for_source(parts: &[&str]) -> Self {
        // No text holds this byte, so that no two lists of parts read alike.
        let texts = parts.iter().flat_map(|part| part.bytes().chain([0xff]));
        let hash = texts.fold(FNV_OFFSET, fnv);
        // Zero stands for "no id" where an id is optional.
        Self(hash.max(1))
    }
}

/// FNV-1a, 64 bit: for names, not for secrets.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

fn fnv(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
}

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for DecisionId {
    type Err = DecisionIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let value = u64::from_str_radix(text, 16).ok().filter(|_| hex);
        value
            .map(Self)
            .ok_or_else(|| DecisionIdError(text.chars().take(40).collect()))
    }
}

impl TryFrom<String> for DecisionId {
    type Error = DecisionIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<DecisionId> for String {
    fn from(id: DecisionId) -> Self {
        id.to_string()
    }
}

impl From<String> for Origin {
    fn from(name: String) -> Self {
        if name == "operator" {
            Self::Operator
        } else {
            Self::Source(name)
        }
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Operator => "operator".to_owned(),
            Origin::Source(name) => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text_and_nothing_else_passes_for_one() {
        let id = DecisionId(0x00ab_cdef_0000_0001);
        assert_eq!(id.to_string().parse::<DecisionId>().unwrap(), id);
        for text in [
            "",
            "ab",
            "+0abcdef00000001",
            "00abcdef0000000g",
            "00abcdef000000012",
        ] {
            assert!(text.parse::<DecisionId>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_listing_has_one_id_per_reason_and_address() {
        let address = |text: &str| text.parse::<ClientAddress>().unwrap();
        let id = DecisionId::for_listing("ipsum", address("192.0.2.1"));
        assert_eq!(
            id,
            DecisionId::for_listing("ipsum", address("::ffff:192.0.2.1"))
        );
        assert_ne!(id, DecisionId::for_listing("ipsum", address("192.0.2.2")));
        assert_ne!(id, DecisionId::for_listing("other", address("192.0.2.1")));
    }
}
