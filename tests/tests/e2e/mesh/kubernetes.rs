//! The sidecar's overlays: what must agree between objects agrees, pods are confined, probes lead somewhere.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use kit::config::insert;
use kit::pages::Page;

use super::core_kinds;
use super::rendered::{OVERLAYS, Rendered, containers, list, overlay, with_component};

fn names(list: &[Value]) -> BTreeSet<&str> {
    list.iter().filter_map(|one| one["name"].as_str()).collect()
}

/// The deployment or what an overlay makes of it.
fn sidecar(rendered: &Rendered) -> &Value {
    let mut workloads = rendered.workloads().into_iter();
    let named = |workload: &&Value| workload["metadata"]["name"] == "portcullis";
    workloads.find(named).unwrap()
}

#[test]
fn every_pod_is_one_that_restricted_pod_security_admits() {
    for name in OVERLAYS {
        let rendered = overlay(name);
        let namespace = rendered.one("Namespace", "portcullis");
        let enforced = "pod-security.kubernetes.io/enforce";
        assert_eq!(namespace["metadata"]["labels"][enforced], "restricted");
        for workload in rendered.workloads() {
            let pod = &workload["spec"]["template"]["spec"];
            let security = &pod["securityContext"];
            assert_eq!(security["runAsNonRoot"], true, "{name}");
            assert_eq!(security["runAsUser"], 65532, "{name}");
            assert_eq!(
                security["seccompProfile"]["type"], "RuntimeDefault",
                "{name}"
            );
            assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
            for container in containers(workload) {
                let confined = json!({
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]},
                });
                assert_eq!(container["securityContext"], confined, "{name}");
                assert!(
                    container["resources"]["requests"]["memory"].is_string(),
                    "{name}"
                );
                assert!(
                    container["resources"]["limits"]["memory"].is_string(),
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn everything_lies_in_the_namespace_that_is_made() {
    for name in OVERLAYS {
        for object in overlay(name).0 {
            if object["kind"] != "Namespace" {
                let (kind, named) = (&object["kind"], &object["metadata"]["name"]);
                let namespace = &object["metadata"]["namespace"];
                assert_eq!(namespace, "portcullis", "{name}: {kind} {named}");
            }
        }
    }
}

#[test]
fn probes_and_services_lead_to_ports_that_containers_have() {
    for name in OVERLAYS {
        let rendered = overlay(name);
        let container = &sidecar(&rendered)["spec"]["template"]["spec"]["containers"][0];
        let ports = list(container, "/ports");
        let numbers = ports.iter().map(|port| {
            (
                port["name"].as_str().unwrap(),
                port["containerPort"].as_u64().unwrap(),
            )
        });
        let numbers: BTreeSet<_> = numbers.collect();
        assert_eq!(
            numbers,
            BTreeSet::from([("edge", 8970), ("admin", 8971), ("metrics", 8972)])
        );
        for (probe, path) in [
            ("startupProbe", "/livez"),
            ("livenessProbe", "/livez"),
            ("readinessProbe", "/readyz"),
        ] {
            let get = &container[probe]["httpGet"];
            assert_eq!(
                get,
                &json!({"path": path, "port": "metrics"}),
                "{name}: {probe}"
            );
        }
        let service = rendered.one("Service", "portcullis");
        for port in list(service, "/spec/ports") {
            let target = port["targetPort"].as_str().unwrap();
            assert_eq!(port["name"], target);
            let number = port["port"].as_u64().unwrap();
            assert!(numbers.contains(&(target, number)), "{name}: {port}");
        }
    }
}

#[test]
fn what_a_pod_refers_to_is_there_or_is_the_secret_that_the_operator_makes() {
    for name in OVERLAYS {
        let rendered = overlay(name);
        for workload in rendered.workloads() {
            let pod = &workload["spec"]["template"]["spec"];
            for reference in references(workload) {
                let (kind, referred) = reference;
                let mut there = rendered
                    .of_kind(kind)
                    .map(|one| one["metadata"]["name"].as_str());
                let secret = (kind, referred) == ("Secret", "portcullis");
                assert!(
                    secret || there.any(|have| have == Some(referred)),
                    "{name}: {kind} {referred}"
                );
            }
            let mut volumes = names(list(pod, "/volumes"));
            volumes.extend(
                list(workload, "/spec/volumeClaimTemplates")
                    .iter()
                    .map(|claim| claim["metadata"]["name"].as_str().unwrap()),
            );
            for container in containers(workload) {
                let mounted = names(list(container, "/volumeMounts"));
                assert!(mounted.is_subset(&volumes), "{name}: {mounted:?}");
            }
        }
    }
}

/// What a workload names by kind and name.
fn references(workload: &Value) -> Vec<(&str, &str)> {
    let pod = &workload["spec"]["template"]["spec"];
    let places = [
        ("ConfigMap", "/configMap/name"),
        ("Secret", "/secret/secretName"),
        ("PersistentVolumeClaim", "/persistentVolumeClaim/claimName"),
    ];
    let volumes = list(pod, "/volumes").iter();
    let of_volumes = volumes.flat_map(|volume| {
        places.map(|(kind, place)| (kind, volume.pointer(place).and_then(Value::as_str)))
    });
    let environments = containers(workload).flat_map(|container| list(container, "/envFrom"));
    let of_environments =
        environments.map(|from| ("ConfigMap", from["configMapRef"]["name"].as_str()));
    let account = ("ServiceAccount", pod["serviceAccountName"].as_str());
    let all = of_volumes.chain(of_environments).chain([account]);
    all.filter_map(|(kind, name)| Some((kind, name?))).collect()
}

#[test]
fn selectors_choose_the_pods_that_they_mean() {
    for name in OVERLAYS {
        let rendered = overlay(name);
        let labels: Vec<_> = rendered
            .workloads()
            .into_iter()
            .map(|workload| {
                let labels = &workload["spec"]["template"]["metadata"]["labels"];
                assert_eq!(
                    workload["spec"]["selector"]["matchLabels"], *labels,
                    "{name}"
                );
                labels
            })
            .collect();
        let by_kind = [
            ("Service", "/spec/selector"),
            ("NetworkPolicy", "/spec/podSelector/matchLabels"),
            ("PodDisruptionBudget", "/spec/selector/matchLabels"),
        ];
        for (kind, place) in by_kind {
            for object in rendered.of_kind(kind) {
                let selector = object.pointer(place).unwrap();
                assert!(labels.contains(&selector), "{name}: {kind} {selector}");
            }
        }
    }
}

#[test]
fn several_sidecars_share_a_redis_and_one_has_a_volume() {
    for name in OVERLAYS {
        let rendered = overlay(name);
        let workload = sidecar(&rendered);
        let kind =
            rendered.one("ConfigMap", "portcullis-env")["data"]["PORTCULLIS__STORE__KIND"].as_str();
        let volume = &workload["spec"]["template"]["spec"]["volumes"][2];
        let alone = name == "single";
        assert_eq!(kind == Some("redis"), !alone, "{name}");
        assert_eq!(volume["persistentVolumeClaim"].is_object(), alone, "{name}");
        assert_eq!(volume["emptyDir"].is_object(), !alone, "{name}");
        let per_node = name == "per-node";
        assert_eq!(workload["kind"] == "DaemonSet", per_node, "{name}");
        // A pod that does not start takes no other away, but where the store has room for one.
        let kind = if per_node {
            "updateStrategy"
        } else {
            "strategy"
        };
        let one_more =
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}});
        let recreate = json!({"type": "Recreate"});
        let expected = if alone { recreate } else { one_more };
        assert_eq!(workload["spec"][kind], expected, "{name}");
        let everywhere = json!([{"operator": "Exists", "effect": "NoSchedule"}]);
        let tolerated = &workload["spec"]["template"]["spec"]["tolerations"];
        assert_eq!(*tolerated == everywhere, per_node, "{name}");
        let local =
            rendered.one("Service", "portcullis")["spec"]["internalTrafficPolicy"] == "Local";
        assert_eq!(local, per_node, "{name}");
        let budgets = rendered.of_kind("PodDisruptionBudget").count();
        assert_eq!(budgets, usize::from(!per_node), "{name}");
    }
}

