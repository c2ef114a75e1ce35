//! Those who are asked about single addresses. One file per provider says how to ask it and how to
//! read what it answers; `gate` decides whether it may be asked now.

mod abuseipdb;
mod acquaintances;
mod availability;
mod budget;
mod exchange;
mod gate;
mod greynoise;
mod http_json;
mod ledger;
mod limits;
mod networks;
mod rotation;
mod sightings;
mod sketch;
mod spread;
mod state;
mod status;

use std::sync::Arc;

use async_trait::async_trait;
use hyper::header::HeaderValue;
use reputation::score::Stance;
use reputation::{ClientAddress, UnixSeconds};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

pub use acquaintances::{Acquaintances, Candidate};
pub use availability::Closed;
pub use gate::{Asked, Gate, GateNeeds};
use limits::Limits;
pub use networks::network_of;
pub use status::ProviderStatus;

use crate::config::{self, Config, ProviderKind, SecretName};
use crate::http::{HttpClient, HttpError};
use crate::telemetry::chain;

/// Somebody who can be asked about an address. Knows no budget, keeps no state, never retries.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Whether it can have a word on such an address at all.
    fn speaks_of(&self, _address: ClientAddress) -> bool {
        true
    }

    async fn check(&self, address: ClientAddress, keys: &Keys, now: UnixSeconds) -> Reply;
}

/// The secrets with which a provider is asked, by their names.
#[derive(Debug, Clone, Default)]
pub struct Keys(Vec<(SecretName, SecretString)>);

/// What came of one call.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    outcome: Outcome,
    limits: Limits,
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
    pub stance: Stance,
    pub categories: Vec<String>,
    /// When the provider last saw something.
    pub observed: Option<UnixSeconds>,
}

impl Reply {
    /// One that came without an answer.
    fn unanswered(outcome: Outcome) -> Self {
        Self {
            outcome,
            limits: Limits::default(),
        }
    }
}

impl Keys {
    /// `before` and the value of `name` for a header; what is wrong with it must not quote it.
    fn header(&self, before: &str, name: &SecretName) -> Result<HeaderValue, String> {
        let mut named = self.0.iter().filter(|(other, _)| other == name);
        let (_, key) = named
            .next()
            .ok_or_else(|| format!("secret {name} is missing"))?;
        // The error of a header's value may quote it, so it is not kept.
        let text = Zeroizing::new(format!("{before}{}", key.expose_secret()));
        let mut value = HeaderValue::from_str(&text)
            .map_err(|_| "the key has characters that no header may have".to_owned())?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// `text` up to where one of the keys begins: some sources repeat what they refuse.
    fn hide_from(&self, text: &mut String) {
        for (_, key) in &self.0 {
            let key = key.expose_secret();
            let begins = key
                .char_indices()
                .nth(TELLING)
                .map_or(key.len(), |(at, _)| at);
            let beginning = key.get(..begins).filter(|beginning| !beginning.is_empty());
            if let Some(at) = beginning.and_then(|beginning| text.find(beginning)) {
                text.truncate(at);
                text.push_str("(the key)");
            }
        }
    }

    fn are(&self, others: &Self) -> bool {
        let same =
            |((name, key), (other, value)): (&(SecretName, SecretString), &(_, SecretString))| {
                name == other && key.expose_secret() == value.expose_secret()
            };
        self.0.len() == others.0.len() && self.0.iter().zip(&others.0).all(same)
    }
}

impl FromIterator<(SecretName, SecretString)> for Keys {
    fn from_iter<I: IntoIterator<Item = (SecretName, SecretString)>>(keys: I) -> Self {
        Self(keys.into_iter().collect())
    }
}

/// So many characters of a key tell it: a text may be cut off within one.
const TELLING: usize = 8;

impl Outcome {
    /// As it may be shown and logged.
    fn without(mut self, keys: &Keys) -> Self {
        match &mut self {
            Self::Said(_) => {}
            Self::KeyRefused(why)
            | Self::BadQuestion(why)
            | Self::QuotaUsed(why)
            | Self::TimedOut(why)
            | Self::Unavailable(why)
            | Self::Malformed(why) => keys.hide_from(why),
        }
        self
    }

    /// Whether the source itself answered, as it documents: only then is it believed what stands beside
    /// that of its limits. Anybody on the way may send a page.
    fn is_the_sources_own(&self) -> bool {
        match self {
            Self::Said(_) | Self::BadQuestion(_) | Self::QuotaUsed(_) => true,
            Self::KeyRefused(_) | Self::TimedOut(_) | Self::Unavailable(_) | Self::Malformed(_) => {
                false
            }
        }
    }

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

impl From<HttpError> for Outcome {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Timeout(_) => Self::TimedOut(chain(&error)),
            _ => Self::Unavailable(chain(&error)),
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
    let gate = |provider: &config::Provider| {
        let asked = provider_of(provider, http.clone());
        let gate = Gate::new(provider.clone(), asked, needs.clone());
        let mut same = before.iter().filter(|before| before.name() == gate.name());
        Arc::new(match same.next() {
            Some(before) => gate.following(before),
            None => gate,
        })
    };
    config.providers.iter().map(gate).collect()
}

fn provider_of(provider: &config::Provider, http: HttpClient) -> Box<dyn Provider> {
    match &provider.kind {
        ProviderKind::AbuseIpdb {
            base_url,
            max_age_days,
        } => Box::new(abuseipdb::AbuseIpdb {
            base_url: base_url.clone(),
            max_age_days: *max_age_days,
            key: provider.key.clone(),
            timeout: provider.timeout,
            http,
        }),
        ProviderKind::GreyNoise { api, base_url } => Box::new(greynoise::GreyNoise {
            api: *api,
            base_url: base_url.clone(),
            key: provider.key.clone(),
            timeout: provider.timeout,
            http,
        }),
        ProviderKind::HttpJson(shape) => Box::new(http_json::Described {
            shape: shape.as_ref().clone(),
            timeout: provider.timeout,
            http,
        }),
    }
}

/// A moment as sources write it: with a zone, without one (UTC then), a date alone, or Unix seconds.
fn moment(value: &Value) -> Option<UnixSeconds> {
    if let Some(seconds) = value.as_u64() {
        return u32::try_from(seconds).ok().map(UnixSeconds);
    }
    let text = value.as_str()?;
    let seconds = match text.parse::<jiff::Timestamp>() {
        Ok(timestamp) => timestamp,
        Err(_) => {
            let local: jiff::civil::DateTime = text.parse().ok()?;
            local.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp()
        }
    };
    u64::try_from(seconds.as_second())
        .ok()
        .map(UnixSeconds::from_secs)
}
