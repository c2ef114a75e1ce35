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

/// A key as the operator spells it.
fn camel(key: &str) -> String {
    let (mut camel, mut raised) = (String::new(), false);
    for letter in key.chars() {
        match letter {
            '_' => raised = true,
            letter if raised => {
                camel.extend(letter.to_uppercase());
                raised = false;
            }
            letter => camel.push(letter),
        }
    }
    camel
}

#[test]
fn the_pod_monitors_take_the_labels_out_of_the_names_as_the_shipped_configuration_does() {
    let shipped = shipped("prometheus.yaml");
    let mut jobs = list(&shipped, "/scrape_configs").iter();
    let job = jobs
        .find(|job| job["job_name"] == "portcullis-envoy")
        .unwrap();
    let rules = list(job, "/metric_relabel_configs").iter().map(|rule| {
        let members = rule.as_object().unwrap().iter();
        let members = members.map(|(key, value)| (camel(key), value.clone()));
        Value::Object(members.collect())
    });
    let expected: Vec<_> = rules.collect();
    assert!(expected.len() > 5);
    for place in ["istio/gateway", "istio/sidecar", "envoy-gateway"] {
        let rendered = folder(&format!("envoy/mesh/{place}"));
        let endpoint =
            &rendered.one("PodMonitor", "portcullis-envoy")["spec"]["podMetricsEndpoints"][0];
        assert_eq!(endpoint["metricRelabelings"], json!(expected), "{place}");
        let job = json!([{"targetLabel": "job", "replacement": "portcullis-envoy"}]);
        assert_eq!(endpoint["relabelings"], job, "{place}");
    }
}
