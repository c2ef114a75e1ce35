//! From JSON to a checked configuration. A bad value refuses the whole with its path; an unknown key
//! warns, so that an older filter survives a newer configuration, unless `strict` is set.

use reputation::json::{self, JsonError};
use reputation::{Action, Cidr};
use serde_json::{Map, Value};
use thiserror::Error;

use super::raw::{Findings, Section, show};
use super::wire;
use super::{Actions, ClientIp, Config, Deny, Limits, Sidecar, Strip, UpstreamHeaders, policy};
use crate::client::AllowList;
use crate::exempt::ExemptPaths;
use crate::refuse::Templates;

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
    let exempt = policy::exempt(root, findings).unwrap_or_else(ExemptPaths::shipped);
    let mut exempt_paths = vec![exempt];
    let base = policy::policy(root, policy::DEFAULT_POLICY, findings);
    let routes = policy::routes(root, base, &mut exempt_paths, findings);
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
