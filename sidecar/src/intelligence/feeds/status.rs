//! What an operator is told about a feed.

use std::collections::BTreeMap;
use std::time::Duration;

use reputation::UnixSeconds;
use serde::{Deserialize, Serialize};

use super::formats::LineFault;
use super::guard::Dropped;
use crate::config::{CrowdSec, Feed, FeedSource};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct FeedStatus {
    pub name: String,
    pub family: String,
    /// `score`, `block` or `allow`.
    pub role: String,
    pub format: String,
    /// The path, or the URL without its query.
    pub source: String,
    /// How often the source is asked.
    pub refresh_s: u64,
    /// Entries in force.
    pub entries: usize,
    /// How many of them are in shadow: counted, and refusing nobody.
    #[serde(default)]
    pub in_shadow: usize,
    /// Unreadable lines of the version in force.
    pub skipped: usize,
    /// The first few of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<LineFault>,
    /// What the guard took out.
    pub dropped: Dropped,
    /// What else was left out, by cause: CrowdSec's decisions on what is no address.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<String, usize>,
    /// When the source last gave a good version, or confirmed the one in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<UnixSeconds>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_s: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Until when a newer version is tried in shadow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial_until: Option<UnixSeconds>,
    /// Whether a newer version waits for `portcullis feeds release`.
    pub held: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_because: Option<String>,
}

impl FeedStatus {
    pub fn new(feed: &Feed) -> Self {
        Self {
            name: feed.name.clone(),
            family: feed.family.clone(),
            role: feed.role.name().to_owned(),
            format: feed.format.name().to_owned(),
            source: place(&feed.source),
            refresh_s: feed.refresh.as_secs(),
            ..Self::default()
        }
    }

    /// A Local API of CrowdSec whose answers are as old as `refresh` at most.
    pub fn of_crowdsec(config: &CrowdSec, refresh: Duration) -> Self {
        Self {
            name: config.name.clone(),
            family: config.name.clone(),
            role: "decisions".to_owned(),
            format: "crowdsec".to_owned(),
            source: place(&FeedSource::Url(config.url.clone())),
            refresh_s: refresh.as_secs(),
            ..Self::default()
        }
    }
}

/// Where a feed comes from, without what may be a key in a query.
pub fn place(source: &FeedSource) -> String {
    match source {
        FeedSource::File(path) => path.display().to_string(),
        FeedSource::Url(uri) => {
            let scheme = uri.scheme_str().unwrap_or("http");
            let host = uri.host().unwrap_or_default();
            let port = uri.port_u16().map(|port| format!(":{port}"));
            format!(
                "{scheme}://{host}{}{}",
                port.unwrap_or_default(),
                uri.path()
            )
        }
    }
}
