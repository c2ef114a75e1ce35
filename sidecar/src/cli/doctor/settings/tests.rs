//! Each dangerous setting, one at a time, in a proxy that is otherwise as it is shipped.

use serde_json::json;

use super::*;
use crate::doctor::State;

fn limit(prefix: &str, share: u32) -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
        "stat_prefix": prefix,
        "filter_enabled": {"default_value": {"numerator": 100}},
        "filter_enforced": {"default_value": {"numerator": share}},
        "descriptors": [{"entries": [{"key": "masked_remote_address"}]}],
    })
}

fn manager(filters: &Value, routes: &Value) -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "use_remote_address": true,
        "early_header_mutation_extensions": [{"typed_config": {"mutations": [
            {"remove_on_match": {"key_matcher": {"prefix": "x-portcullis"}}}]}}],
        "local_reply_config": {"mappers": []},
        "access_log": [{"typed_config": {"log_format": {"json_format": {"time": "%START_TIME%"}}}}],
        "http_filters": filters,
        "route_config": routes,
    })
}

/// As shipped, shortened.
fn shipped() -> Value {
    let edge = manager(
        &json!([{"name": "portcullis", "config_discovery": {}}, {"typed_config": limit("throttled", 100)}]),
        &json!({}),
    );
    let api = manager(
        &json!([{"typed_config": limit("reputation_api", 100)}]),
        &json!({
            "route": {"prefix_rewrite": "/v1/reputation/"},
            "cors": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy",
                "allow_origin_string_match": [{"exact": "https://console.example.com"}],
            },
        }),
    );
    let plugin = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": {
            "name": "portcullis",
            "failure_policy": "FAIL_RELOAD",
            "configuration": {"value": {"mode": "monitor", "sidecar": {"cluster": "portcullis"}}},
        },
    });
    json!({"configs": [
        {"@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump",
         "bootstrap": {"admin": {"address": {"socket_address": {"address": "127.0.0.1"}}}}},
        {"@type": "type.googleapis.com/envoy.admin.v3.EcdsConfigDump", "ecds_filters": [plugin]},
        {"@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump", "static_listeners": [edge, api]},
    ]})
}

/// The checks that are not fine after one change.
fn not_ok(place: &str, value: Value) -> Vec<(Check, State)> {
    let mut dump = shipped();
    match dump.pointer_mut(place) {
        Some(found) => *found = value,
        None => {
            let (parent, key) = place.rsplit_once('/').unwrap();
            dump.pointer_mut(parent).unwrap()[key] = value;
        }
    }
    let dump = Dump::parse(dump.to_string().as_bytes()).unwrap();
    let findings = findings(&dump).into_iter();
    let states = findings.map(|finding| (finding.check, finding.state));
    states.filter(|(_, state)| *state != State::Ok).collect()
}

const EDGE: &str = "/configs/2/static_listeners/0";
const API: &str = "/configs/2/static_listeners/1";
const PLUGIN: &str = "/configs/1/ecds_filters/0/config";

#[test]
fn what_is_shipped_is_fine() {
    assert_eq!(not_ok("/unrelated", json!(1)), []);
}

