//! What `envoy/compose/settings` makes of the shipped files, and what it refuses. `cargo xtask compose` runs it in its
//! container; here it runs as it is.

use std::path::Path;
use std::process::{Command, Output};

use kit::config::{differences, read};
use kit::parts;
use serde_json::Value;
use tempfile::TempDir;

/// A copy of what is shipped, and the folders that are written.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shipped = folder.path().join("shipped");
        for name in ["shipped/monitoring", "edge", "scrape"] {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        for name in [
            "envoy.yaml",
            "portcullis.yaml",
            "monitoring/prometheus.yaml",
            "monitoring/rules.yaml",
        ] {
            let from = parts::in_checkout("envoy").join(name);
            std::fs::copy(from, shipped.join(name)).unwrap();
        }
        let place = Self { folder };
        if !kit::envoy::knows_masks(&parts::envoy().unwrap()).unwrap() {
            place.leave_out("(24)%");
        }
        place
    }

    /// What envoy.yaml says an older Envoy must not be given.
    fn leave_out(&self, what: &str) {
        let path = self.folder.path().join("shipped/envoy.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().filter(|line| !line.contains(what));
        std::fs::write(path, lines.collect::<Vec<_>>().join("\n")).unwrap();
    }

    fn change(&self, file: &str, from: &str, to: &str) {
        let path = self.folder.path().join("shipped").join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from} is not in {file}");
        std::fs::write(path, text.replace(from, to)).unwrap();
    }

    fn run(&self, environment: &[(&str, &str)]) -> Output {
        let path = |name: &str| self.folder.path().join(name);
        Command::new(parts::in_checkout("envoy/compose/settings"))
            .args([path("shipped"), path("edge"), path("scrape")])
            .env("ENVOY", parts::envoy().unwrap())
            .env("PORTCULLIS_WASM", parts::wasm().unwrap())
            .envs(environment.iter().copied())
            .output()
            .unwrap()
    }

    /// Runs it; all must be well.
    fn make(&self, environment: &[(&str, &str)]) {
        let output = self.run(environment);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{told}");
    }

    /// Runs it; says what it complains of.
    fn refusal(&self, environment: &[(&str, &str)]) -> String {
        let output = self.run(environment);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{environment:?}: {told}");
        told
    }

    fn made(&self, file: &str) -> Value {
        read(&self.folder.path().join(file)).unwrap()
    }
}

/// The places at which a made file differs from the shipped one.
fn changed(place: &Place, made: &str, shipped: &str) -> Vec<String> {
    differences(
        &place.made(&format!("shipped/{shipped}")),
        &place.made(made),
    )
}

fn clusters() -> Vec<String> {
    let endpoint = "load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address";
    let shipped = read(&parts::in_checkout("envoy/envoy.yaml")).unwrap();
    let clusters = shipped["static_resources"]["clusters"].as_array().unwrap();
    let others = clusters
        .iter()
        .enumerate()
        .filter(|(_, one)| one["name"] != "envoy_admin");
    others
        .flat_map(|(at, _)| {
            let cluster = format!("/static_resources/clusters/{at}");
            [
                format!("{cluster}/{endpoint}/address"),
                format!("{cluster}/type"),
            ]
        })
        .collect()
}

#[test]
fn containers_names_the_mode_and_whom_to_believe_are_all_that_differs_from_what_is_shipped() {
    let place = Place::new();
    place.make(&[]);
    let listeners = "/static_resources/listeners";
    let manager = format!("{listeners}/0/filter_chains/0/filters/0/typed_config");
    let mut expected = clusters();
    expected.extend([
        format!("{manager}/original_ip_detection_extensions"),
        format!("{manager}/use_remote_address"),
        format!("{manager}/xff_num_trusted_hops"),
        format!("{listeners}/1/address/socket_address/address"),
    ]);
    assert_eq!(changed(&place, "edge/envoy.yaml", "envoy.yaml"), expected);
    let mode = "/resources/0/typed_config/config/configuration/value/mode";
    let plugin = changed(&place, "edge/portcullis.yaml", "portcullis.yaml");
    assert_eq!(plugin, [mode]);
    assert_eq!(
        changed(
            &place,
            "scrape/prometheus.yaml",
            "monitoring/prometheus.yaml"
        ),
        [
            "/alerting/alertmanagers/0/static_configs/0/targets/0",
            "/scrape_configs/0/static_configs/0/targets/0",
            "/scrape_configs/1/static_configs/0/targets/0",
        ]
    );
    let rules = changed(&place, "scrape/rules.yaml", "monitoring/rules.yaml");
    assert!(rules.is_empty(), "{rules:?}");
}

