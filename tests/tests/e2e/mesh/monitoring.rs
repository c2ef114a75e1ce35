//! Prometheus' files and Grafana's boards as a cluster gets them are those of `envoy/monitoring`.

use kit::{config, parts};
use serde_json::{Value, json};

use super::rendered::{folder, list};

fn shipped(name: &str) -> Value {
    config::read(&parts::in_checkout("envoy/monitoring").join(name)).unwrap()
}

#[test]
fn the_prometheus_rule_has_the_groups_of_the_rules_file() {
    let rendered = folder("envoy/monitoring");
    let rule = rendered.one("PrometheusRule", "portcullis");
    let same = rule["spec"]["groups"] == shipped("rules.yaml")["groups"];
    assert!(same, "run `cargo xtask manifests`");
}

#[test]
fn the_service_monitor_gives_the_job_the_name_that_the_alerts_ask_for() {
    let rendered = folder("envoy/monitoring");
    let monitor = rendered.one("ServiceMonitor", "portcullis");
    let relabelings = &monitor["spec"]["endpoints"][0]["relabelings"];
    assert_eq!(
        *relabelings,
        json!([{"targetLabel": "job", "replacement": "portcullis-sidecar"}])
    );
    let shipped = shipped("prometheus.yaml");
    let jobs = list(&shipped, "/scrape_configs");
    assert!(
        jobs.iter()
            .any(|job| job["job_name"] == "portcullis-sidecar")
    );
}

#[test]
fn every_dashboard_is_in_the_config_map_as_it_is() {
    let rendered = folder("envoy/monitoring");
    let map = rendered.one("ConfigMap", "portcullis-dashboards");
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    let boards = parts::in_checkout("envoy/monitoring/dashboards");
    let mut files = 0;
    for entry in std::fs::read_dir(boards).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(
            map["data"][name],
            std::fs::read_to_string(&path).unwrap(),
            "{name}"
        );
        files += 1;
    }
    assert_eq!(map["data"].as_object().unwrap().len(), files);
}
