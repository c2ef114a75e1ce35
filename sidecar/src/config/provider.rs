//! `[[provider]]`: somebody who is asked about single addresses, within a budget.

use std::time::Duration;

use hyper::Uri;

use super::secret::SecretName;

#[derive(Debug, Clone, PartialEq)]
pub struct Provider {
    pub kind: ProviderKind,
    /// Ends with a slash; endpoints are appended.
    pub base_url: Uri,
    pub key: SecretName,
    /// 0 to 1.
    pub weight: f64,
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