#[test]
fn with_nobody_to_believe_the_client_is_the_peer_as_shipped() {
    let place = Place::new();
    place.make(&[
        ("PORTCULLIS_TRUST", ""),
        ("PORTCULLIS_BIND", "0.0.0.0"),
        ("PORTCULLIS_MODE", "monitor"),
        ("PORTCULLIS_UPSTREAM", "app.internal:3000"),
    ]);
    let mut expected = clusters();
    let upstream = expected.iter().rev().nth(1).unwrap().clone();
    let port = upstream.replace("/socket_address/address", "/socket_address/port_value");
    let at = expected.len() - 1;
    expected.insert(at, port);
    expected.push("/static_resources/listeners/1/address/socket_address/address".to_owned());
    assert_eq!(changed(&place, "edge/envoy.yaml", "envoy.yaml"), expected);
    let made = place.made("edge/envoy.yaml");
    assert_eq!(*made.pointer(&upstream).unwrap(), "app.internal");
    assert!(changed(&place, "edge/portcullis.yaml", "portcullis.yaml").is_empty());
}

#[test]
fn a_value_that_nobody_can_mean_is_named_and_replaces_nothing() {
    let place = Place::new();
    place.make(&[]);
    let before = place.made("edge/portcullis.yaml");
    for (variable, value) in [
        ("PORTCULLIS_MODE", "enforced"),
        ("PORTCULLIS_UPSTREAM", "app"),
        ("PORTCULLIS_UPSTREAM", "app:0"),
        ("PORTCULLIS_UPSTREAM", "http://app:80"),
        ("PORTCULLIS_UPSTREAM", "app:80}},{a: b"),
        ("PORTCULLIS_TRUST", "10.0.0.0"),
        ("PORTCULLIS_TRUST", "999.0.0.0/8"),
        ("PORTCULLIS_TRUST", "10.0.0.0/33"),
        ("PORTCULLIS_TRUST", "fd00::/129"),
        ("PORTCULLIS_TRUST", "everybody"),
    ] {
        let told = place.refusal(&[(variable, value)]);
        assert!(told.contains(variable) && told.contains(value), "{told}");
    }
    let told = place.refusal(&[("PORTCULLIS_BIND", "0.0.0.0")]);
    assert!(told.contains("PORTCULLIS_TRUST"), "{told}");
    assert_eq!(place.made("edge/portcullis.yaml"), before);
}

#[test]
fn a_fault_in_the_files_is_told_in_envoys_and_the_plugins_own_words() {
    let faulty_plugin = Place::new();
    faulty_plugin.change("portcullis.yaml", "failure: open", "failure: perhaps");
    let told = faulty_plugin.refusal(&[]);
    assert!(told.contains("portcullis.yaml is faulty"), "{told}");
    assert!(
        told.contains("failure: \"perhaps\" is not one of"),
        "{told}"
    );
    let faulty_edge = Place::new();
    faulty_edge.change(
        "envoy.yaml",
        "stream_idle_timeout: 20s",
        "stream_idle_timeout: soon",
    );
    let told = faulty_edge.refusal(&[]);
    assert!(
        told.contains("envoy.yaml is faulty") && told.contains("soon"),
        "{told}"
    );
    assert!(!exists(&faulty_edge, "edge/envoy.yaml"));
    let other = Place::new();
    other.change(
        "envoy.yaml",
        "127.0.0.1, port_value: 8970",
        "192.0.2.9, port_value: 8970",
    );
    let told = other.refusal(&[]);
    assert!(told.contains("no longer as shipped"), "{told}");
}

fn exists(place: &Place, file: &str) -> bool {
    Path::exists(&place.folder.path().join(file))
}
