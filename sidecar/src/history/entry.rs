//! What is recorded: verdicts, decisions, refusals. Owns what a row may hold: never a secret, a header or a
//! path, nothing that PostgreSQL does not take, and nothing of any length.

use reputation::mode::Mode;
use reputation::score::{Indicator, Stance};
use reputation::{
    Action, Band, Cidr, ClientAddress, Decision, DecisionId, Refused, UnixSeconds, Verdict,
};
use serde::Serialize;

use crate::orders::{Operator, Way};
use crate::strangers::plain;

/// One thing to be recorded.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    Verdict(Box<VerdictEntry>),
    Decision(Box<DecisionEntry>),
    Refusal(RefusalEntry),
}

/// What was thought of an address from then on.
#[derive(Debug, Clone, PartialEq)]
pub struct VerdictEntry {
    pub at: UnixSeconds,
    pub address: ClientAddress,
    pub scope: Cidr,
    pub action: Action,
    pub band: Band,
    pub score: u8,
    pub reason: String,
    pub decision: Option<DecisionId>,
    pub answered: usize,
    pub asked: usize,
    /// JSON, an object each.
    pub sources: String,
}

/// An operator's word, and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct DecisionEntry {
    pub at: UnixSeconds,
    pub event: DecisionEvent,
    pub decision: Decision,
    pub operator: String,
    pub way: Way,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecisionEvent {
    Gave,
    /// By a newer word on the same prefix.
    Replaced,
    TookBack,
    /// An order was undone.
    Restored,
}

/// Requests of one client that were refused within a minute, or would have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalEntry {
    /// Since 1970, in minutes.
    pub minute: u32,
    pub client: ClientAddress,
    pub action: Action,
    pub mode: Mode,
    pub reason: String,
    pub decision: DecisionId,
    pub requests: u64,
}

/// What is kept of a source's word.
#[derive(Serialize)]
struct Contribution<'i> {
    source: &'i str,
    family: &'i str,
    score: u8,
    weight: f64,
    #[serde(skip_serializing_if = "is_rated")]
    stance: Stance,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    categories: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed: Option<UnixSeconds>,
}

/// Of the words on one address.
const MOST_SOURCES: usize = 32;
const MOST_CATEGORIES: usize = 8;
/// The longest text that is kept, in characters.
const LONGEST_TEXT: usize = 200;
const SECONDS: u32 = 60;

/// Under how many bits of an IPv6 address its history is found.
const V6_NETWORK: u8 = 64;

/// The network under which the history of `address` is found: its own for IPv4, its /64 for IPv6, because a
/// verdict may hold for that.
pub fn network_of(address: ClientAddress) -> Cidr {
    let network = match address {
        ClientAddress::V4(_) => None,
        ClientAddress::V6(_) => Cidr::new(address, V6_NETWORK),
    };
    network.unwrap_or(Cidr::host(address))
}

impl VerdictEntry {
    pub fn new(
        address: ClientAddress,
        verdict: &Verdict,
        indicators: &[Indicator],
        (answered, asked): (usize, usize),
        at: UnixSeconds,
    ) -> Self {
        let words = indicators.iter().take(MOST_SOURCES);
        let words: Vec<_> = words.map(Contribution::of).collect();
        Self {
            at,
            address,
            scope: verdict.scope,
            action: verdict.action,
            band: verdict.band,
            score: verdict.score,
            reason: kept(&verdict.reason),
            decision: verdict.decision,
            answered,
            asked,
            sources: serde_json::to_string(&words).unwrap_or_else(|_| "[]".to_owned()),
        }
    }
}

impl DecisionEntry {
    pub fn new(
        event: DecisionEvent,
        decision: &Decision,
        operator: &Operator,
        at: UnixSeconds,
    ) -> Self {
        Self {
            at,
            event,
            decision: Decision {
                reason: kept(&decision.reason),
                author: kept(&decision.author),
                ..decision.clone()
            },
            operator: kept(&operator.name),
            way: operator.by,
        }
    }
}

impl DecisionEvent {
    pub fn name(self) -> &'static str {
        match self {
            Self::Gave => "gave",
            Self::Replaced => "replaced",
            Self::TookBack => "took_back",
            Self::Restored => "restored",
        }
    }
}

impl RefusalEntry {
    /// As a proxy reported it `now`.
    pub fn new(refused: &Refused, now: UnixSeconds) -> Self {
        Self {
            minute: now.0.saturating_sub(refused.last_s) / SECONDS,
            client: refused.client,
            action: refused.action,
            mode: refused.mode,
            reason: kept(&refused.reason),
            decision: refused.decision,
            requests: refused.count,
        }
    }

    pub fn begin(&self) -> UnixSeconds {
        UnixSeconds(self.minute.saturating_mul(SECONDS))
    }
}

impl Entry {
    /// When it was, which says in which partition it belongs.
    pub fn at(&self) -> UnixSeconds {
        match self {
            Self::Verdict(verdict) => verdict.at,
            Self::Decision(decision) => decision.at,
            Self::Refusal(refusal) => refusal.begin(),
        }
    }
}

impl<'i> Contribution<'i> {
    fn of(indicator: &'i Indicator) -> Self {
        let categories = indicator.categories.iter().take(MOST_CATEGORIES);
        Self {
            source: &indicator.source,
            family: &indicator.family,
            score: indicator.score,
            weight: indicator.weight.get(),
            stance: indicator.stance,
            categories: categories.map(|category| kept(category)).collect(),
            observed: indicator.observed,
        }
    }
}

fn is_rated(stance: &Stance) -> bool {
    *stance == Stance::Rated
}

/// What providers and operators write is bounded and plain: PostgreSQL's texts cannot hold a NUL.
fn kept(text: &str) -> String {
    plain(text, LONGEST_TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_kept_plain_and_short() {
        assert_eq!(kept("it's a \"test\"\0"), "it's a \"test\"\u{fffd}");
        assert_eq!(kept(&"x".repeat(10_240)).len(), LONGEST_TEXT);
    }

    #[test]
    fn a_history_is_found_under_the_64_of_an_ipv6_address_and_under_an_ipv4_address_itself() {
        let network = |text: &str| network_of(text.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8::1:2:3:4"), "2001:db8::/64");
        assert_eq!(network("203.0.113.7"), "203.0.113.7/32");
    }

    #[test]
    fn a_refusal_counts_for_the_minute_in_which_it_was() {
        let report = serde_json::json!({
            "client": "203.0.113.7", "action": "deny", "mode": "enforce", "reason": "x",
            "decision": "0d8a70cfa95060ac", "count": 3, "first_s": 20, "last_s": 10,
        });
        let refused: Refused = serde_json::from_value(report).unwrap();
        let entry = RefusalEntry::new(&refused, UnixSeconds(125));
        assert_eq!((entry.minute, entry.begin()), (1, UnixSeconds(60)));
    }
}
