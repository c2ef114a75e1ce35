//! `[[feed]]` with `format = "crowdsec"`: the decisions of a CrowdSec Local API.

use std::ops::RangeInclusive;
use std::time::Duration;

use hyper::Uri;

use super::secret::SecretName;
use super::section::Section;
use super::value;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrowdSec {
    /// Unique among feeds; the origin of its decisions.
    pub name: String,
    /// Of the Local API, without `/v1`.
    pub url: Uri,
    /// The bouncer's key.
    pub key: SecretName,
    pub refresh: Duration,
    pub fallback: Remediation,
}

/// What is done about a decision of a type that we do not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remediation {
    Ban,
    Throttle,
    /// It is left out.
    Ignore,
}

/// As CrowdSec asks of those who enforce for it.
const REFRESH: Duration = Duration::from_secs(10);
const LIMITS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
/// What decides about lists, and not here: a decision says itself what is done.
const ROLES: [&str; 11] = [
    "path",
    "score",
    "block",
    "allow",
    "weight",
    "family",
    "min_count",
    "at",
    "trial",
    "shadow",
    "enforce_percent",
];
const REMEDIATIONS: [(&str, Remediation); 3] = [
    ("ban", Remediation::Ban),
    ("throttle", Remediation::Throttle),
    ("ignore", Remediation::Ignore),
];

/// `name` was read and found to be nobody else's.
pub(super) fn validate(section: &mut Section<'_>, name: Option<String>) -> Option<CrowdSec> {
    let _format = section.get("format", value::text);
    for key in ROLES {
        section.refuse(
            key,
            "belongs to a list; a decision of CrowdSec says itself what is done",
        );
    }
    if name.as_deref() == Some("operator") {
        section.fault("name", "\"operator\" is who bans by hand: choose another");
    }
    let url = section.require("url", "url = \"http://127.0.0.1:8080\"", value::url);
    let key = match section.has("key") {
        true => section.secret("key"),
        false => {
            section.fault(
                "key",
                "is missing: make one with `cscli bouncers add portcullis`, and write \
                 key = \"secret:NAME\"",
            );
            None
        }
    };
    let clear = section.get("clear_text", value::boolean).unwrap_or(false);
    if let Some(url) = &url
        && !clear
        && value::crosses_network_in_clear(url)
    {
        section.fault(
            "url",
            "would send the key in clear: write https://, or clear_text = true if nobody else can \
             listen on that network",
        );
    }
    let refresh = section.get("refresh", value::duration(LIMITS));
    let fallback = section.get("fallback_remediation", value::one_of(&REMEDIATIONS));
    Some(CrowdSec {
        name: name?,
        url: url?,
        key: key?,
        refresh: refresh.unwrap_or(REFRESH),
        fallback: fallback.unwrap_or(Remediation::Ban),
    })
}
