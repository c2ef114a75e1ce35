//! What Istio makes of our manifests. From its sources (pilot/pkg/model/extensionfilter.go, pkg/wasm) and documents:
//! - a WasmPlugin becomes a Wasm filter `NAMESPACE.NAME` without a `vm_id`; `pluginConfig` becomes JSON text in a
//!   StringValue; the agent fetches the image and puts a local file in its place; the plugin's version is a variable of
//!   the VM. `failStrategy` becomes `failure_policy`, with Envoy's own back-off. AUTHN stands first in the chain;
//! - `mode: SERVER` means a sidecar proxy's inbound listener, and no `match` every listener, a gateway's too;
//! - a Service's port becomes `outbound|PORT||HOST`, and a DestinationRule's `connectionPool`, `loadBalancer` and
//!   `outlierDetection` that cluster's options, without a threshold of panic; a ServiceEntry's port as well, and
//!   `resolution: DNS` has Envoy look the name up;
//! - a gateway believes `numTrustedProxies` hops, a sidecar proxy what stands last in x-forwarded-for;
//! - a provider's labels become a JSON log, a Telemetry's filter an expression in CEL;
//! - statistics: [`super::istio_statistics`].

use kit::config::insert;
use serde_json::{Value, json};

use super::super::rendered::{Rendered, folder, list, overlay};
use super::istio_statistics::{stats_config, with_end};
use super::{bootstrap, filter, listener, wasm};

pub const GATEWAY: &str = "0.0.0.0_8080";
pub const INBOUND: &str = "virtualInbound";

/// Our manifests for Istio: those of `envoy/mesh/istio`, the sidecar's Service, and what the page says to put elsewhere.
pub struct Manifests {
    pub gateway: Rendered,
    pub sidecar: Rendered,
    /// With the Service, if there is one.
    service: Option<Rendered>,
    /// `meshConfig.extensionProviders` of docs/install-istio.md.
    pub providers: Value,
    /// `proxy.istio.io/config` of the same page.
    pub proxy: Value,
}

impl Manifests {
    pub fn read(providers: Value, proxy: Value) -> Self {
        Self {
            gateway: folder("envoy/mesh/istio/gateway"),
            sidecar: folder("envoy/mesh/istio/sidecar"),
            service: Some(overlay("shared")),
            providers,
            proxy,
        }
    }

    /// Those that ask a sidecar which is no Service of the cluster.
    pub fn outside(self) -> Self {
        Self {
            gateway: folder("envoy/mesh/istio/gateway-outside"),
            sidecar: folder("envoy/mesh/istio/gateway-outside"),
            service: None,
            ..self
        }
    }

    /// One Envoy with the listeners of a gateway and of a sidecar proxy.
    pub fn bootstrap(&self) -> Value {
        let gateway = json!({
            "use_remote_address": true,
            "xff_num_trusted_hops": self.proxy["gatewayTopology"]["numTrustedProxies"],
        });
        let inbound = json!({"use_remote_address": false});
        let listeners = json!([
            listener(GATEWAY, self.manager(&self.gateway, GATEWAY, gateway)),
            listener(INBOUND, self.manager(&self.sidecar, INBOUND, inbound)),
        ]);
        let mut bootstrap = bootstrap(listeners, vec![self.cluster()]);
        insert(&mut bootstrap, "stats_config", stats_config(&self.proxy));
        bootstrap
    }

    /// The cluster that the plugin's settings must name.
    pub fn cluster_name(&self) -> String {
        let Some(rendered) = &self.service else {
            let entry = &self.gateway.one("ServiceEntry", "portcullis")["spec"];
            let port = &entry["ports"][0];
            assert_eq!(port["protocol"], "HTTP");
            return format!("outbound|{}||{}", port["number"], text(&entry["hosts"][0]));
        };
        let service = rendered.one("Service", "portcullis");
        let metadata = &service["metadata"];
        let (name, namespace) = (text(&metadata["name"]), text(&metadata["namespace"]));
        let ports = list(service, "/spec/ports");
        let port = ports.iter().find(|port| port["name"] == "edge").unwrap();
        format!(
            "outbound|{}||{name}.{namespace}.svc.cluster.local",
            port["port"]
        )
    }

