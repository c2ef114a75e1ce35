//! What Envoy Gateway makes of our manifests. From its sources (internal/xds/translator: wasm.go, jsonpatch.go) and
//! documents:
//! - `wasm[0]` of an EnvoyExtensionPolicy becomes a filter `envoy.filters.http.wasm/envoyextensionpolicy/NAMESPACE/NAME/wasm/0`,
//!   switched off in the chain and on for each route of the Gateway; its `vm_id` is that name without the first part;
//!   `config` becomes JSON text in a StringValue, `failOpen` Envoy's deprecated `fail_open`;
//! - an EnvoyPatchPolicy whose operation is `add` with an empty path adds its value as a resource;
//! - a ClientTrafficPolicy's `removeOnMatch` becomes an early header mutation, its `trustedCIDRs` the extension that reads
//!   x-forwarded-for, and without either the peer is the client.

use kit::config::insert;
use serde_json::{Value, json};

use super::super::rendered::{Rendered, folder, list};
use super::{bootstrap, filter, listener, wasm};

/// The listener of a Gateway `edge` in the namespace `default`.
pub const LISTENER: &str = "default/edge/http";

pub struct Manifests(Rendered);

impl Manifests {
    pub fn read() -> Self {
        Self(folder("envoy/mesh/envoy-gateway"))
    }

    pub fn plugin(&self) -> &Value {
        &self.0.one("EnvoyExtensionPolicy", "portcullis")["spec"]["wasm"][0]
    }

    /// The clusters that the patch policy adds.
    pub fn clusters(&self) -> Vec<Value> {
        let policy = self.0.one("EnvoyPatchPolicy", "portcullis");
        let add = |patch: &Value| {
            let operation = &patch["operation"];
            assert_eq!(
                (&operation["op"], &operation["path"]),
                (&json!("add"), &json!(""))
            );
            assert_eq!(
                patch["type"],
                "type.googleapis.com/envoy.config.cluster.v3.Cluster"
            );
            assert_eq!(patch["name"], operation["value"]["name"]);
            operation["value"].clone()
        };
        list(policy, "/spec/jsonPatches").iter().map(add).collect()
    }

    /// The proxy of the Gateway, with `detection` in the ClientTrafficPolicy.
    pub fn bootstrap(&self, detection: &Value) -> Value {
        let name = self.filter_name();
        let enabled = "type.googleapis.com/envoy.config.route.v3.FilterConfig";
        let route = json!({
            "name": "httproute/default/shop/rule/0/match/0/*",
            "match": {"prefix": "/"},
            "route": {"cluster": "shop"},
            "typed_per_filter_config": {&name: {"@type": enabled, "config": {}}},
        });
        let mut manager = json!({
            "stat_prefix": "http",
            "access_log": [{"name": "envoy.access_loggers.stdout", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
                "log_format": {"json_format": {"verdict": "%FILTER_STATE(wasm.portcullis_verdict:PLAIN)%"}},
            }}],
            "early_header_mutation_extensions": [self.early_removal()],
            "http_filters": [
                {"name": name, "disabled": true, "typed_config": self.translated()},
                filter("router", "router.v3.Router"),
            ],
            "route_config": {"name": LISTENER, "virtual_hosts": [
                {"name": "shop", "domains": ["*"], "routes": [route]},
            ]},
        });
        trust(&mut manager, detection);
        bootstrap(json!([listener(LISTENER, manager)]), self.clusters())
    }

    fn traffic(&self) -> &Value {
        &self.0.one("ClientTrafficPolicy", "portcullis")["spec"]
    }

    fn vm_id(&self) -> String {
        let metadata = &self.0.one("EnvoyExtensionPolicy", "portcullis")["metadata"];
        let text = |key: &str| metadata[key].as_str().unwrap().to_owned();
        format!(
            "envoyextensionpolicy/{}/{}/wasm/0",
            text("namespace"),
            text("name")
        )
    }

    fn filter_name(&self) -> String {
        format!("envoy.filters.http.wasm/{}", self.vm_id())
    }

    fn translated(&self) -> Value {
        let plugin = self.plugin();
        let name = plugin["name"].as_str().unwrap();
        let vm = json!({"vm_id": self.vm_id()});
        wasm(
            name,
            &plugin["config"],
            vm,
            ("fail_open", plugin["failOpen"].clone()),
        )
    }

    fn early_removal(&self) -> Value {
        let removed = &self.traffic()["headers"]["earlyRequestHeaders"]["removeOnMatch"][0];
        assert_eq!(removed["type"], "Prefix");
        json!({
            "name": "envoy.http.early_header_mutation.header_mutation",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
                "mutations": [{"remove_on_match": {"key_matcher": {"prefix": removed["value"], "ignore_case": true}}}],
            },
        })
    }
}

fn trust(manager: &mut Value, detection: &Value) {
    let cidrs = list(detection, "/clientIPDetection/xForwardedFor/trustedCIDRs");
    insert(manager, "use_remote_address", json!(cidrs.is_empty()));
    if cidrs.is_empty() {
        return;
    }
    let range = |cidr: &Value| {
        let (address, length) = cidr.as_str().unwrap().split_once('/').unwrap();
        json!({"address_prefix": address, "prefix_len": length.parse::<u8>().unwrap()})
    };
    let trusted: Vec<_> = cidrs.iter().map(range).collect();
    let extension = json!([{
        "name": "envoy.http.original_ip_detection.xff",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.http.original_ip_detection.xff.v3.XffConfig",
            "xff_trusted_cidrs": {"cidrs": trusted},
        },
    }]);
    insert(manager, "original_ip_detection_extensions", extension);
}
