//! The configurations themselves.

use kit::config::{EdgeConfig, differences};

#[test]
fn the_demo_differs_from_what_is_shipped_by_enforcing_and_by_trusting_loopback() {
    let shipped = EdgeConfig::shipped().unwrap();
    let mut demo = shipped.clone();
    demo.demo_patch().unwrap();
    let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
    let expected = [
        format!("{manager}/original_ip_detection_extensions"),
        format!("{manager}/use_remote_address"),
    ];
    assert_eq!(differences(shipped.value(), demo.value()), expected);
    let plugins = (shipped.plugin().value(), demo.plugin().value());
    let mode = "/resources/0/typed_config/config/configuration/value/mode";
    assert_eq!(differences(plugins.0, plugins.1), [mode]);
    let trusted = &demo
        .value()
        .pointer(&format!("{manager}/original_ip_detection_extensions"));
    let trusted = trusted.unwrap().to_string();
    assert!(
        trusted.contains("127.0.0.0") && trusted.contains("::1"),
        "{trusted}"
    );
}

#[test]
fn as_shipped_nothing_is_refused_and_nobody_speaks_for_a_client() {
    let mut shipped = EdgeConfig::shipped().unwrap();
    assert_eq!(shipped.plugin_settings().unwrap()["mode"], "monitor");
    let manager = shipped.hcm().unwrap();
    assert_eq!(manager["use_remote_address"], true);
    assert_eq!(manager["xff_num_trusted_hops"], 0);
    assert_eq!(
        manager["original_ip_detection_extensions"],
        serde_json::Value::Null
    );
}

#[test]
fn the_documented_listeners_are_those_that_are_shipped() {
    let shipped = EdgeConfig::shipped().unwrap();
    let listeners = shipped.value()["static_resources"]["listeners"].as_array();
    let listed = listeners.unwrap().iter().map(|listener| {
        let socket = &listener["address"]["socket_address"];
        let address = socket["address"].as_str().unwrap();
        let name = listener["name"].as_str().unwrap();
        format!("| `{name}` | `{address}:{}` |", socket["port_value"])
    });
    let page = std::fs::read_to_string(kit::parts::in_checkout("docs/edge.md")).unwrap();
    let rows = page
        .lines()
        .filter(|line| line.starts_with("| `") && line.contains(":100"));
    let documented =
        rows.map(|row| row.split(" | ").take(2).collect::<Vec<_>>().join(" | ") + " |");
    assert_eq!(documented.collect::<Vec<_>>(), listed.collect::<Vec<_>>());
}
