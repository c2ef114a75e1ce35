//! Dangerous settings of a proxy, out of what its admin shows.

use std::net::IpAddr;

use reputation::special;
use serde_json::Value;

use super::dump::{Dump, all_of, settings, text};
use crate::doctor::{Check, Finding};

/// Every check here.
pub const ALL: [Check; 9] = [
    Check::SettingsAdmin,
    Check::SettingsHeaders,
    Check::SettingsClients,
    Check::SettingsFailure,
    Check::SettingsLimits,
    Check::SettingsReplies,
    Check::SettingsCors,
    Check::SettingsLog,
    Check::SettingsSecrets,
];

/// A token is rarely shorter, and rarely has fewer digits; names have few.
const SECRETLIKE: usize = 24;
const DIGITS: usize = 4;
const SECRET_NAMES: [&str; 6] = [
    "secret",
    "password",
    "token",
    "api_key",
    "apikey",
    "authorization",
];

pub fn findings(dump: &Dump) -> Vec<Finding> {
    let mut findings = vec![admin(dump)];
    if dump.edges.is_empty() && dump.plugins.is_empty() {
        let rest = ALL
            .into_iter()
            .filter(|check| *check != Check::SettingsAdmin);
        findings
            .extend(rest.map(|check| Finding::skipped(check, "no listener here has the plugin")));
        return findings;
    }
    findings.extend([
        headers(dump),
        clients(dump),
        failure(dump),
        limits(dump),
        replies(dump),
        cors(dump),
        log(dump),
        secrets(dump),
    ]);
    findings
}

fn admin(dump: &Dump) -> Finding {
    let check = Check::SettingsAdmin;
    let remedy =
        "bind Envoy's admin to 127.0.0.1 or a Unix socket: whoever reaches it controls the proxy";
    let Some(address) = &dump.admin else {
        return Finding::ok(check, "the admin listens on no port");
    };
    match address.parse::<IpAddr>() {
        Ok(ip) if ip.is_loopback() => Finding::ok(check, format!("the admin listens on {address}")),
        Ok(ip) if special::is_public(ip.into()) || ip.is_unspecified() => {
            Finding::failing(check, format!("the admin listens on {address}"), remedy)
        }
        _ => Finding::attention(check, format!("the admin listens on {address}"), remedy),
    }
}

/// Forged `x-portcullis-*` must be gone before routes are chosen.
fn headers(dump: &Dump) -> Finding {
    let check = Check::SettingsHeaders;
    let stripped_by_plugin = dump
        .plugins
        .iter()
        .any(|plugin| text(&settings(plugin), "strip") == "filter");
    let without = dump.edges.iter().filter(|edge| {
        let early = edge.get("early_header_mutation_extensions");
        !early.is_some_and(|early| early.to_string().contains("x-portcullis"))
    });
    match (without.count(), stripped_by_plugin) {
        (0, _) => Finding::ok(
            check,
            "x-portcullis-* from outside is removed before anything reads it",
        ),
        (_, true) => Finding::ok(
            check,
            "the plugin removes x-portcullis-* from outside (strip: filter)",
        ),
        (_, false) => Finding::failing(
            check,
            "x-portcullis-* from outside is not removed: clients can forge it",
            "take early_header_mutation_extensions over from envoy/envoy.yaml, or set strip: filter",
        ),
    }
}

fn clients(dump: &Dump) -> Finding {
    let check = Check::SettingsClients;
    let detects = |edge: &Value| {
        let extensions = edge.get("original_ip_detection_extensions");
        extensions
            .and_then(Value::as_array)
            .is_some_and(|all| !all.is_empty())
    };
    let remote = |edge: &Value| edge.get("use_remote_address") == Some(&Value::Bool(true));
    let hops = |edge: &Value| {
        edge.get("xff_num_trusted_hops")
            .and_then(Value::as_u64)
            .unwrap_or(0)
    };
    if dump
        .edges
        .iter()
        .any(|edge| !remote(edge) && !detects(edge))
    {
        return Finding::failing(
            check,
            "use_remote_address is off and nothing detects the client: x-forwarded-for is believed as sent",
            "set use_remote_address: true, or trust proxies by address (xff_trusted_cidrs)",
        );
    }
    let words = dump
        .edges
        .iter()
        .map(|edge| match (detects(edge), hops(edge)) {
            (true, _) => "an extension detects the client".to_owned(),
            (false, 0) => "the peer of the connection is the client, nobody is trusted".to_owned(),
            (false, hops) => format!("{hops} trusted hops"),
        });
    Finding::ok(check, words.collect::<Vec<_>>().join("; "))
}

