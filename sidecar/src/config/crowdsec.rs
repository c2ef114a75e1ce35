//! `[[feed]]` with `format = "crowdsec"`: the decisions of a CrowdSec Local API.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;

use super::secret::SecretName;
use super::section::Section;
use super::tree::Node;
use super::value;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrowdSec {
    /// Unique among feeds; the origin of its decisions.
    pub name: String,
    /// Of the Local API, without `/v1`.
    pub url: Uri,
    pub access: Access,
    /// The certificate authorities to trust, as PEM; without it the system's.
    pub ca: Option<PathBuf>,
    pub refresh: Duration,
    pub fallback: Remediation,
    /// Absent: the stream is followed.
    pub live: Option<Live>,
    /// How often the Local API is told how many decisions are in force.
    pub usage_metrics: Option<Duration>,
}

/// How single addresses are asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Live {
    /// How long an answer is kept.
    pub cache: Duration,
    pub timeout: Duration,
}

/// What a bouncer is let in by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    Key(SecretName),
    /// Files of PEM, read anew when they are replaced.
    Certificate {
        certificate: PathBuf,
        key: PathBuf,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Stream,
    Live,
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
const MODES: [(&str, Mode); 2] = [("stream", Mode::Stream), ("live", Mode::Live)];
const CACHE: Duration = Duration::from_secs(10);
const CACHE_LIMITS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
/// What CrowdSec asks of those who ask for each request.
const TIMEOUT: Duration = Duration::from_millis(200);
const TIMEOUT_LIMITS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(5);
/// As often as CrowdSec's own bouncers do.
const USAGE: Duration = Duration::from_secs(30 * 60);
const USAGE_LIMITS: RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(24 * 3600);
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

impl CrowdSec {
    pub fn key(&self) -> Option<&SecretName> {
        match &self.access {
            Access::Key(name) => Some(name),
            Access::Certificate { .. } => None,
        }
    }
}

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
    let access = access(section);
    let ca = section.get("ca", value::path);
    check_url(section, url.as_ref());
    let live = live(section);
    let refresh = section.get("refresh", value::duration(LIMITS));
    let fallback = section.get("fallback_remediation", value::one_of(&REMEDIATIONS));
    let usage_metrics = section.get("usage_metrics", usage_metrics);
    if live.is_some() {
        refuse_those_of_a_stream(section);
    }
    Some(CrowdSec {
        live,
        name: name?,
        url: url?,
        access: access?,
        ca,
        refresh: refresh.unwrap_or(REFRESH),
        fallback: fallback.unwrap_or(Remediation::Ban),
        usage_metrics: usage_metrics.unwrap_or(Some(USAGE)),
    })
}

fn refuse_those_of_a_stream(section: &mut Section<'_>) {
    for key in ["refresh", "usage_metrics"] {
        if section.has(key) {
            section.fault(
                key,
                "belongs to mode = \"stream\", in which decisions are held",
            );
        }
    }
}

fn live(section: &mut Section<'_>) -> Option<Live> {
    let mode = section.get("mode", value::one_of(&MODES));
    if mode != Some(Mode::Live) {
        for key in ["cache", "timeout"] {
            section.refuse(key, "belongs to mode = \"live\"");
        }
        return None;
    }
    let cache = section.get("cache", value::duration(CACHE_LIMITS));
    let timeout = section.get("timeout", value::duration(TIMEOUT_LIMITS));
    Some(Live {
        cache: cache.unwrap_or(CACHE),
        timeout: timeout.unwrap_or(TIMEOUT),
    })
}

fn usage_metrics(node: &Node) -> Result<Option<Duration>, String> {
    match value::text(node).as_deref() {
        Ok("off") => Ok(None),
        _ => {
            let interval = value::duration(USAGE_LIMITS)(node);
            interval
                .map(Some)
                .map_err(|why| format!("{why}, or \"off\""))
        }
    }
}