#[test]
fn the_canary_is_let_out_to_the_gateway_that_it_is_sent_to() {
    let rendered = with_component("shared", "canary");
    let environment = &rendered.one("ConfigMap", "portcullis-env")["data"];
    let edge = environment["PORTCULLIS__CANARY__EDGE"].as_str().unwrap();
    let host = edge.strip_prefix("http://").unwrap();
    let namespace = host.split('.').nth(1).unwrap();
    let policy = rendered.one("NetworkPolicy", "portcullis");
    let way = list(policy, "/spec/egress").last().unwrap();
    let to = json!([{
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "podSelector": {"matchLabels": {"istio": "ingressgateway"}},
    }]);
    assert_eq!(way["to"], to);
    // With what the overlay had before.
    assert_eq!(environment["PORTCULLIS__STORE__KIND"], "redis");
    assert_eq!(list(policy, "/spec/egress").len(), 4);
}

#[test]
fn what_the_page_lets_in_beside_pods_is_a_policy_for_the_same_ports() {
    let page = Page::read("docs/install-kubernetes.md").unwrap();
    let shown = page.yaml("How the pods are confined").unwrap();
    let rendered = overlay("shared");
    let shipped = rendered.one("NetworkPolicy", "portcullis");
    let ports = |policy: &Value| policy["ingress"][0]["ports"].clone();
    assert_eq!(ports(&shown), ports(&shipped["spec"]));
    let mut changed = shipped.clone();
    insert(&mut changed["spec"], "ingress", shown["ingress"].clone());
    assert_eq!(core_kinds::faults(&changed), Some(Vec::new()));
}

#[test]
fn the_images_are_those_of_this_version_and_none_is_the_latest() {
    for name in OVERLAYS {
        for workload in overlay(name).workloads() {
            for container in containers(workload) {
                let image = container["image"].as_str().unwrap();
                let (repository, tag) = image.split_once(':').unwrap();
                if repository == "ghcr.io/portcullis/portcullis" {
                    assert_eq!(tag, env!("CARGO_PKG_VERSION"), "{name}");
                }
                assert_ne!(tag, "latest", "{name}");
            }
        }
    }
}
