//! The shape of an address's history, as the API sends it and the command line reads it. Words that another
//! version of the sidecar wrote are shown as they are.

use std::fmt;
use std::str::FromStr;

use reputation::{ClientAddress, UnixSeconds};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    pub address: ClientAddress,
    pub since: UnixSeconds,
    /// Only what was before this event.
    pub before: Option<Cursor>,
    /// How many events.
    pub most: usize,
}

/// `GET /v1/history/{ip}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AddressHistory {
    pub address: ClientAddress,
    pub since: UnixSeconds,
    /// All refused requests since then.
    pub totals: Totals,
    /// The same by spans of this length, in seconds, the newest first.
    pub span_s: u32,
    pub refusals: Vec<Refusals>,
    /// Verdicts and decisions, the newest first.
    pub events: Vec<Event>,
    /// Send it as `before` for what was earlier; absent if that is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
}

/// Requests by what was done with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    pub refused: u64,
    pub throttled: u64,
    /// In mode monitor they passed.
    pub would_be_refused: u64,
    pub would_be_throttled: u64,
}

/// Requests of one span.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusals {
    pub from: UnixSeconds,
    pub action: String,
    pub mode: String,
    pub requests: u64,
    /// The source or rule that weighed most, the last time.
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    Verdict(PastVerdict),
    Decision(PastDecision),
}

/// What was thought of the address from then on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PastVerdict {
    pub at: UnixSeconds,
    /// Who was looked up: for IPv6 it may be another address that the verdict held for as well.
    pub address: String,
    pub scope: String,
    pub action: String,
    pub band: String,
    pub score: u8,
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// How many of the sources that should have a word had one.
    pub answered: u16,
    pub asked: u16,
    /// What each of them said.
    pub sources: Value,
}

/// What became of an operator's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastDecision {
    pub at: UnixSeconds,
    /// `gave`, `replaced`, `took_back` or `restored`.
    pub event: String,
    pub decision: String,
    pub prefix: String,
    pub r#type: String,
    pub origin: String,
    pub reason: String,
    /// Who gave the word.
    pub author: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<UnixSeconds>,
    /// Who did this, and by what.
    pub operator: String,
    pub way: String,
}

/// Names an event: those before it are older, or of the same second and recorded earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cursor {
    pub at: UnixSeconds,
    pub id: i64,
}

impl Totals {
    pub fn add(&mut self, refusals: &Refusals) {
        let counter = match (refusals.mode.as_str(), refusals.action.as_str()) {
            ("enforce", "throttle") => &mut self.throttled,
            ("enforce", _) => &mut self.refused,
            (_, "throttle") => &mut self.would_be_throttled,
            (_, _) => &mut self.would_be_refused,
        };
        *counter = counter.saturating_add(refusals.requests);
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.at.0, self.id)
    }
}

impl FromStr for Cursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('.');
        let parsed = parts.and_then(|(at, id)| Some((at.parse().ok()?, id.parse().ok()?)));
        let (at, id) = parsed.ok_or("not what next was")?;
        let at = UnixSeconds(at);
        Ok(Self { at, id })
    }
}

impl TryFrom<String> for Cursor {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> Self {
        cursor.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_is_written() {
        let cursor = Cursor {
            at: UnixSeconds(1_795_000_000),
            id: 7,
        };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for other in ["", "7", "a.7", "7.", "-1.7"] {
            assert!(other.parse::<Cursor>().is_err(), "{other}");
        }
    }

    #[test]
    fn requests_are_added_up_by_what_was_done() {
        let mut totals = Totals::default();
        for (mode, action, requests) in [
            ("enforce", "deny", 1),
            ("enforce", "throttle", 2),
            ("monitor", "deny", 4),
            ("monitor", "throttle", 8),
            ("enforce", "deny", 16),
        ] {
            totals.add(&Refusals {
                from: UnixSeconds(0),
                action: action.to_owned(),
                mode: mode.to_owned(),
                requests,
                reason: String::new(),
            });
        }
        let expected = Totals {
            refused: 17,
            throttled: 2,
            would_be_refused: 4,
            would_be_throttled: 8,
        };
        assert_eq!(totals, expected);
    }
}