fn access(section: &mut Section<'_>) -> Option<Access> {
    let key = section.secret("key");
    let certificate = section.get("client_certificate", value::path);
    let private = section.get("client_key", value::path);
    let [has_key, has_certificate, has_private] =
        ["key", "client_certificate", "client_key"].map(|name| section.has(name));
    match (has_key, has_certificate, has_private) {
        (true, true, _) | (true, _, true) => section.fault(
            "key",
            "stands beside a certificate, and CrowdSec looks at no key then: remove one of them",
        ),
        (false, false, false) => section.fault(
            "key",
            "is missing: make one with `cscli bouncers add portcullis`, and write key = \"secret:NAME\"; \
             or write client_certificate and client_key",
        ),
        (false, true, false) => section.fault(
            "client_key",
            "is missing: write the path of the private key of client_certificate",
        ),
        (false, false, true) => section.fault(
            "client_certificate",
            "is missing: write the path of the certificate that client_key belongs to",
        ),
        (true, false, false) | (false, true, true) => {}
    }
    let pair = certificate.zip(private);
    let pair = pair.map(|(certificate, key)| Access::Certificate { certificate, key });
    key.map(Access::Key).or(pair)
}

fn check_url(section: &mut Section<'_>, url: Option<&Uri>) {
    let clear = section.get("clear_text", value::boolean).unwrap_or(false);
    let Some(url) = url else {
        return;
    };
    let of_tls = ["ca", "client_certificate"];
    let of_tls = of_tls.into_iter().filter(|key| section.has(key));
    if url.scheme_str() == Some("http") {
        for key in of_tls {
            section.fault(
                key,
                "is for TLS only: write url = \"https://…\", or remove it",
            );
        }
    }
    if section.has("key") && !clear && value::crosses_network_in_clear(url) {
        section.fault(
            "url",
            "would send the key in clear: write https://, or clear_text = true if nobody else can \
             listen on that network",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Faults};
    use super::*;

    const PAGE: &str = include_str!("../../../docs/crowdsec.md");
    const TABLE: &str = include_str!("../../../docs/sidecar.md");

    fn parse(keys: &str) -> Result<CrowdSec, Faults> {
        let text = format!(
            "[secret.key]\nfrom = \"env\"\nname = \"KEY\"\n\
             [[feed]]\nname = \"crowdsec\"\nformat = \"crowdsec\"\n{keys}"
        );
        let config = Config::parse(&text, std::iter::empty())?;
        Ok(config.crowdsec.into_iter().next().unwrap())
    }

    #[test]
    fn a_key_or_a_certificate_lets_in() {
        let by_key = parse("url = \"http://127.0.0.1:8080\"\nkey = \"secret:key\"").unwrap();
        assert!(matches!(by_key.access, Access::Key(_)) && by_key.ca.is_none());
        assert_eq!(
            (by_key.refresh, by_key.fallback),
            (REFRESH, Remediation::Ban)
        );
        let by_certificate = parse(
            "url = \"https://lapi:8080\"\nca = \"/ca\"\nclient_certificate = \"/c\"\nclient_key = \"/k\"",
        );
        let by_certificate = by_certificate.unwrap();
        assert_eq!(by_certificate.ca, Some(PathBuf::from("/ca")));
        let (certificate, key) = (PathBuf::from("/c"), PathBuf::from("/k"));
        let pair = Access::Certificate { certificate, key };
        assert_eq!(
            (by_certificate.access, by_certificate.refresh),
            (pair, REFRESH)
        );
    }

    #[test]
    fn usage_metrics_go_out_unless_they_are_off() {
        let with = |line: &str| {
            let keys = format!("url = \"http://127.0.0.1:8080\"\nkey = \"secret:key\"\n{line}");
            parse(&keys).unwrap().usage_metrics
        };
        assert_eq!(with(""), Some(USAGE));
        assert_eq!(
            with("usage_metrics = \"15m\""),
            Some(Duration::from_secs(900))
        );
        assert_eq!(with("usage_metrics = \"off\""), None);
    }

    #[test]
    fn live_mode_has_keys_of_its_own() {
        let api = "url = \"http://127.0.0.1:8080\"\nkey = \"secret:key\"\n";
        assert_eq!(
            parse(&format!("{api}mode = \"stream\"")).unwrap().live,
            None
        );
        let (cache, timeout) = (CACHE, TIMEOUT);
        let by_default = parse(&format!("{api}mode = \"live\"")).unwrap().live;
        assert_eq!(by_default, Some(Live { cache, timeout }));
        for (lines, key) in [
            ("cache = \"5s\"", "cache"),
            ("mode = \"live\"\nrefresh = \"5s\"", "refresh"),
            ("mode = \"live\"\nusage_metrics = \"off\"", "usage_metrics"),
        ] {
            let faults = parse(&format!("{api}{lines}")).unwrap_err();
            let paths: Vec<_> = faults.iter().map(|fault| fault.path.clone()).collect();
            assert_eq!(paths, [format!("feed[0].{key}")], "{faults}");
        }
    }

    #[test]
    fn every_fault_says_what_to_write() {
        let https = "url = \"https://lapi:8080\"\n";
        for (keys, path, said) in [
            (https.to_owned(), "key", "cscli bouncers add"),
            (
                format!(
                    "{https}key = \"secret:key\"\nclient_certificate = \"/c\"\nclient_key = \"/k\""
                ),
                "key",
                "remove one of them",
            ),
            (
                format!("{https}client_certificate = \"/c\""),
                "client_key",
                "the private key of client_certificate",
            ),
            (
                format!("{https}client_key = \"/k\""),
                "client_certificate",
                "that client_key belongs to",
            ),
            (
                "url = \"http://lapi:8080\"\nclient_certificate = \"/c\"\nclient_key = \"/k\""
                    .to_owned(),
                "client_certificate",
                "is for TLS only",
            ),
            (
                "url = \"http://127.0.0.1\"\nkey = \"secret:key\"\nca = \"/ca\"".to_owned(),
                "ca",
                "is for TLS only",
            ),
            (
                "url = \"http://lapi:8080\"\nkey = \"secret:key\"".to_owned(),
                "url",
                "would send the key in clear",
            ),
            (
                format!("{https}key = \"secret:key\"\nscore = 90"),
                "score",
                "says itself what is done",
            ),
            (
                format!("{https}key = \"secret:key\"\nrefresh = \"100ms\""),
                "refresh",
                "must be from 1s to 1h",
            ),
            (
                format!("{https}key = \"secret:key\"\nfallback_remediation = \"captcha\""),
                "fallback_remediation",
                "write \"ban\" or \"throttle\" or \"ignore\"",
            ),
            (
                format!("{https}key = \"secret:key\"\nusage_metrics = \"5s\""),
                "usage_metrics",
                "must be from 1m to 1d, or \"off\"",
            ),
        ] {
            let faults = parse(&keys).unwrap_err();
            let found: Vec<_> = faults.iter().collect();
            let [fault] = found.as_slice() else {
                panic!("{keys}: {faults}")
            };
            assert_eq!(fault.path, format!("feed[0].{path}"), "{keys}");
            assert!(fault.message.contains(said), "{keys}: {}", fault.message);
        }
    }

    #[test]
    fn every_toml_block_of_the_page_is_a_good_configuration() {
        let blocks = PAGE.split("```toml\n").skip(1);
        let blocks: Vec<_> = blocks.filter_map(|text| text.split("```").next()).collect();
        assert!(blocks.len() >= 2, "{}", blocks.len());
        for block in blocks {
            let checked = Config::parse(block, std::iter::empty());
            assert!(checked.is_ok(), "{}\n{block}", checked.unwrap_err());
        }
    }

    #[test]
    fn every_key_stands_on_the_page_and_in_the_table() {
        let faults = parse("zzzzzzzz = 1").unwrap_err();
        let stranger = faults
            .iter()
            .find_map(|fault| fault.message.split_once("the keys are "));
        let (_, keys) = stranger.unwrap();
        let ours = keys.split(", ").filter(|key| !ROLES.contains(key));
        let ours: Vec<_> = ours.collect();
        assert!(ours.len() >= 10, "{ours:?}");
        for key in ours {
            assert!(
                TABLE.contains(&format!("| `feed.{key}` |")),
                "{key} is not in the table"
            );
            let written =
                PAGE.contains(&format!("\n{key} = ")) || PAGE.contains(&format!("`{key}"));
            assert!(written, "{key} is not on the page");
        }
    }
}
