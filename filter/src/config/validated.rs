//! From JSON to a checked configuration. A bad value refuses the whole with its path; an unknown key
//! warns, so that an older filter survives a newer configuration, unless `strict` is set.

use reputation::json::{self, JsonError};
use reputation::mode::Mode;
use reputation::{Action, Cidr};
use serde_json::{Map, Value};
use thiserror::Error;

use super::raw::{Findings, Section, show};
use super::wire;
use super::{
    Actions, ClientIp, Config, Deny, ExemptAt, Failure, Limits, Policy, Route, Sidecar, Strip,
    Unknown, UpstreamHeaders,
};
use crate::client::AllowList;
use crate::exempt::ExemptPaths;
use crate::refuse::Templates;

/// The longest that a request may be held, in milliseconds: well under Envoy's stream timeouts.
const MAX_HOLD_MS: u32 = 5_000;
const MAX_TEMPLATE_BYTES: usize = 64 * 1024;

/// A configuration that holds, and what was odd about it.
#[derive(Debug)]
pub struct Checked {
    pub config: Config,
    pub warnings: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    #[error("the configuration is neither a Struct nor JSON: {0}")]
    NotJson(String),
    #[error("the configuration must be an object, not {0}")]
    NotAnObject(String),
    #[error("{}", .0.join("; "))]
    Faults(Vec<String>),
}

impl Checked {
    /// Checks what Envoy gives as plugin configuration: a Struct, or a text that is JSON.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        let value = parse_json(bytes)?;
        let Some(object) = value.as_object() else {
            return Err(ConfigError::NotAnObject(show(&value)));
        };
        let mut findings = Findings::default();
        let mut root = Section::root(object);
        let strict = root.flag("strict", &mut findings).unwrap_or(false);
        let config = read(&mut root, &mut findings);
        root.close(&mut findings);
        if strict {
            findings.faults.append(&mut findings.warnings);
        }
        if !findings.faults.is_empty() {
            return Err(ConfigError::Faults(findings.faults));
        }
        Ok(Self {
            config,
            warnings: findings.warnings,
        })
    }
}

fn parse_json(bytes: &[u8]) -> Result<Value, ConfigError> {
    if bytes.trim_ascii().is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    let not_json = |error: JsonError| ConfigError::NotJson(error.to_string());
    match json::parse(bytes) {
        Ok(Value::String(inner)) => json::parse(inner.as_bytes()).map_err(not_json),
        Ok(value) => Ok(value),
        // A Struct in protobuf's own form is never JSON: it begins with a key's length.
        Err(error) => wire::parse_struct(bytes).ok_or_else(|| not_json(error)),
    }
}

fn read(root: &mut Section<'_>, findings: &mut Findings) -> Config {
    let exempt = exempt(root, findings).unwrap_or_else(ExemptPaths::shipped);
    let mut exempt_paths = vec![exempt];
    let base = policy(root, DEFAULT_POLICY, findings);
    let routes = routes(root, base, &mut exempt_paths, findings);
    Config {
        base,
        sidecar: sidecar(root, findings),
        client_ip: root
            .choice("client_ip", &CLIENT_IPS, findings)
            .unwrap_or(ClientIp::SourceAddress),
        strip: root
            .choice("strip", &STRIPS, findings)
            .unwrap_or(Strip::Envoy),
        ipv6_prefix: root
            .number("ipv6_prefix", 32, 128, findings)
            .and_then(|bits| u8::try_from(bits).ok())
            .unwrap_or(64),
        allow: allow(root, findings),
        actions: actions(root, findings),
        upstream_headers: root
            .choice("upstream_headers", &UPSTREAM_HEADERS, findings)
            .unwrap_or(UpstreamHeaders::Flagged),
        cache_entries: cache_entries(root, findings),
        limits: limits(root, findings),
        deny: deny(root, findings),
        ready_path: ready_path(root, findings),
        routes,
        exempt_paths,
        #[cfg(feature = "trap")]
        trap: crate::trap::TrapConfig::read(root, findings),
    }
}

