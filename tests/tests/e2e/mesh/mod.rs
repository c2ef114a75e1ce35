//! `envoy/mesh` and what belongs to it: the manifests as kubectl renders them, by the schemas that a cluster would hold
//! against them, by each other, and in a real Envoy.

mod configuration;
mod core_kinds;
mod helm;
mod kubernetes;
mod monitoring;
mod proxies;
mod rendered;
mod schemas;
mod valid;
