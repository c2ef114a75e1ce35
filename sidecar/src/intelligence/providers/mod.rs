//! Those who are asked about single addresses. One file per provider says how to ask it and how to
//! read what it answers; `gate` decides whether it may be asked now.

mod abuseipdb;
mod availability;
mod budget;
mod gate;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reputation::{ClientAddress, UnixSeconds};
use secrecy::SecretString;

pub use availability::Closed;
pub use gate::{Asked, Gate, GateNeeds, ProviderStatus};

use crate::config::{Config, ProviderKind};
use crate::http::HttpClient;

/// Somebody who can be asked about an address. Knows no budget, keeps no state, never retries.
#[async_trait]
pub trait Provider: Send + Sync {
    async fn check(&self, address: ClientAddress, key: &SecretString, now: UnixSeconds) -> Reply;
}

/// What came of one call.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    pub outcome: Outcome,
    pub limits: Limits,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Said(Word),
    /// The key is wrong, revoked, or its plan does not cover this question.
    KeyRefused(String),
    /// The provider does not answer questions about this address.
    BadQuestion(String),
    /// The day's calls are used up.
    QuotaUsed(String),
    /// It gave no complete answer in time.
    TimedOut(String),
    /// It failed, or could not be reached: worth another try later.
    Unavailable(String),
    /// It answered with something else than its documentation says.
    Malformed(String),
}

/// What a provider says of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// 0 to 100.
    pub score: u8,
    pub categories: Vec<String>,
    /// When the provider last saw something.
    pub observed: Option<UnixSeconds>,
}

/// What a provider says about its own budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Calls a day.
    pub limit: Option<u32>,
    pub remaining: Option<u32>,
    /// When the next day's calls begin.
    pub reset: Option<UnixSeconds>,
    pub retry_after: Option<Duration>,
}

impl Outcome {
    /// The metric's label.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Said(_) => "ok",
            Self::KeyRefused(_) => "key_refused",
            Self::BadQuestion(_) => "bad_question",
            Self::QuotaUsed(_) => "quota",
            Self::TimedOut(_) => "timeout",
            Self::Unavailable(_) => "unavailable",
            Self::Malformed(_) => "malformed",
        }
    }
}

/// The configured providers, each behind its gate, in the place of those `before`.
pub fn configured(
    config: &Config,
    before: &[Arc<Gate>],
    http: &HttpClient,
    needs: &GateNeeds,
) -> Vec<Arc<Gate>> {
    let gate = |provider: &crate::config::Provider| {
        let asked: Box<dyn Provider> = match provider.kind {
            ProviderKind::AbuseIpdb => Box::new(abuseipdb::AbuseIpdb::new(provider, http.clone())),
        };
        let gate = Gate::new(provider.clone(), asked, needs.clone());
        let mut same = before.iter().filter(|before| before.name() == gate.name());
        Arc::new(match same.next() {
            Some(before) => gate.following(before),
            None => gate,
        })
    };
    config.providers.iter().map(gate).collect()
}
