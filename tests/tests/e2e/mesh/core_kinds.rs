//! What Kubernetes itself would say of its own kinds: they are read into its types and written again. What it does not
//! know is lost on the way, and what has another type is refused.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{
    ConfigMap, Namespace, PersistentVolumeClaim, Service, ServiceAccount,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kit::config::differences;
use serde_json::Value;

/// Each fault with its place; nothing where this kind is not one of Kubernetes' own that we use.
pub fn faults(object: &Value) -> Option<Vec<String>> {
    let version = object["apiVersion"].as_str().unwrap_or_default();
    let kind = object["kind"].as_str().unwrap_or_default();
    let check = match (version, kind) {
        ("v1", "Namespace") => strict::<Namespace>,
        ("v1", "ServiceAccount") => strict::<ServiceAccount>,
        ("v1", "ConfigMap") => strict::<ConfigMap>,
        ("v1", "Service") => strict::<Service>,
        ("v1", "PersistentVolumeClaim") => strict::<PersistentVolumeClaim>,
        ("apps/v1", "Deployment") => strict::<Deployment>,
        ("apps/v1", "DaemonSet") => strict::<DaemonSet>,
        ("apps/v1", "StatefulSet") => strict::<StatefulSet>,
        ("networking.k8s.io/v1", "NetworkPolicy") => strict::<NetworkPolicy>,
        ("policy/v1", "PodDisruptionBudget") => strict::<PodDisruptionBudget>,
        _ => return None,
    };
    Some(check(object))
}

/// As [`faults`], for the metadata that every object has.
pub fn metadata_faults(object: &Value) -> Vec<String> {
    strict::<ObjectMeta>(&object["metadata"])
}

fn strict<T: serde::de::DeserializeOwned + serde::Serialize>(object: &Value) -> Vec<String> {
    match serde_json::from_value::<T>(object.clone()) {
        Err(error) => vec![error.to_string()],
        Ok(read) => differences(object, &serde_json::to_value(read).unwrap()),
    }
}