#[test]
fn each_dangerous_setting_turns_its_own_check() {
    let (attention, failing) = (State::Attention, State::Failing);
    let admin = "/configs/0/bootstrap/admin/address/socket_address/address";
    let cases = [
        (
            admin.to_owned(),
            json!("0.0.0.0"),
            Check::SettingsAdmin,
            failing,
        ),
        (
            admin.to_owned(),
            json!("10.0.0.7"),
            Check::SettingsAdmin,
            attention,
        ),
        (
            format!("{EDGE}/early_header_mutation_extensions"),
            json!([]),
            Check::SettingsHeaders,
            failing,
        ),
        (
            format!("{EDGE}/use_remote_address"),
            json!(false),
            Check::SettingsClients,
            failing,
        ),
        (
            format!("{PLUGIN}/failure_policy"),
            json!("FAIL_OPEN"),
            Check::SettingsFailure,
            attention,
        ),
        (
            format!("{PLUGIN}/failure_policy"),
            json!("FAIL_CLOSED"),
            Check::SettingsFailure,
            attention,
        ),
        (
            format!("{EDGE}/http_filters/1/typed_config"),
            limit("throttled", 0),
            Check::SettingsLimits,
            attention,
        ),
        (
            format!("{EDGE}/http_filters/1/typed_config"),
            limit("everyone", 0),
            Check::SettingsLimits,
            State::Note,
        ),
        (
            format!("{EDGE}/http_filters/1/typed_config/descriptors"),
            json!([{"entries": [{"key": "remote_address"}]}]),
            Check::SettingsLimits,
            attention,
        ),
        (
            format!("{EDGE}/access_log"),
            json!([]),
            Check::SettingsLog,
            State::Note,
        ),
        (
            format!("{API}/route_config/cors/allow_origin_string_match"),
            json!([{"prefix": "https://console.example.com"}]),
            Check::SettingsCors,
            attention,
        ),
        (
            format!("{API}/route_config/cors/allow_origin_string_match"),
            json!([{"exact": "*"}]),
            Check::SettingsCors,
            attention,
        ),
        (
            format!("{PLUGIN}/configuration/value/sidecar/authority"),
            json!("5ecretlyHidden0123456789abc"),
            Check::SettingsSecrets,
            failing,
        ),
        (
            format!("{PLUGIN}/configuration/value/api_key"),
            json!("short"),
            Check::SettingsSecrets,
            failing,
        ),
    ];
    for (place, value, check, state) in cases {
        let shown = value.to_string();
        assert_eq!(not_ok(&place, value), [(check, state)], "{place}: {shown}");
    }
}

#[test]
fn answers_with_internals_are_noticed() {
    let mut dump = shipped();
    let edge = dump.pointer_mut(EDGE).unwrap().as_object_mut().unwrap();
    edge.remove("local_reply_config");
    let dump = Dump::parse(dump.to_string().as_bytes()).unwrap();
    assert_eq!(replies(&dump).state, State::Attention);
}

#[test]
fn a_plugin_that_strips_by_itself_and_an_extension_that_detects_clients_are_fine() {
    let place = format!("{PLUGIN}/configuration/value");
    assert_eq!(not_ok(&place, json!("{\"strip\": \"filter\"}")), []);
    let place = format!("{EDGE}/original_ip_detection_extensions");
    assert_eq!(not_ok(&place, json!([{"name": "xff"}])), []);
}

#[test]
fn whole_addresses_inside_a_named_network_are_fine() {
    let place = format!("{EDGE}/http_filters/1/typed_config/descriptors");
    let masked = json!({"key": "masked_remote_address"});
    let mapped = json!({"key": "masked_remote_address", "value": "::/64"});
    let whole = json!({"key": "remote_address"});
    assert_eq!(not_ok(&place, json!([{"entries": [mapped, whole]}])), []);
    let rotating = not_ok(&place, json!([{"entries": [masked, whole]}]));
    assert_eq!(rotating, [(Check::SettingsLimits, State::Attention)]);
}

#[test]
fn a_proxy_without_the_plugin_is_looked_at_for_its_admin_only() {
    let dump = json!({"configs": []});
    let dump = Dump::parse(dump.to_string().as_bytes()).unwrap();
    let states: Vec<_> = findings(&dump)
        .into_iter()
        .map(|finding| finding.state)
        .collect();
    assert_eq!(states.len(), ALL.len());
    assert_eq!(
        states
            .iter()
            .filter(|state| **state == State::Skipped)
            .count(),
        ALL.len() - 1
    );
    assert!(Dump::parse(b"<html>").is_none());
}

#[test]
fn a_suspected_secret_is_not_shown() {
    let value = "5ecretlyHidden0123456789abc";
    let mut places = Vec::new();
    suspects(
        &json!({"a": {"b": value}, "c": ["10.0.0.0/8"], "d": "x".repeat(99)}),
        "",
        &mut places,
    );
    assert_eq!(places, ["a.b"]);
}
