//! `portcullis doctor`: whether what runs is as it should be. Here is what a check and its finding are,
//! and the checks that the sidecar makes of itself, one module per group, each a function from facts to
//! a finding. `examiner` gathers the facts; what is seen from Envoy is the command line's
//! (`cli::doctor`).

mod check;
mod databases;
mod examiner;
mod feeds;
mod guide;
mod history;
mod listeners;
mod operator;
mod providers;
mod secrets;
mod store;
mod watching;
mod wire;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use check::Check;
pub use examiner::{Examination, Examined, Examiner};
pub use operator::SNAPSHOT_OLD;

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub check: Check,
    pub state: State,
    /// Which of several proxies it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// What was seen.
    pub seen: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Ok,
    /// Worth knowing, and no fault.
    Note,
    /// It could not be looked at; what is missing for that is told by another finding, or optional.
    Skipped,
    /// Falls short: somebody should look at it.
    Attention,
    /// Falls short: something does not work, or is dangerous as it is.
    Failing,
}

impl State {
    pub const ALL: [Self; 5] = [
        Self::Ok,
        Self::Note,
        Self::Skipped,
        Self::Attention,
        Self::Failing,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Skipped => "skipped",
            Self::Attention => "attention",
            Self::Failing => "failing",
        }
    }

    pub fn falls_short(self) -> bool {
        matches!(self, Self::Attention | Self::Failing)
    }
}

impl Finding {
    pub fn ok(check: Check, seen: impl Into<String>) -> Self {
        Self::of(check, State::Ok, seen, None)
    }

    pub fn note(check: Check, seen: impl Into<String>) -> Self {
        Self::of(check, State::Note, seen, None)
    }

    pub fn skipped(check: Check, why: impl Into<String>) -> Self {
        Self::of(check, State::Skipped, why, None)
    }

    pub fn attention(check: Check, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::of(check, State::Attention, seen, Some(remedy.into()))
    }

    pub fn failing(check: Check, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::of(check, State::Failing, seen, Some(remedy.into()))
    }

    /// Says also what could be done, where nothing must.
    pub fn hint(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.at = Some(place.into());
        self
    }

    fn of(check: Check, state: State, seen: impl Into<String>, remedy: Option<String>) -> Self {
        Self {
            check,
            state,
            at: None,
            seen: seen.into(),
            remedy,
        }
    }
}

/// `1 feed`, `2 feeds`.
pub fn count<N: fmt::Display + PartialEq + From<u8>>(number: N, noun: &str) -> String {
    let plural = if number == N::from(1) { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod docs_test;
