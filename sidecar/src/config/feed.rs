//! `[[feed]]`: a list of addresses from a file or a URL.

use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;

use super::secret::SecretName;

#[derive(Debug, Clone, PartialEq)]
pub struct Feed {
    /// Unique among feeds; stands in verdicts as the reason and names the last good copy's file.
    pub name: String,
    pub source: FeedSource,
    pub format: FeedFormat,
    /// Feeds that copy from each other share one; by default the name.
    pub family: String,
    pub role: FeedRole,
    pub refresh: Duration,
    /// Sent to the URL as `Key` (AbuseIPDB) or as a bearer token.
    pub key: Option<SecretName>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedSource {
    File(PathBuf),
    Url(Uri),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedFormat {
    /// One address or prefix a line; `#` and `;` begin comments.
    Plain,
    /// FireHOL's: as plain, prefixes and addresses mixed.
    Netset,
    /// Address, tab, on how many lists it stands; those on fewer than `min_count` are left out.
    Ipsum { min_count: u32 },
    /// Spamhaus DROP: one JSON object a line.
    SpamhausJson,
    /// AbuseIPDB's `/blacklist`.
    AbuseIpdbJson,
}

/// What it means to stand on the list.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FeedRole {
    /// A soft source: joins the arithmetic with this weight (0 to 1).
    Score { score: ListScore, weight: f64 },
    /// A hard source, outside the arithmetic.
    Block,
    /// A list of the trusted: no source may block what stands on it.
    Allow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListScore {
    /// The same for every entry, 1 to 100.
    Fixed(u8),
    /// The list says it per entry (AbuseIPDB's blacklist).
    PerEntry,
}

impl FeedFormat {
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Netset => "netset",
            Self::Ipsum { .. } => "ipsum",
            Self::SpamhausJson => "spamhaus-json",
            Self::AbuseIpdbJson => "abuseipdb-json",
        }
    }
}

impl FeedRole {
    pub fn name(self) -> &'static str {
        match self {
            Self::Score { .. } => "score",
            Self::Block => "block",
            Self::Allow => "allow",
        }
    }
}