    /// How Envoy finds the endpoints. Istio hands over those of a Service, as the list below does.
    fn discovery(&self) -> &'static str {
        if self.service.is_some() {
            return "STATIC";
        }
        let entry = &self.gateway.one("ServiceEntry", "portcullis")["spec"];
        assert_eq!(entry["resolution"], "DNS");
        "STRICT_DNS"
    }

    fn manager(&self, manifests: &Rendered, listener: &str, trust: Value) -> Value {
        let plugin = manifests.one("WasmPlugin", "portcullis");
        let modes = list(plugin, "/spec/match")
            .iter()
            .map(|one| text(&one["mode"]));
        let modes: Vec<_> = modes.collect();
        let inbound = listener == INBOUND;
        let chosen = modes.is_empty() || modes.contains(&if inbound { "SERVER" } else { "CLIENT" });
        assert!(chosen, "{listener}: {modes:?}");
        assert_eq!(plugin["spec"]["phase"], "AUTHN");
        let mut manager = trust;
        let prefix = with_end(if inbound {
            "inbound_0.0.0.0_8080"
        } else {
            "outbound_0.0.0.0_8080"
        });
        let fields = json!({
            "stat_prefix": prefix,
            "access_log": [self.access_log(manifests)],
            "http_filters": [
                {"name": format!("extensions.istio.io/wasmplugin/{}", resource(plugin)), "typed_config": translated(plugin)},
                filter("cors", "cors.v3.Cors"),
                filter("fault", "fault.v3.HTTPFault"),
                filter("router", "router.v3.Router"),
            ],
            "route_config": {"virtual_hosts": [{
                "name": "shop", "domains": ["*"],
                "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "shop"}}],
            }]},
        });
        for (key, value) in fields.as_object().unwrap() {
            insert(&mut manager, key, value.clone());
        }
        manager
    }

    fn cluster(&self) -> Value {
        let rule = self.gateway.one("DestinationRule", "portcullis");
        let host = self.cluster_name();
        assert!(host.ends_with(text(&rule["spec"]["host"])), "{host}");
        let policy = &rule["spec"]["trafficPolicy"];
        let pool = &policy["connectionPool"];
        let hash = &policy["loadBalancer"]["consistentHash"];
        // Istio hashes requests of its own routes by this header; a plugin's have no other hash than it.
        assert_eq!(hash["httpHeaderName"], ":authority");
        assert_eq!(hash["maglev"], json!({}));
        let localities = &policy["loadBalancer"]["localityLbSetting"];
        assert_eq!(localities["enabled"], false);
        let outliers = &policy["outlierDetection"];
        let keepalive = &pool["tcp"]["tcpKeepalive"];
        json!({
            "name": host,
            "alt_stat_name": with_end(&host),
            "type": self.discovery(),
            "lb_policy": "MAGLEV",
            "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
            "outlier_detection": {
                "split_external_local_origin_errors": outliers["splitExternalLocalOriginErrors"],
                "consecutive_local_origin_failure": outliers["consecutiveLocalOriginFailures"],
                "enforcing_consecutive_local_origin_failure": 100,
                "consecutive_5xx": outliers["consecutive5xxErrors"],
                "enforcing_consecutive_5xx": 0,
                "interval": outliers["interval"],
                "base_ejection_time": outliers["baseEjectionTime"],
                "max_ejection_percent": outliers["maxEjectionPercent"],
            },
            "connect_timeout": seconds(&pool["tcp"]["connectTimeout"]),
            "upstream_connection_options": {"tcp_keepalive": {
                "keepalive_probes": keepalive["probes"],
                "keepalive_time": whole_seconds(&keepalive["time"]),
                "keepalive_interval": whole_seconds(&keepalive["interval"]),
            }},
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "common_http_protocol_options": {"idle_timeout": pool["http"]["idleTimeout"]},
                "explicit_http_config": {"http_protocol_options": {}},
            }},
            "load_assignment": {"cluster_name": host, "endpoints": [{"lb_endpoints": [super::endpoint()]}]},
        })
    }

    fn access_log(&self, manifests: &Rendered) -> Value {
        let telemetry = manifests.one("Telemetry", "portcullis");
        let logging = &telemetry["spec"]["accessLogging"][0];
        let mut providers = list(&self.providers, "").iter();
        let named = |provider: &&Value| provider["name"] == logging["providers"][0]["name"];
        let file = &providers.find(named).unwrap()["envoyFileAccessLog"];
        json!({
            "name": "envoy.access_loggers.file",
            "filter": {"extension_filter": {
                "name": "envoy.access_loggers.extension_filters.cel",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
                    "expression": logging["filter"]["expression"],
                },
            }},
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                "path": file["path"],
                "log_format": {"json_format": file["logFormat"]["labels"]},
            },
        })
    }
}

/// `NAMESPACE.NAME`, as Istio names a plugin.
fn resource(plugin: &Value) -> String {
    let metadata = &plugin["metadata"];
    format!(
        "{}.{}",
        text(&metadata["namespace"]),
        text(&metadata["name"])
    )
}

fn translated(plugin: &Value) -> Value {
    let spec = &plugin["spec"];
    let policy = match text(&spec["failStrategy"]) {
        "FAIL_OPEN" => "FAIL_OPEN",
        "FAIL_RELOAD" => "FAIL_RELOAD",
        _ => "FAIL_CLOSED",
    };
    let variables = json!({"ISTIO_META_WASM_PLUGIN_RESOURCE_VERSION": "1"});
    let vm = json!({"environment_variables": {"key_values": variables}});
    wasm(
        &resource(plugin),
        &spec["pluginConfig"],
        vm,
        ("failure_policy", json!(policy)),
    )
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// A duration of Istio's, in milliseconds or seconds, as Envoy writes it.
fn seconds(value: &Value) -> String {
    let text = text(value);
    match text.strip_suffix("ms") {
        Some(milliseconds) => format!("0.{:0>3}s", milliseconds),
        None => text.to_owned(),
    }
}

fn whole_seconds(value: &Value) -> u64 {
    text(value).trim_end_matches('s').parse().unwrap()
}
