//! Kustomizations, rendered by kubectl.

use std::path::Path;
use std::process::Command;

use kit::parts;
use serde_json::Value;

/// Each way to run the sidecar in Kubernetes.
pub const OVERLAYS: [&str; 4] = ["single", "shared", "shared-bundled-redis", "per-node"];

/// All objects of one rendering.
pub struct Rendered(pub Vec<Value>);

/// A folder of the repository with a `kustomization.yaml`.
pub fn folder(path: &str) -> Rendered {
    render(&parts::in_checkout(path))
}

/// An overlay as somebody writes one of his own: one of ours with a component.
pub fn with_component(name: &str, component: &str) -> Rendered {
    let own = tempfile::tempdir().unwrap();
    let place = own.path().canonicalize().unwrap();
    // kustomize takes no absolute paths.
    let up = "../".repeat(place.components().count() - 1);
    let ours = parts::in_checkout("envoy/mesh/kubernetes").canonicalize();
    let ours = ours
        .unwrap()
        .to_str()
        .unwrap()
        .trim_start_matches('/')
        .to_owned();
    let text = format!(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n\
         resources: [{up}{ours}/overlays/{name}]\ncomponents: [{up}{ours}/components/{component}]\n"
    );
    std::fs::write(place.join("kustomization.yaml"), text).unwrap();
    render(&place)
}

fn render(path: &Path) -> Rendered {
    let output = Command::new(parts::kubectl().unwrap())
        .arg("kustomize")
        .arg(path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let path = path.display();
    assert!(output.status.success() && said.is_empty(), "{path}: {said}");
    let text = String::from_utf8(output.stdout).unwrap();
    let documents = text
        .split("\n---\n")
        .map(|one| serde_norway::from_str(one).unwrap());
    Rendered(documents.collect())
}

pub fn overlay(name: &str) -> Rendered {
    folder(&format!("envoy/mesh/kubernetes/overlays/{name}"))
}

impl Rendered {
    pub fn of_kind(&self, kind: &str) -> std::vec::IntoIter<&Value> {
        let of_kind: Vec<_> = self
            .0
            .iter()
            .filter(|object| object["kind"] == kind)
            .collect();
        of_kind.into_iter()
    }

    /// The one of this kind whose name begins so: kustomize appends hashes.
    pub fn one(&self, kind: &str, name: &str) -> &Value {
        let of_kind = self.of_kind(kind);
        let mut found = of_kind.filter(|object: &&Value| {
            let have = object["metadata"]["name"].as_str().unwrap();
            let hash = have
                .strip_prefix(name)
                .map(|rest| rest.trim_start_matches('-'));
            hash.is_some_and(|hash| hash.is_empty() || (hash.len() == 10 && !hash.contains('-')))
        });
        let one = found.next().unwrap_or_else(|| panic!("no {kind} {name}"));
        assert!(found.next().is_none(), "several {kind} {name}");
        one
    }

    /// Everything that makes pods.
    pub fn workloads(&self) -> Vec<&Value> {
        let kinds = ["Deployment", "DaemonSet", "StatefulSet"];
        let makes_pods = |object: &&Value| kinds.iter().any(|kind| object["kind"] == *kind);
        self.0.iter().filter(makes_pods).collect()
    }
}

/// A list in an object; none where there is no list.
pub fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    let list = object.pointer(pointer).and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}

/// The containers of a workload, those that run first included.
pub fn containers(workload: &Value) -> impl Iterator<Item = &Value> {
    let spec = &workload["spec"]["template"]["spec"];
    list(spec, "/initContainers")
        .iter()
        .chain(list(spec, "/containers"))
}