const MODES: [(&str, Mode); 3] = [
    ("monitor", Mode::Monitor),
    ("enforce", Mode::Enforce),
    ("off", Mode::Off),
];
const FAILURES: [(&str, Failure); 2] = [("open", Failure::Open), ("closed", Failure::Closed)];
const UNKNOWNS: [(&str, Unknown); 2] = [("pass", Unknown::Pass), ("hold", Unknown::Hold)];
const CLIENT_IPS: [(&str, ClientIp); 2] = [
    ("source.address", ClientIp::SourceAddress),
    ("x-envoy-external-address", ClientIp::ExternalAddressHeader),
];
const STRIPS: [(&str, Strip); 2] = [("envoy", Strip::Envoy), ("filter", Strip::Filter)];
const UPSTREAM_HEADERS: [(&str, UpstreamHeaders); 2] = [
    ("flagged", UpstreamHeaders::Flagged),
    ("none", UpstreamHeaders::None),
];
const ACTIONS: [(&str, Action); 4] = [
    ("allow", Action::Allow),
    ("tag", Action::Tag),
    ("throttle", Action::Throttle),
    ("deny", Action::Deny),
];

const DEFAULT_POLICY: Policy = Policy {
    mode: Mode::Monitor,
    failure: Failure::Open,
    unknown: Unknown::Pass,
    hold_ms: 10,
    exempt: ExemptAt(0),
};

fn policy(section: &mut Section<'_>, inherited: Policy, findings: &mut Findings) -> Policy {
    Policy {
        mode: section
            .choice("mode", &MODES, findings)
            .unwrap_or(inherited.mode),
        failure: section
            .choice("failure", &FAILURES, findings)
            .unwrap_or(inherited.failure),
        unknown: section
            .choice("unknown", &UNKNOWNS, findings)
            .unwrap_or(inherited.unknown),
        hold_ms: section
            .number("hold_ms", 1, MAX_HOLD_MS, findings)
            .unwrap_or(inherited.hold_ms),
        exempt: inherited.exempt,
    }
}

fn exempt(section: &mut Section<'_>, findings: &mut Findings) -> Option<ExemptPaths> {
    let value = section.value("exempt_paths")?;
    let path = section.path("exempt_paths");
    let texts = value.as_array().and_then(|items| {
        let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
        texts.collect::<Option<Vec<_>>>()
    });
    let Some(texts) = texts else {
        findings.fault(
            &path,
            format_args!("a list of paths is expected, not {}", show(value)),
        );
        return None;
    };
    match ExemptPaths::new(texts) {
        Ok(paths) => Some(paths),
        Err((at, fault)) => {
            findings.fault(&format!("{path}[{at}]"), fault);
            None
        }
    }
}

fn sidecar(root: &mut Section<'_>, findings: &mut Findings) -> Sidecar {
    let mut section = root.section("sidecar", findings);
    let mut name = |key: &'static str, default: &str| {
        let text = section.text(key, findings).unwrap_or(default);
        let fits = (1..=256).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if !fits {
            findings.fault(
                &section.path(key),
                format_args!(
                    "1 to 256 visible characters without blanks are expected, not {text:?}"
                ),
            );
        }
        text.to_owned()
    };
    let sidecar = Sidecar {
        cluster: name("cluster", "portcullis"),
        poll_cluster: name("poll_cluster", "portcullis_poll"),
        authority: name("authority", "portcullis"),
    };
    section.close(findings);
    sidecar
}

fn allow(root: &mut Section<'_>, findings: &mut Findings) -> AllowList {
    let Some(value) = root.value("allow") else {
        return AllowList::default();
    };
    let Some(items) = value.as_array() else {
        findings.fault(
            "allow",
            format_args!(
                "a list of addresses and prefixes is expected, not {}",
                show(value)
            ),
        );
        return AllowList::default();
    };
    let mut cidrs = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let path = format!("allow[{index}]");
        match item.as_str().map(Cidr::parse) {
            Some(Ok(cidr)) => cidrs.push(cidr),
            Some(Err(error)) => findings.fault(&path, error),
            None => findings.fault(
                &path,
                format_args!(
                    "an address or prefix as text is expected, not {}",
                    show(item)
                ),
            ),
        }
    }
    AllowList::new(&cidrs)
}

fn actions(root: &mut Section<'_>, findings: &mut Findings) -> Actions {
    let mut section = root.section("actions", findings);
    let actions = Actions {
        suspicious: section
            .choice("suspicious", &ACTIONS, findings)
            .unwrap_or(Action::Tag),
        malicious: section
            .choice("malicious", &ACTIONS, findings)
            .unwrap_or(Action::Deny),
    };
    section.close(findings);
    actions
}

fn cache_entries(root: &mut Section<'_>, findings: &mut Findings) -> usize {
    let entries = root.number("cache_entries", 64, 1 << 22, findings);
    let entries = entries.unwrap_or(65_536).next_power_of_two();
    usize::try_from(entries).unwrap_or(65_536)
}

