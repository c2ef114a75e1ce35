//! `[[feed]]`: a list of addresses from a file or a URL.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;
use reputation::score::Weight;

use super::crowdsec::{self, CrowdSec};
use super::http_json::{Pointer, pointer};
use super::say::{self, Say};
use super::secret::SecretName;
use super::section::Section;
use super::value;

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
    /// How long what a new version adds is tried in shadow first.
    pub trial: Option<Duration>,
    /// By entry: who stands under one is treated alike.
    pub say: Say,
    /// Sent to the URL as `Key` (AbuseIPDB) or as a bearer token.
    pub key: Option<SecretName>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedSource {
    File(PathBuf),
    Url(Uri),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedFormat {
    /// One address or prefix a line; `#` and `;` begin comments.
    Plain,
    /// FireHOL's: as plain, prefixes and addresses mixed.
    Netset,
    /// Address, tab, on how many lists it stands; those on fewer than `min_count` are left out.
    Ipsum { min_count: u32 },
    /// Spamhaus DROP: one JSON object a line.
    SpamhausJson,
    /// What `cscli allowlists inspect NAME -o json` prints; items may have an end.
    CrowdSecAllowlistJson,
    /// AbuseIPDB's `/blacklist`.
    AbuseIpdbJson,
    /// As the operators of crawlers publish theirs: `prefixes` with `ipv4Prefix` and `ipv6Prefix`.
    PrefixesJson,
    /// A list of texts somewhere in a document.
    JsonAddresses { at: Pointer },
}

/// What it means to stand on the list.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FeedRole {
    /// A soft source: joins the arithmetic with this weight.
    Score { score: ListScore, weight: Weight },
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
    pub fn name(&self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Netset => "netset",
            Self::Ipsum { .. } => "ipsum",
            Self::SpamhausJson => "spamhaus-json",
            Self::CrowdSecAllowlistJson => ALLOWLIST,
            Self::AbuseIpdbJson => "abuseipdb-json",
            Self::PrefixesJson => "prefixes-json",
            Self::JsonAddresses { .. } => "json-addresses",
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

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const REFRESH: RangeInclusive<Duration> = SECOND..=Duration::from_secs(7 * 86_400);
const TRIAL: RangeInclusive<Duration> = SECOND..=Duration::from_secs(86_400);
/// AbuseIPDB permits five downloads a day on its free plan.
const ABUSEIPDB_REFRESH: Duration = Duration::from_secs(6 * 3600);

const NO_ROLE: &str = "is missing: write score = 1 to 100, or block = true for a hard source, or \
                       allow = true for a list of the trusted";
const TWO_ROLES: &str =
    "stands beside another role: write one of score, block = true and allow = true";

/// As written, before `min_count` is joined to it.
#[derive(Clone, Copy)]
enum Format {
    Plain,
    Netset,
    Ipsum,
    SpamhausJson,
    AbuseIpdbJson,
    CrowdSecAllowlistJson,
    PrefixesJson,
    JsonAddresses,
}

/// The format of what is no list of addresses.
const CROWDSEC: &str = "crowdsec";
const ALLOWLIST: &str = "crowdsec-allowlist-json";
const FORMATS: [(&str, Option<Format>); 9] = [
    ("plain", Some(Format::Plain)),
    ("netset", Some(Format::Netset)),
    ("ipsum", Some(Format::Ipsum)),
    ("spamhaus-json", Some(Format::SpamhausJson)),
    ("abuseipdb-json", Some(Format::AbuseIpdbJson)),
    ("prefixes-json", Some(Format::PrefixesJson)),
    ("json-addresses", Some(Format::JsonAddresses)),
    (ALLOWLIST, Some(Format::CrowdSecAllowlistJson)),
    (CROWDSEC, None),
];

/// Lists, and what decides by itself.
pub(super) fn validate_all(sections: Vec<Section<'_>>) -> (Vec<Feed>, Vec<CrowdSec>) {
    let (mut feeds, mut crowdsec) = (Vec::new(), Vec::new());
    let mut names = BTreeSet::new();
    for mut section in sections {
        let name = section.require("name", "name = \"…\"", value::name);
        if let Some(name) = name.as_ref().filter(|name| !names.insert((*name).clone())) {
            section.fault("name", format!("{name:?} is the name of another feed too"));
        }
        if section.says("format", CROWDSEC) {
            crowdsec.extend(crowdsec::validate(&mut section, name));
        } else {
            feeds.extend(validate(&mut section, name));
        }
        section.finish();
    }
    (feeds, crowdsec)
}

/// Takes every key before it gives up, so that all faults of one feed are found together.
fn validate(section: &mut Section<'_>, name: Option<String>) -> Option<Feed> {
    let format = format(section);
    let source = source(section);
    let family = section.get("family", value::name);
    let role = role(section, format.as_ref());
    if format == Some(FeedFormat::CrowdSecAllowlistJson)
        && role.is_some_and(|role| role != FeedRole::Allow)
    {
        section.fault(
            "format",
            "is a list of the trusted: write allow = true in place of its role",
        );
    }
    let refresh = section.get("refresh", value::duration(REFRESH));
    let trial = section.get("trial", value::duration(TRIAL));
    let say = say::validate(section);
    let key = key(section, source.as_ref());
    let (name, format) = (name?, format?);
    let by_default = match &format {
        FeedFormat::AbuseIpdbJson => ABUSEIPDB_REFRESH,
        _ => HOUR,
    };
    Some(Feed {
        family: family.unwrap_or_else(|| name.clone()),
        name,
        source: source?,
        format,
        role: role?,
        refresh: refresh.unwrap_or(by_default),
        trial,
        say,
        key,
    })
}

fn key(section: &mut Section<'_>, source: Option<&FeedSource>) -> Option<SecretName> {
    let key = section.secret("key")?;
    match source {
        Some(FeedSource::File(_)) => {
            section.fault("key", "belongs to a url; a path needs none");
        }
        Some(FeedSource::Url(url)) if value::crosses_network_in_clear(url) => {
            section.fault("url", "would send the key in clear: write https://");
        }
        Some(FeedSource::Url(_)) | None => {}
    }
    Some(key)
}

fn format(section: &mut Section<'_>) -> Option<FeedFormat> {
    let names = FORMATS.map(|(name, _)| name).join(" or ");
    let what = format!("format = {names}");
    let format = section
        .require("format", what, value::one_of(&FORMATS))
        .flatten();
    let min_count = section.get("min_count", value::number(1..=1000));
    if min_count.is_some() && !matches!(format, None | Some(Format::Ipsum)) {
        section.fault(
            "min_count",
            "belongs to format = \"ipsum\", which counts lists",
        );
    }
    let at = at(section, format);
    match format? {
        Format::Plain => Some(FeedFormat::Plain),
        Format::Netset => Some(FeedFormat::Netset),
        Format::Ipsum => Some(FeedFormat::Ipsum {
            min_count: min_count.unwrap_or(1),
        }),
        Format::SpamhausJson => Some(FeedFormat::SpamhausJson),
        Format::AbuseIpdbJson => Some(FeedFormat::AbuseIpdbJson),
        Format::CrowdSecAllowlistJson => Some(FeedFormat::CrowdSecAllowlistJson),
        Format::PrefixesJson => Some(FeedFormat::PrefixesJson),
        Format::JsonAddresses => Some(FeedFormat::JsonAddresses { at: at? }),
    }
}

/// Where in a document the addresses are.
fn at(section: &mut Section<'_>, format: Option<Format>) -> Option<Pointer> {
    if let Some(Format::JsonAddresses) = format {
        return section.require("at", "at = \"/addresses\", where the list is", pointer);
    }
    let at = section.get("at", pointer);
    if at.is_some() && format.is_some() {
        section.fault(
            "at",
            "belongs to format = \"json-addresses\": the place of the list",
        );
    }
    None
}

fn source(section: &mut Section<'_>) -> Option<FeedSource> {
    let both_written = section.has("path") && section.has("url");
    let neither_written = !section.has("path") && !section.has("url");
    let path = section.get("path", value::path).map(FeedSource::File);
    let url = section.get("url", value::url).map(FeedSource::Url);
    if both_written {
        section.fault("url", "stands beside path: a list comes from one of them");
    }
    if neither_written {
        section.fault(
            "path",
            "is missing: write path = \"…\" or url = \"https://…\"",
        );
    }
    path.or(url)
}

fn role(section: &mut Section<'_>, format: Option<&FeedFormat>) -> Option<FeedRole> {
    let score = section.get("score", value::number(1..=100));
    let block = section.get("block", value::boolean).unwrap_or(false);
    let allow = section.get("allow", value::boolean).unwrap_or(false);
    let weight = section.get("weight", value::weight);
    if section.has("weight") && (block || allow) {
        section.fault(
            "weight",
            "belongs to a score: neither block nor allow is weighed",
        );
    }
    let weight = weight.unwrap_or(Weight::STRONG);
    let scored = |score| Some(FeedRole::Score { score, weight });
    let per_entry = format == Some(&FeedFormat::AbuseIpdbJson);
    match (section.has("score"), block, allow) {
        // A score that is there but faulty was told already.
        (true, false, false) => scored(ListScore::Fixed(score?)),
        (false, true, false) => Some(FeedRole::Block),
        (false, false, true) => Some(FeedRole::Allow),
        (false, false, false) if per_entry => scored(ListScore::PerEntry),
        (false, false, false) => {
            section.fault("score", NO_ROLE);
            None
        }
        _ => {
            section.fault(if block { "block" } else { "allow" }, TWO_ROLES);
            None
        }
    }
}