fn failure(dump: &Dump) -> Finding {
    let check = Check::SettingsFailure;
    let policies = dump.plugins.iter().map(|plugin| {
        let policy = plugin
            .pointer("/config/failure_policy")
            .and_then(Value::as_str);
        let open = plugin.pointer("/config/fail_open") == Some(&Value::Bool(true));
        match policy {
            Some(policy) => policy.to_owned(),
            None if open => "FAIL_OPEN".to_owned(),
            None => "FAIL_CLOSED".to_owned(),
        }
    });
    let policies: Vec<_> = policies.collect();
    let remedy = "set failure_policy: FAIL_RELOAD: see docs/failure-policy.md";
    let has = |name: &str| policies.iter().any(|policy| policy == name);
    if has("FAIL_OPEN") {
        let seen = "FAIL_OPEN: one trap of the plugin bypasses it for good, silently";
        Finding::attention(check, seen, remedy)
    } else if has("FAIL_CLOSED") || has("UNSPECIFIED") {
        let seen = "FAIL_CLOSED: one trap of the plugin refuses everybody until Envoy restarts";
        Finding::attention(check, seen, remedy)
    } else {
        Finding::ok(check, "a plugin that died is replaced (FAIL_RELOAD)")
    }
}

fn limits(dump: &Dump) -> Finding {
    let check = Check::SettingsLimits;
    let limits = dump.limits();
    let by_whole_address = limits.iter().filter(|limit| goes_by_whole_addresses(limit));
    let named = |limits: Vec<&Value>| {
        let names = limits.into_iter().map(|limit| text(limit, "stat_prefix"));
        names.collect::<Vec<_>>().join(", ")
    };
    let faulty: Vec<_> = by_whole_address.collect();
    if !faulty.is_empty() {
        let seen = format!(
            "{} goes by the whole IPv6 address: who rotates within a /64 is never limited",
            named(faulty)
        );
        let remedy =
            "use masked_remote_address with v6_prefix_mask_len: 64, as envoy/envoy.yaml does";
        return Finding::attention(check, seen, remedy);
    }
    let (enforced, shadow): (Vec<_>, Vec<_>) = limits.iter().partition(|limit| is_enforced(limit));
    let loose = shadow
        .iter()
        .filter(|limit| text(limit, "stat_prefix") != "everyone");
    let loose: Vec<_> = loose.copied().collect();
    if !loose.is_empty() {
        let seen = format!("{} counts only and refuses nobody", named(loose));
        return Finding::attention(check, seen, "set filter_enabled and filter_enforced to 100");
    }
    let seen = format!("enforced: {}", named(enforced));
    if shadow.is_empty() {
        return Finding::ok(check, seen);
    }
    Finding::note(check, format!("{seen}; in shadow: {}", named(shadow)))
        .hint("choose figures by its counter rate_limited, then enforce it")
}

fn replies(dump: &Dump) -> Finding {
    let check = Check::SettingsReplies;
    let managers = dump.edges.iter().chain(&dump.apis);
    let without = managers.filter(|manager| manager.get("local_reply_config").is_none());
    if without.count() == 0 {
        return Finding::ok(check, "what Envoy answers itself is a problem document");
    }
    let seen = "what Envoy answers itself (503, 429, 404) shows its internals to clients";
    Finding::attention(
        check,
        seen,
        "take local_reply_config over from envoy/envoy.yaml",
    )
}