fn limits(root: &mut Section<'_>, findings: &mut Findings) -> Limits {
    let mut section = root.section("limits", findings);
    let mut limit = |key, least, default| {
        let limit = section.number(key, least, 1_000_000, findings);
        usize::try_from(limit.unwrap_or(default)).unwrap_or(usize::MAX)
    };
    let limits = Limits {
        lookups: limit("lookups", 1, 1_024),
        held: limit("held", 0, 4_096),
        logged: u32::try_from(limit("logged", 0, 100)).unwrap_or(u32::MAX),
    };
    section.close(findings);
    limits
}

fn deny(root: &mut Section<'_>, findings: &mut Findings) -> Deny {
    let mut section = root.section("deny", findings);
    let status = section.number("status", 400, 499, findings);
    let mut template = |key: &'static str| {
        let text = section.text(key, findings)?;
        if text.len() > MAX_TEMPLATE_BYTES {
            findings.fault(
                &section.path(key),
                format_args!("a template has at most {MAX_TEMPLATE_BYTES} bytes"),
            );
        }
        Some(text.to_owned())
    };
    let templates = Templates {
        html: template("html"),
        json: template("json"),
        text: template("text"),
    };
    section.close(findings);
    Deny {
        status: status.and_then(|s| u16::try_from(s).ok()).unwrap_or(403),
        templates,
    }
}

fn ready_path(root: &mut Section<'_>, findings: &mut Findings) -> Option<String> {
    let path = root
        .text("ready_path", findings)
        .unwrap_or("/.portcullis/ready");
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#');
    let fits = path.is_empty() || path.starts_with('/') && path.bytes().all(plain);
    if !fits {
        findings.fault(
            "ready_path",
            format_args!("a path such as /.portcullis/ready is expected, not {path:?}"),
        );
    }
    (!path.is_empty()).then(|| path.to_owned())
}

fn routes(
    root: &mut Section<'_>,
    base: Policy,
    exempt_paths: &mut Vec<ExemptPaths>,
    findings: &mut Findings,
) -> Vec<Route> {
    let Some(value) = root.value("routes") else {
        return Vec::new();
    };
    let Some(object) = value.as_object() else {
        findings.fault(
            "routes",
            format_args!(
                "an object of route names or globs is expected, not {}",
                show(value)
            ),
        );
        return Vec::new();
    };
    let mut routes: Vec<Route> = Vec::with_capacity(object.len());
    for (pattern, value) in object {
        let mut section = Section::of(format!("routes.{pattern:?}"), value, findings);
        let mut policy = policy(&mut section, base, findings);
        if let Some(paths) = exempt(&mut section, findings) {
            policy.exempt = ExemptAt(exempt_paths.len());
            exempt_paths.push(paths);
        }
        section.close(findings);
        let pattern = pattern.clone();
        let before = routes.partition_point(|other| is_tried_before(&other.pattern, &pattern));
        routes.insert(before, Route { pattern, policy });
    }
    routes
}

