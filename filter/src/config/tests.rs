//! What a configuration may say, and what is said of one that may not.

use super::validated::ConfigError;
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