fn cors(dump: &Dump) -> Finding {
    let check = Check::SettingsCors;
    if dump.apis.is_empty() {
        return Finding::skipped(check, "no listener here offers the reputation API");
    }
    let mut policies = Vec::new();
    dump.apis
        .iter()
        .for_each(|api| all_of(api, "CorsPolicy", &mut policies));
    let origins = policies
        .iter()
        .filter_map(|policy| policy.get("allow_origin_string_match")?.as_array());
    let origins: Vec<_> = origins.flatten().collect();
    let is_exact = |origin: &&Value| !matches!(text(origin, "exact"), "" | "*" | "null");
    if origins.iter().all(is_exact) {
        let names: Vec<_> = origins.iter().map(|origin| text(origin, "exact")).collect();
        let seen = if names.is_empty() {
            "no origin".to_owned()
        } else {
            names.join(", ")
        };
        return Finding::ok(
            check,
            format!("web pages of these origins may read the reputation API: {seen}"),
        );
    }
    Finding::attention(
        check,
        "origins of the reputation API are matched by pattern: a look-alike may fit",
        "name each origin exactly: allow_origin_string_match: [{exact: \"https://console.example.com\"}]",
    )
}

fn log(dump: &Dump) -> Finding {
    let check = Check::SettingsLog;
    let tells = |edge: &Value| {
        edge.get("access_log")
            .is_some_and(|log| log.to_string().contains("json_format"))
    };
    if dump.edges.iter().all(tells) {
        return Finding::ok(check, "the access log is JSON");
    }
    Finding::note(
        check,
        "an edge has no access log in JSON: what would be refused cannot be looked up",
    )
    .hint("take access_log over from envoy/envoy.yaml")
}

/// The plugin needs no secret: whatever looks like one is in the wrong place.
fn secrets(dump: &Dump) -> Finding {
    let check = Check::SettingsSecrets;
    let mut places = Vec::new();
    for plugin in &dump.plugins {
        suspects(&settings(plugin), "", &mut places);
    }
    if places.is_empty() {
        return Finding::ok(
            check,
            "nothing in the plugin's configuration looks like a secret",
        );
    }
    let seen = format!(
        "this looks like a secret in the plugin's configuration: {}",
        places.join(", ")
    );
    Finding::failing(
        check,
        seen,
        "remove it and renew the secret: the plugin needs none, the sidecar holds them",
    )
}

/// The places of what looks like a secret; never the values.
fn suspects(value: &Value, place: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                suspects(
                    member,
                    format!("{place}.{key}").trim_start_matches('.'),
                    found,
                );
            }
        }
        Value::Array(items) => items.iter().for_each(|item| suspects(item, place, found)),
        Value::String(text) => {
            let name = place.to_ascii_lowercase();
            let named = SECRET_NAMES.iter().any(|word| name.contains(word)) && !text.is_empty();
            if named || is_secretlike(text) {
                found.push(place.to_owned());
            }
        }
        _ => {}
    }
}

fn is_secretlike(text: &str) -> bool {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+' | b'=');
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    text.len() >= SECRETLIKE && text.bytes().all(plain) && (DIGITS..text.len()).contains(&digits)
}

/// Whether each address has a bucket of its own. Inside one network that is named (`::/64`, of IPv4
/// addresses that come as IPv6) that is as it should be.
fn goes_by_whole_addresses(limit: &Value) -> bool {
    let entries = |descriptor: &Value| descriptor.get("entries")?.as_array().cloned();
    let descriptors = limit.get("descriptors").and_then(Value::as_array);
    let mut descriptors = descriptors.into_iter().flatten().filter_map(entries);
    let has = |entries: &[Value], key: &str, named: bool| {
        let mut fitting = entries.iter().filter(|entry| text(entry, "key") == key);
        fitting.any(|entry| !named || !text(entry, "value").is_empty())
    };
    descriptors.any(|entries| {
        has(&entries, "remote_address", false) && !has(&entries, "masked_remote_address", true)
    })
}

fn is_enforced(limit: &Value) -> bool {
    let share = |key| limit.pointer(&format!("/{key}/default_value/numerator"));
    let positive = |key| {
        share(key)
            .and_then(Value::as_u64)
            .is_some_and(|share| share > 0)
    };
    positive("filter_enabled") && positive("filter_enforced")
}

#[cfg(test)]
mod tests;
