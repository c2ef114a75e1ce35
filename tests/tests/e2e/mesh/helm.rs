//! The chart, rendered by Helm: it makes what kustomize makes, so neither drifts from the other.

use std::process::{Command, Output};

use kit::config::differences;
use kit::parts;
use serde_json::{Value, json};

use super::core_kinds;
use super::rendered::{Rendered, overlay};

const REDIS: &str = "rediss://redis.example.com:6379/0";
/// Prints what Helm renders, as a command of Helm's would.
const RENDER: &str = "
import json, sys
import helm_python
with helm_python.Chart.load(sys.argv[1]) as chart:
    manifests = chart.render(json.loads(sys.argv[2]), name='portcullis', namespace='portcullis')
    print('\\n---\\n'.join(text for text in manifests.values() if text.strip()))
";

fn helm(values: &Value) -> Output {
    let mut python = Command::new("python3");
    python.args(["-c", RENDER]);
    python
        .arg(parts::in_checkout("envoy/mesh/helm"))
        .arg(values.to_string());
    python
        .env("PYTHONPATH", parts::helm().unwrap())
        .output()
        .unwrap()
}

fn rendered(values: &Value) -> Rendered {
    let output = helm(values);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{values}: {said}");
    let text = String::from_utf8(output.stdout).unwrap();
    let documents = text.split("\n---\n");
    Rendered(
        documents
            .map(|one| serde_norway::from_str(one).unwrap())
            .collect(),
    )
}

/// Without what each has its own way for: new names or an annotation for a changed configuration, and the namespace.
fn comparable(rendered: Rendered) -> Vec<(String, Value)> {
    let objects = rendered
        .0
        .into_iter()
        .filter(|object| object["kind"] != "Namespace");
    let plain = objects.map(|object| {
        let text = object.to_string();
        let text = without_hash(&without_hash(&text, "portcullis-env"), "portcullis");
        let mut object: Value = serde_json::from_str(&text).unwrap();
        if let Some(pod) = object.pointer_mut("/spec/template/metadata") {
            pod.as_object_mut().unwrap().remove("annotations");
        }
        (
            format!("{} {}", object["kind"], object["metadata"]["name"]),
            object,
        )
    });
    let mut plain: Vec<_> = plain.collect();
    plain.sort_by(|one, other| one.0.cmp(&other.0));
    plain
}

/// kustomize appends ten letters and digits to the names of ConfigMaps.
fn without_hash(text: &str, name: &str) -> String {
    let start = format!("\"{name}-");
    let mut parts = text.split(start.as_str());
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |done, part| match part.split_once('"') {
        Some((hash, rest)) if hash.len() == 10 => format!("{done}\"{name}\"{rest}"),
        _ => format!("{done}{start}{part}"),
    })
}

#[test]
fn the_chart_makes_the_objects_of_each_overlay() {
    for (name, values) in [
        ("single", json!({})),
        ("shared", json!({"replicas": 2, "redis": {"url": REDIS}})),
        (
            "per-node",
            json!({"perNode": true, "redis": {"url": REDIS}}),
        ),
    ] {
        let ours = comparable(rendered(&values));
        let theirs = comparable(overlay(name));
        let names = |objects: &[(String, Value)]| {
            objects
                .iter()
                .map(|(name, _)| name.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&ours), names(&theirs), "{name}");
        for ((what, our), (_, their)) in ours.iter().zip(&theirs) {
            assert_eq!(
                differences(our, their),
                Vec::<String>::new(),
                "{name}: {what}"
            );
        }
    }
}