/// An object has no order: the more literal characters a pattern has, the earlier it is tried, and a name
/// without a star before a glob of the same length.
fn is_tried_before(one: &str, other: &str) -> bool {
    let order = |pattern: &str| {
        let literal = pattern.chars().filter(|c| *c != '*').count();
        (std::cmp::Reverse(literal), pattern.contains('*'))
    };
    (order(one), one) < (order(other), other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Config {
        Checked::parse(json.as_bytes()).unwrap().config
    }

    fn faults(json: &str) -> Vec<String> {
        match Checked::parse(json.as_bytes()) {
            Err(ConfigError::Faults(faults)) => faults,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn paths_are_exempt_as_shipped_or_as_written_for_all_or_for_a_route() {
        let json = r#"{"exempt_paths":["/hook"],
            "routes":{"shop":{"exempt_paths":[]},"blog":{"hold_ms":5}}}"#;
        let (shipped, config) = (parse("{}"), parse(json));
        let exempt = |config: &Config, route| config.exempt(config.policy(route)).cloned();
        assert_eq!(exempt(&shipped, None), Some(ExemptPaths::shipped()));
        let hook = ExemptPaths::new(vec!["/hook".to_owned()]).unwrap();
        assert_eq!(exempt(&config, None), Some(hook.clone()));
        assert_eq!(exempt(&config, Some("blog")), Some(hook));
        let none = ExemptPaths::new(Vec::new()).unwrap();
        assert_eq!(exempt(&config, Some("shop")), Some(none));
    }

    #[test]
    fn a_path_that_would_exempt_everything_is_refused_with_its_place() {
        for (json, place) in [
            (r#"{"exempt_paths":["/hook","/"]}"#, "exempt_paths[1]: "),
            (
                r#"{"exempt_paths":"/hook"}"#,
                "exempt_paths: a list of paths",
            ),
            (r#"{"exempt_paths":[7]}"#, "exempt_paths: a list of paths"),
            (
                r#"{"routes":{"a":{"exempt_paths":["/a/../b"]}}}"#,
                "routes.\"a\".exempt_paths[0]: ",
            ),
        ] {
            let faults = faults(json);
            assert!(
                faults.len() == 1 && faults[0].starts_with(place),
                "{faults:?}"
            );
        }
    }

    #[test]
    fn an_empty_configuration_has_the_documented_defaults() {
        let config = parse("{}");
        assert_eq!(config.base.mode, Mode::Monitor);
        assert_eq!(config.base.failure, Failure::Open);
        assert_eq!(config.base.unknown, Unknown::Pass);
        assert_eq!(config.sidecar.cluster, "portcullis");
        assert_eq!(config.sidecar.poll_cluster, "portcullis_poll");
        assert_eq!(config.sidecar.authority, "portcullis");
        assert_eq!(config.client_ip, ClientIp::SourceAddress);
        assert_eq!(config.strip, Strip::Envoy);
        assert_eq!(config.ipv6_prefix, 64);
        assert_eq!(config.actions.suspicious, Action::Tag);
        assert_eq!(config.actions.malicious, Action::Deny);
        assert_eq!(config.cache_entries, 65_536);
        assert_eq!(config.limits.lookups, 1_024);
        assert_eq!(config.limits.held, 4_096);
        assert_eq!(config.limits.logged, 100);
        assert_eq!(config.deny.status, 403);
        assert_eq!(config.ready_path.as_deref(), Some("/.portcullis/ready"));
        assert!(config.routes.is_empty());
        assert_eq!(parse(""), config);
    }

    #[test]
    fn a_struct_and_a_text_of_the_same_are_the_same() {
        let object = r#"{"mode":"enforce","hold_ms":25.0,"unknown":"hold"}"#;
        let text = serde_json::to_string(object).unwrap();
        assert_eq!(parse(object), parse(&text));
        let base = parse(object).base;
        assert_eq!((base.unknown, base.hold_ms), (Unknown::Hold, 25));
    }

    #[test]
    fn each_bad_value_is_named_with_its_path() {
        for (json, expected) in [
            (
                r#"{"mode":"block"}"#,
                r#"mode: "block" is not one of monitor, enforce, off"#,
            ),
            (r#"{"unknown":1}"#, "unknown: 1 is not one of pass, hold"),
            (
                r#"{"hold_ms":0}"#,
                "hold_ms: a whole number from 1 to 5000 is expected, not 0",
            ),
            (
                r#"{"hold_ms":1.5}"#,
                "hold_ms: a whole number from 1 to 5000 is expected, not 1.5",
            ),
            (
                r#"{"failure":"ajar"}"#,
                r#"failure: "ajar" is not one of open, closed"#,
            ),
            (
                r#"{"client_ip":"x-forwarded-for"}"#,
                r#"client_ip: "x-forwarded-for" is not one of source.address, x-envoy-external-address"#,
            ),
            (
                r#"{"strip":"none"}"#,
                r#"strip: "none" is not one of envoy, filter"#,
            ),
            (
                r#"{"ipv6_prefix":16}"#,
                "ipv6_prefix: a whole number from 32 to 128 is expected, not 16",
            ),
            (
                r#"{"allow":"10.0.0.0/8"}"#,
                r#"allow: a list of addresses and prefixes is expected, not "10.0.0.0/8""#,
            ),
            (
                r#"{"allow":["10.1.0.0/8"]}"#,
                r#"allow[0]: 10.1.0.0/8 has bits set after its prefix: the network is 10.0.0.0/8"#,
            ),
            (
                r#"{"allow":["::1",5]}"#,
                "allow[1]: an address or prefix as text is expected, not 5",
            ),
            (
                r#"{"actions":{"malicious":"challenge"}}"#,
                r#"actions.malicious: "challenge" is not one of allow, tag, throttle, deny"#,
            ),
            (
                r#"{"actions":"deny"}"#,
                r#"actions: an object is expected, not "deny""#,
            ),
            (
                r#"{"upstream_headers":"all"}"#,
                r#"upstream_headers: "all" is not one of flagged, none"#,
            ),
            (
                r#"{"cache_entries":1}"#,
                "cache_entries: a whole number from 64 to 4194304 is expected, not 1",
            ),
            (
                r#"{"limits":{"lookups":0}}"#,
                "limits.lookups: a whole number from 1 to 1000000 is expected, not 0",
            ),
            (
                r#"{"deny":{"status":500}}"#,
                "deny.status: a whole number from 400 to 499 is expected, not 500",
            ),
            (
                r#"{"deny":{"html":true}}"#,
                "deny.html: a text is expected, not true",
            ),
            (
                r#"{"ready_path":"ready"}"#,
                r#"ready_path: a path such as /.portcullis/ready is expected, not "ready""#,
            ),
            (
                r#"{"sidecar":{"cluster":""}}"#,
                r#"sidecar.cluster: 1 to 256 visible characters without blanks are expected, not """#,
            ),
            (
                r#"{"routes":{"checkout*":{"mode":"on"}}}"#,
                r#"routes."checkout*".mode: "on" is not one of monitor, enforce, off"#,
            ),
            (
                r#"{"routes":[]}"#,
                "routes: an object of route names or globs is expected, not []",
            ),
            (
                r#"{"strict":"yes"}"#,
                r#"strict: true or false is expected, not "yes""#,
            ),
        ] {
            assert_eq!(faults(json), [expected], "{json}");
        }
    }

    #[test]
    fn all_faults_are_told_at_once() {
        assert_eq!(faults(r#"{"mode":"x","strip":"y"}"#).len(), 2);
        let error = Checked::parse(br#"{"mode":"x","strip":"y"}"#).unwrap_err();
        assert!(error.to_string().contains("; strip:"));
        let error = |json: &str| Checked::parse(json.as_bytes()).unwrap_err().to_string();
        assert!(error("{").starts_with("the configuration is neither a Struct nor JSON: "));
        assert_eq!(error("[1]"), "the configuration must be an object, not [1]");
    }

    #[test]
    fn an_unknown_key_warns_and_fails_only_when_strict() {
        let checked = Checked::parse(br#"{"limits":{"held":5,"heldd":6}}"#).unwrap();
        assert_eq!(checked.config.limits.held, 5);
        assert_eq!(
            checked.warnings,
            ["limits.heldd: unknown key; known here: lookups, held, logged"]
        );
        let faults = faults(r#"{"strict":true,"limits":{"heldd":6}}"#);
        assert_eq!(
            faults,
            ["limits.heldd: unknown key; known here: lookups, held, logged"]
        );
    }

    #[test]
    fn off_may_be_written_without_quotes_in_yaml() {
        assert_eq!(parse(r#"{"mode":false}"#).base.mode, Mode::Off);
        assert_eq!(
            faults(r#"{"mode":true,"unknown":false}"#),
            [
                "mode: true is not one of monitor, enforce, off",
                "unknown: false is not one of pass, hold"
            ]
        );
    }

    #[test]
    fn routes_inherit_and_the_more_specific_pattern_is_tried_first() {
        let config = parse(
            r#"{"mode":"enforce","hold_ms":30,"routes":{
                "*":{"mode":"off"}, "checkout*":{"unknown":"hold"},
                "checkout-eu":{"unknown":"hold","hold_ms":5,"failure":"closed"}}}"#,
        );
        let us = config.policy(Some("checkout-us"));
        assert_eq!((us.unknown, us.hold_ms), (Unknown::Hold, 30));
        assert_eq!(us.mode, Mode::Enforce);
        let eu = config.policy(Some("checkout-eu"));
        assert_eq!((eu.unknown, eu.hold_ms), (Unknown::Hold, 5));
        assert_eq!(eu.failure, Failure::Closed);
        assert_eq!(config.policy(Some("other")).mode, Mode::Off);
        assert_eq!(config.policy(None).mode, Mode::Enforce);
    }

    #[test]
    fn the_cache_is_rounded_up_to_a_power_of_two() {
        assert_eq!(parse(r#"{"cache_entries":1000}"#).cache_entries, 1024);
    }

    proptest::proptest! {
        #[test]
        fn no_configuration_traps(text in ".{0,200}") {
            let _checked = Checked::parse(text.as_bytes());
        }
    }
}
