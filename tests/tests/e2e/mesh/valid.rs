//! Each manifest is one that a cluster takes, and a wrong one is not, by the name of what is wrong.

use kit::config::insert;
use serde_json::{Value, json};

use super::core_kinds;
use super::rendered::{OVERLAYS, folder, overlay};
use super::schemas::Schemas;

/// What is shipped beside the overlays.
const FOLDERS: [&str; 5] = [
    "envoy/monitoring",
    "envoy/mesh/istio/gateway",
    "envoy/mesh/istio/gateway-outside",
    "envoy/mesh/istio/sidecar",
    "envoy/mesh/envoy-gateway",
];

fn all() -> Vec<Value> {
    let overlays = OVERLAYS.map(|name| overlay(name).0);
    let folders = FOLDERS.map(|name| folder(name).0);
    overlays.into_iter().chain(folders).flatten().collect()
}

#[test]
fn kubernetes_knows_every_field_of_its_own_kinds() {
    let objects = all();
    let mut checked = 0;
    for object in &objects {
        if let Some(faults) = core_kinds::faults(object) {
            checked += 1;
            assert!(
                faults.is_empty(),
                "{} {}: {faults:?}",
                object["kind"],
                object["metadata"]
            );
        }
    }
    assert!(checked > 30, "{checked}");
}

#[test]
fn the_schemas_know_every_field_of_the_custom_resources() {
    let Some(schemas) = Schemas::read() else {
        return;
    };
    let objects = all();
    let custom = objects
        .iter()
        .filter(|object| core_kinds::faults(object).is_none());
    for object in custom {
        let faults = schemas.faults(object);
        assert!(
            faults.is_empty(),
            "{} {}: {faults:?}",
            object["kind"],
            object["metadata"]
        );
    }
}

#[test]
fn a_misspelt_field_and_a_wrong_type_are_named_in_kubernetes_own_kinds() {
    let rendered = overlay("shared");
    let mut misspelt = rendered.one("Deployment", "portcullis").clone();
    let container = &mut misspelt["spec"]["template"]["spec"]["containers"][0];
    insert(container, "livenesProbe", json!({"periodSeconds": 1}));
    let faults = core_kinds::faults(&misspelt).unwrap();
    assert_eq!(faults, ["/spec/template/spec/containers/0/livenesProbe"]);
    let mut wrong = rendered.one("Deployment", "portcullis").clone();
    wrong["spec"]["replicas"] = json!("two");
    let faults = core_kinds::faults(&wrong).unwrap();
    assert!(faults[0].contains("\"two\", expected i32"), "{faults:?}");
}

#[test]
fn a_misspelt_field_and_a_wrong_type_are_named_in_custom_resources() {
    let Some(schemas) = Schemas::read() else {
        return;
    };
    let rendered = folder("envoy/monitoring");
    let monitor = rendered.one("ServiceMonitor", "portcullis");
    let mut misspelt = monitor.clone();
    insert(
        &mut misspelt["spec"]["endpoints"][0],
        "intervall",
        json!("15s"),
    );
    let faults = schemas.faults(&misspelt).join("\n");
    assert!(
        faults.contains("/spec/endpoints/0") && faults.contains("'intervall'"),
        "{faults}"
    );
    let mut wrong = monitor.clone();
    wrong["spec"]["endpoints"][0]["port"] = json!(8972);
    let faults = schemas.faults(&wrong).join("\n");
    assert!(faults.contains("/spec/endpoints/0/port"), "{faults}");
    let mut metadata = monitor.clone();
    insert(&mut metadata["metadata"], "label", json!({}));
    assert_eq!(schemas.faults(&metadata), ["/label"]);
}
