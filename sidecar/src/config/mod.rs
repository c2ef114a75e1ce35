//! The sidecar's configuration: one TOML file, every key also by environment
//! (`PORTCULLIS__SECTION__KEY`), every default working.
//!
//! Reading has two steps. `tree` holds what was written, with where it was written; the modules per
//! section turn that into types that cannot be wrong and collect every fault on the way, so that all
//! are reported at once. Nothing here opens a socket or reads another file.

pub mod budget;
pub mod canary;
pub mod crowdsec;
pub mod database;
pub mod envoy;
mod fault;
pub mod feed;
pub mod guard;
pub mod history;
pub mod http_json;
pub mod listen;
pub mod otlp;
pub mod provider;
mod say;
pub mod secret;
mod section;
pub mod sentry;
pub mod store;
mod tree;
mod value;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

pub use budget::Budget;
pub use canary::Canary;
pub use crowdsec::CrowdSec;
pub use database::{Asn, Country, Database, DatabaseKind, Flag, Scores};
pub use envoy::Envoy;
pub use fault::{Fault, Faults, Place};
pub use feed::{Feed, FeedFormat, FeedRole, FeedSource, ListScore};
pub use guard::Guard;
pub use history::HistoryConfig;
pub use http_json::{HeaderText, HttpJson, LimitHeaders, Meaning, Pointer, Scale};
pub use listen::{Listen, ListenAddress};
pub use otlp::Otlp;
pub use provider::{GreyNoiseApi, Provider, ProviderKind, ProviderName};
use reputation::Policy;
pub use say::Say;
pub use secret::{Secret, SecretName, SecretOrigin};
pub use sentry::Sentry;
pub use store::{Backend, RedisConfig, RedisServer, StoreConfig};
use thiserror::Error;
use tracing::Level;

use section::{Findings, Section};

/// A configuration in which every value is good by itself and every reference leads somewhere.
#[derive(Debug, Clone)]
pub struct Config {
    pub listen: Listen,
    pub log: Log,
    pub store: StoreConfig,
    /// None: nothing is recorded.
    pub history: Option<HistoryConfig>,
    pub policy: Policy,
    pub guard: Guard,
    pub budget: Budget,
    pub envoy: Envoy,
    pub canary: Canary,
    pub otlp: Otlp,
    pub sentry: Sentry,
    pub feeds: Vec<Feed>,
    pub crowdsec: Vec<CrowdSec>,
    pub databases: Vec<Database>,
    pub providers: Vec<Provider>,
    pub secrets: BTreeMap<SecretName, Secret>,
}

/// How much goes to the log; `RUST_LOG` says it in more detail and wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    pub level: Level,
}

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("{path} cannot be read")]
    Unreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "{path} is larger than {MAX_BYTES} bytes: lists of addresses belong in files of their own"
    )]
    TooLarge { path: PathBuf },
    #[error("{path} is faulty:\n{faults}")]
    Faulty { path: PathBuf, faults: Faults },
}

impl Config {
    /// Reads `path`, with the process's environment on top.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::from_text(path, &text(path)?)
    }

    /// As [`Self::read`] if `text` is what is in `path`.
    pub fn from_text(path: &Path, text: &str) -> Result<Self, ConfigError> {
        // Names and values that are not UTF-8 cannot be ours.
        let text_only = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self::parse(text, std::env::vars_os().filter_map(text_only)).map_err(|faults| {
            ConfigError::Faulty {
                path: path.to_owned(),
                faults,
            }
        })
    }

    /// Reads `text` with `environment` on top; returns every fault at once.
    pub fn parse(
        text: &str,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, Faults> {
        let mut syntax = Vec::new();
        let mut written = tree::parse(text, &mut syntax);
        // What follows a syntax fault is misread: told as well, it would lead astray.
        if !syntax.is_empty() {
            return Err(Faults(syntax));
        }
        tree::overlay(&mut written, environment, &mut syntax);
        let findings = Findings::with(syntax);
        let root = Section::new(String::new(), Place::Line(1), written, &findings);
        let config = Self::validate(root);
        findings.check_references(&config.secrets);
        findings.into_result()?;
        Ok(config)
    }

    /// Where a value is faulty its default stands in, so that the rest can be looked at too; the
    /// result counts only if nothing was found.
    fn validate(mut root: Section<'_>) -> Self {
        let remembers = root.has("history");
        let (feeds, crowdsec) = feed::validate_all(root.tables("feed"));
        let config = Self {
            listen: Listen::validate(root.table("listen")),
            log: Log::validate(root.table("log")),
            store: StoreConfig::validate(root.table("store")),
            history: HistoryConfig::validate(remembers, root.table("history")),
            policy: policy(root.table("policy")),
            guard: Guard::validate(root.table("guard")),
            budget: Budget::validate(root.table("budget")),
            envoy: Envoy::validate(root.table("envoy")),
            canary: Canary::validate(root.table("canary")),
            otlp: Otlp::validate(root.table("otlp")),
            sentry: Sentry::validate(root.table("sentry")),
            feeds,
            crowdsec,
            databases: database::validate_all(root.tables("database")),
            providers: provider::validate_all(root.tables("provider")),
            secrets: secret::validate_all(root.table("secret")),
        };
        root.finish();
        config
    }
}

/// The text of a configuration file. Blocks.
pub fn text(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    // One more than is permitted tells whether there is more.
    let read = file.take(MAX_BYTES + 1).read_to_string(&mut text);
    let read = read.map_err(unreadable)?;
    if u64::try_from(read).is_ok_and(|read| read <= MAX_BYTES) {
        Ok(text)
    } else {
        let path = path.to_owned();
        Err(ConfigError::TooLarge { path })
    }
}

impl Log {
    fn validate(mut section: Section<'_>) -> Self {
        let levels = [
            Level::ERROR,
            Level::WARN,
            Level::INFO,
            Level::DEBUG,
            Level::TRACE,
        ];
        let names = ["error", "warn", "info", "debug", "trace"];
        let words: Vec<_> = names.into_iter().zip(levels).collect();
        let level = section.get("level", value::one_of(&words));
        section.finish();
        Self {
            level: level.unwrap_or(Level::INFO),
        }
    }
}

fn policy(mut section: Section<'_>) -> Policy {
    let suspicious = section
        .get("suspicious", value::number(1..=100))
        .unwrap_or(50);
    let malicious = section
        .get("malicious", value::number(1..=100))
        .unwrap_or(80);
    let policy = Policy::new(suspicious, malicious).unwrap_or_else(|error| {
        let key = if section.has("malicious") {
            "malicious"
        } else {
            "suspicious"
        };
        section.fault(key, error.to_string());
        Policy::default()
    });
    section.finish();
    policy
}

#[cfg(test)]
mod docs_test;
#[cfg(test)]
mod score_docs_test;
#[cfg(test)]
mod tests;
