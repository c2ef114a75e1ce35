//! Our manifests at work in a real Envoy. No control plane runs here: `istio` and `envoy_gateway` write the configuration
//! that each would make of the manifests, as far as it matters to us, by what their documentation and sources say.

mod alerts;
mod canary;
mod envoy_gateway;
mod gateway_translation;
mod istio;
mod istio_alerts;
mod istio_statistics;
mod istio_translation;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use kit::config::{EdgeConfig, Endpoint, insert, socket};
use kit::{Envoy, Sidecar, Upstream, parts};
use serde_json::{Value, json};

use crate::common::{LIMIT, sidecar_that_blocks};

/// A translated proxy at work.
struct Proxy {
    envoy: Envoy,
    sidecar: Sidecar,
    _upstream: Upstream,
}

/// A bootstrap with these listeners and clusters, which leads to an upstream, and an administration interface.
fn bootstrap(listeners: Value, mut clusters: Vec<Value>) -> Value {
    clusters.push(json!({
        "name": "shop",
        "load_assignment": {"cluster_name": "shop", "endpoints": [{"lb_endpoints": [endpoint()]}]},
    }));
    json!({
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    })
}

fn endpoint() -> Value {
    json!({"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 1}}}})
}

fn listener(name: &str, manager: Value) -> Value {
    let mut typed = manager;
    let kind = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    insert(&mut typed, "@type", json!(kind));
    let name_of_manager = "envoy.filters.network.http_connection_manager";
    json!({
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": name_of_manager, "typed_config": typed}]}],
    })
}

/// A filter without settings, by its names.
fn filter(name: &str, kind: &str) -> Value {
    let kind = format!("type.googleapis.com/envoy.extensions.filters.http.{kind}");
    json!({"name": format!("envoy.filters.http.{name}"), "typed_config": {"@type": kind}})
}

/// The plugin as both hand it on: its settings as JSON text, its code where an agent or the control plane has put it.
fn wasm(name: &str, settings: &Value, vm: Value, policy: (&str, Value)) -> Value {
    let mut vm_config = vm;
    insert(&mut vm_config, "runtime", json!("envoy.wasm.runtime.v8"));
    let code = json!({"local": {"filename": parts::wasm().unwrap()}});
    insert(&mut vm_config, "code", code);
    let mut config = json!({
        "name": name,
        "configuration": {
            "@type": "type.googleapis.com/google.protobuf.StringValue",
            "value": settings.to_string(),
        },
        "vm_config": vm_config,
    });
    insert(&mut config, policy.0, policy.1);
    let kind = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
    json!({"@type": kind, "config": config})
}

/// Starts it between a sidecar and an upstream, and waits for its snapshot; `clusters` lead to the sidecar.
async fn start(config: EdgeConfig, edge: &str, clusters: &[&str]) -> Proxy {
    let proxy = start_unready(config, edge, clusters).await;
    let snapshot = proxy.envoy.until_snapshot(LIMIT).await.unwrap();
    assert!(snapshot, "{}", proxy.envoy.log());
    proxy
}

async fn start_unready(config: EdgeConfig, edge: &str, clusters: &[&str]) -> Proxy {
    start_at(Ipv4Addr::LOCALHOST.into(), config, edge, clusters).await
}

/// With the listener `edge` at an address of this machine.
async fn start_at(at: IpAddr, mut config: EdgeConfig, edge: &str, clusters: &[&str]) -> Proxy {
    let upstream = Upstream::start().await.unwrap();
    let sidecar = sidecar_that_blocks(&[]).start().await.unwrap();
    let addresses = sidecar.addresses();
    config.on_any_port().unwrap();
    let listener = config.listener(edge).unwrap();
    insert(listener, "address", socket(SocketAddr::new(at, 0)));
    for cluster in clusters {
        let probed = config
            .cluster(cluster)
            .unwrap()
            .get("health_checks")
            .is_some();
        let probes = addresses.probes.filter(|_| probed);
        let set = config.set_cluster(cluster, &addresses.edge, probes);
        set.unwrap();
    }
    let to = Endpoint::Tcp(upstream.address());
    config.set_cluster("shop", &to, None).unwrap();
    let builder = Envoy::with(config, &parts::envoy().unwrap()).edge(edge);
    let envoy = builder.start().await.unwrap();
    Proxy {
        envoy,
        sidecar,
        _upstream: upstream,
    }
}
