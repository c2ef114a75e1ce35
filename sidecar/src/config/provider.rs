//! `[[provider]]`: somebody who is asked about single addresses, within a budget.

use std::ops::RangeInclusive;
use std::time::Duration;

use hyper::Uri;
use reputation::score::Weight;

use super::secret::SecretName;
use super::section::Section;
use super::value;

#[derive(Debug, Clone, PartialEq)]
pub struct Provider {
    pub kind: ProviderKind,
    /// Ends with a slash; endpoints are appended.
    pub base_url: Uri,
    pub key: SecretName,
    pub weight: Weight,
    pub daily_quota: u32,
    /// For one whole exchange.
    pub timeout: Duration,
    /// How far back reports count, in days.
    pub max_age_days: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProviderKind {
    AbuseIpdb,
}

impl ProviderKind {
    /// Names the provider in metrics, in the store and as family and reason.
    pub fn name(self) -> &'static str {
        match self {
            Self::AbuseIpdb => "abuseipdb",
        }
    }
}

const ABUSEIPDB: &str = "https://api.abuseipdb.com/api/v2/";
const KINDS: [(&str, ProviderKind); 1] = [("abuseipdb", ProviderKind::AbuseIpdb)];
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);

pub(super) fn validate_all(sections: Vec<Section<'_>>) -> Vec<Provider> {
    let mut providers: Vec<Provider> = Vec::new();
    for mut section in sections {
        if let Some(provider) = validate(&mut section) {
            if providers.iter().any(|other| other.kind == provider.kind) {
                let name = provider.kind.name();
                section.fault(
                    "kind",
                    format!("{name:?} is configured twice: one budget, one key"),
                );
            }
            providers.push(provider);
        }
        section.finish();
    }
    providers
}

/// Takes every key before it gives up, so that all faults of one provider are found together.
fn validate(section: &mut Section<'_>) -> Option<Provider> {
    let kind = section.require("kind", "kind = \"abuseipdb\"", value::one_of(&KINDS));
    let written = section.get("base_url", value::url);
    let base_url = written
        .or_else(|| ABUSEIPDB.parse().ok())
        .map(with_final_slash);
    let key = section.secret("key");
    let weight = section.get("weight", value::weight);
    let daily_quota = section.get("daily_quota", value::number(0..=10_000_000));
    let timeout = section.get("timeout", value::duration(TIMEOUT));
    let max_age_days = section.get("max_age_days", value::number(1..=365));
    if !section.has("key") {
        section.fault(
            "key",
            "is missing: write key = \"secret:NAME\" and add [secret.NAME]",
        );
    }
    let base_url = base_url?;
    if value::crosses_network_in_clear(&base_url) {
        section.fault("base_url", "would send the key in clear: write https://");
    }
    Some(Provider {
        kind: kind?,
        base_url,
        key: key?,
        weight: weight.unwrap_or(Weight::STRONG),
        daily_quota: daily_quota.unwrap_or(1000),
        timeout: timeout.unwrap_or(Duration::from_secs(2)),
        max_age_days: max_age_days.unwrap_or(30),
    })
}

fn with_final_slash(url: Uri) -> Uri {
    let text = url.to_string();
    if text.ends_with('/') {
        url
    } else {
        format!("{text}/").parse().unwrap_or(url)
    }
}