#[test]
fn what_can_be_set_reaches_the_objects_and_kubernetes_knows_every_field() {
    let values = json!({
        "image": {"repository": "registry.internal/portcullis", "tag": "0.1.0-1"},
        "replicas": 3,
        "config": "[log]\nlevel = \"debug\"\n",
        "environment": {"PORTCULLIS__LOG__LEVEL": "info"},
        "secret": "words",
        "redis": {"url": "redis://redis:6380/1", "username": "edge", "port": 6380},
        "resources": {"requests": {"memory": "1Gi"}, "limits": {"memory": "2Gi"}},
        "serviceAccountAnnotations": {"eks.amazonaws.com/role-arn": "arn"},
        "networkPolicy": false,
    });
    let rendered = rendered(&values);
    for object in &rendered.0 {
        assert_eq!(
            core_kinds::faults(object),
            Some(Vec::new()),
            "{}",
            object["kind"]
        );
    }
    let workload = rendered.one("Deployment", "portcullis");
    let pod = &workload["spec"]["template"]["spec"];
    assert_eq!(workload["spec"]["replicas"], 3);
    for kind in ["initContainers", "containers"] {
        assert_eq!(
            pod[kind][0]["image"],
            "registry.internal/portcullis:0.1.0-1"
        );
        assert_eq!(pod[kind][0]["resources"]["limits"]["memory"], "2Gi");
    }
    assert_eq!(pod["volumes"][1]["secret"]["secretName"], "words");
    let config = &rendered.one("ConfigMap", "portcullis")["data"]["portcullis.toml"];
    assert_eq!(*config, "[log]\nlevel = \"debug\"\n");
    let environment = &rendered.one("ConfigMap", "portcullis-env")["data"];
    assert_eq!(
        environment["PORTCULLIS__STORE__URL"],
        "redis://redis:6380/1"
    );
    assert_eq!(environment["PORTCULLIS__STORE__USERNAME"], "edge");
    assert_eq!(environment["PORTCULLIS__LOG__LEVEL"], "info");
    let account = rendered.one("ServiceAccount", "portcullis");
    assert_eq!(
        account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"],
        "arn"
    );
    assert_eq!(rendered.of_kind("NetworkPolicy").count(), 0);
}

#[test]
fn the_network_policy_opens_what_is_named_and_keeps_what_it_has() {
    let before = rendered(&json!({}))
        .one("NetworkPolicy", "portcullis")
        .clone();
    let nodes = json!({"ipBlock": {"cidr": "10.0.0.0/16"}});
    let way = json!({
        "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "istio-ingress"}}}],
        "ports": [{"protocol": "TCP", "port": 80}],
    });
    let opened = rendered(&json!({"ingressFrom": [nodes], "egress": [way]}));
    let opened = opened.one("NetworkPolicy", "portcullis");
    assert_eq!(core_kinds::faults(opened), Some(Vec::new()));
    let mut expected = before;
    let add = |list: &mut Value, one: Value| list.as_array_mut().unwrap().push(one);
    add(&mut expected["spec"]["ingress"][0]["from"], nodes);
    add(&mut expected["spec"]["egress"], way);
    assert_eq!(*opened, expected);
}

#[test]
fn a_wrong_value_is_refused_by_its_name_before_anything_is_made() {
    for (values, named) in [
        (json!({"replica": 2}), "'replica'"),
        (json!({"replicas": "two"}), "/replicas"),
        (json!({"replicas": 0}), "/replicas"),
        (
            json!({"redis": {"url": "redis://me:word@redis:6379/0"}}),
            "/redis/url",
        ),
        (json!({"image": {"tag": "latest"}}), "/image/tag"),
        (json!({"environment": {"STORE": "redis"}}), "STORE"),
        (json!({"volume": "much"}), "/volume"),
        (json!({"egress": "everywhere"}), "/egress"),
        (json!({"ingressFrom": [{"cidr": "10.0.0.0/16"}]}), "'cidr'"),
        (json!({"replicas": 2}), "redis.url: several sidecars"),
        (json!({"perNode": true}), "redis.url: several sidecars"),
    ] {
        let output = helm(&values);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{values}");
        assert!(said.contains(named), "{values}: {said}");
    }
}

#[test]
fn the_chart_has_this_version_and_the_same_configuration_file() {
    let chart = kit::config::read(&parts::in_checkout("envoy/mesh/helm/Chart.yaml")).unwrap();
    for key in ["version", "appVersion"] {
        assert_eq!(chart[key], env!("CARGO_PKG_VERSION"), "{key}");
    }
    let read = |path: &str| std::fs::read_to_string(parts::in_checkout(path)).unwrap();
    let ours = read("envoy/mesh/helm/portcullis.toml");
    assert_eq!(ours, read("envoy/mesh/kubernetes/base/portcullis.toml"));
}
