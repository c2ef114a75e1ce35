//! `[[provider]]`: somebody who is asked about single addresses, within a budget.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::{Deref, RangeInclusive};
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use reputation::decay::HalfLife;
use reputation::score::Weight;

use super::http_json::{self, HttpJson};
use super::say::{self, Say};
use super::secret::SecretName;
use super::section::Section;
use super::value;

#[derive(Debug, Clone, PartialEq)]
pub struct Provider {
    /// Unique among providers; by default the kind's.
    pub name: ProviderName,
    /// Sources that copy from each other share one; by default the name.
    pub family: String,
    pub kind: ProviderKind,
    pub key: Option<SecretName>,
    pub weight: Weight,
    /// `None`: its word keeps its force.
    pub half_life: Option<HalfLife>,
    /// By client.
    pub say: Say,
    pub daily_quota: u32,
    /// For one whole exchange.
    pub timeout: Duration,
}

/// Names a provider in metrics, in the store and as reason. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProviderName(Arc<str>);

/// How it is asked.
#[derive(Debug, Clone, PartialEq)]
pub enum ProviderKind {
    AbuseIpdb {
        /// Ends with a slash; endpoints are appended.
        base_url: Uri,
        /// How far back reports count, in days.
        max_age_days: u16,
    },
    GreyNoise {
        api: GreyNoiseApi,
        /// Ends with a slash.
        base_url: Uri,
    },
    HttpJson(Box<HttpJson>),
}

/// Which of GreyNoise's answers our key is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GreyNoiseApi {
    Community,
    /// For subscribers.
    V3,
}

impl Provider {
    /// The secrets without which it cannot be asked.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretName> {
        let in_headers = match &self.kind {
            ProviderKind::HttpJson(json) => Some(json.secrets()),
            ProviderKind::AbuseIpdb { .. } | ProviderKind::GreyNoise { .. } => None,
        };
        self.key.iter().chain(in_headers.into_iter().flatten())
    }
}

impl Deref for ProviderName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<String> for ProviderName {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    AbuseIpdb,
    GreyNoise,
    HttpJson,
}

impl Kind {
    /// GreyNoise calls a scanner what it was when last seen, however long ago. The others weigh the age of
    /// what they know themselves, or nobody can say whether they do.
    fn half_life(self) -> Option<HalfLife> {
        match self {
            Self::GreyNoise => HalfLife::from_secs(30 * 86_400).ok(),
            Self::AbuseIpdb | Self::HttpJson => None,
        }
    }
}

const ABUSEIPDB: &str = "https://api.abuseipdb.com/api/v2/";
const GREYNOISE: &str = "https://api.greynoise.io/v3/";
const KINDS: [(&str, Kind); 3] = [
    ("abuseipdb", Kind::AbuseIpdb),
    ("greynoise", Kind::GreyNoise),
    ("http-json", Kind::HttpJson),
];
const NO_KEY: &str = "is missing: write key = \"secret:NAME\" and add [secret.NAME]";
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);

pub(super) fn validate_all(sections: Vec<Section<'_>>) -> Vec<Provider> {
    let mut providers = Vec::new();
    let mut names = BTreeSet::new();
    for mut section in sections {
        providers.extend(validate(&mut section, &mut names));
        section.finish();
    }
    providers
}

/// Takes every key before it gives up, so that all faults of one provider are found together.
fn validate(section: &mut Section<'_>, names: &mut BTreeSet<ProviderName>) -> Option<Provider> {
    let kinds = KINDS.map(|(name, _)| format!("{name:?}")).join(" or ");
    let kind = section.require("kind", format!("kind = {kinds}"), value::one_of(&KINDS));
    let name = name(section, kind, names);
    let family = section.get("family", value::name);
    let key = section.secret("key");
    let weight = section.get("weight", value::weight);
    let half_life = section.get("half_life", value::half_life);
    let say = say::validate(section);
    let daily_quota = section.get("daily_quota", value::number(0..=10_000_000));
    let timeout = section.get("timeout", value::duration(TIMEOUT));
    let shipped_half_life = kind.and_then(Kind::half_life);
    let kind = match kind? {
        Kind::AbuseIpdb => abuseipdb(section),
        Kind::GreyNoise => greynoise(section),
        Kind::HttpJson => http_json(section),
    };
    let name = name?;
    Some(Provider {
        family: family.unwrap_or_else(|| name.to_string()),
        name,
        kind: kind?,
        key,
        weight: weight.unwrap_or(Weight::STRONG),
        half_life: half_life.unwrap_or(shipped_half_life),
        say,
        daily_quota: daily_quota.unwrap_or(1000),
        timeout: timeout.unwrap_or(Duration::from_secs(2)),
    })
}

fn name(
    section: &mut Section<'_>,
    kind: Option<Kind>,
    names: &mut BTreeSet<ProviderName>,
) -> Option<ProviderName> {
    let written = section.get("name", value::name);
    let of_kind = || {
        let (name, _) = KINDS.iter().find(|(_, other)| Some(*other) == kind)?;
        Some((*name).to_owned())
    };
    let name = ProviderName::from(written.or_else(of_kind)?);
    if !names.insert(name.clone()) {
        let message = format!(
            "{:?} is the name of another provider too: give each a name of its own",
            &*name
        );
        section.fault("name", message);
    }
    Some(name)
}

fn abuseipdb(section: &mut Section<'_>) -> Option<ProviderKind> {
    let base_url = base_url(section, ABUSEIPDB);
    let max_age_days = section.get("max_age_days", value::number(1..=365));
    if !section.has("key") {
        section.fault("key", NO_KEY);
    }
    Some(ProviderKind::AbuseIpdb {
        base_url: base_url?,
        max_age_days: max_age_days.unwrap_or(30),
    })
}

fn greynoise(section: &mut Section<'_>) -> Option<ProviderKind> {
    let words = [
        ("community", GreyNoiseApi::Community),
        ("v3", GreyNoiseApi::V3),
    ];
    let api = section.get("api", value::one_of(&words));
    let api = api.unwrap_or(GreyNoiseApi::Community);
    let base_url = base_url(section, GREYNOISE);
    if api == GreyNoiseApi::V3 && !section.has("key") {
        section.fault("key", NO_KEY);
    }
    Some(ProviderKind::GreyNoise {
        api,
        base_url: base_url?,
    })
}

fn http_json(section: &mut Section<'_>) -> Option<ProviderKind> {
    if section.has("key") {
        section.fault(
            "key",
            "stands in a header here: write headers = { NAME = \"secret:NAME\" }",
        );
    }
    http_json::validate(section).map(|json| ProviderKind::HttpJson(Box::new(json)))
}

fn base_url(section: &mut Section<'_>, by_default: &str) -> Option<Uri> {
    let written = section.get("base_url", value::url);
    let base_url = written.or_else(|| by_default.parse().ok())?;
    if value::crosses_network_in_clear(&base_url) {
        section.fault("base_url", "would send the key in clear: write https://");
    }
    Some(with_final_slash(base_url))
}

fn with_final_slash(url: Uri) -> Uri {
    let text = url.to_string();
    if text.ends_with('/') {
        url
    } else {
        format!("{text}/").parse().unwrap_or(url)
    }
}
