//! Alerts and boards where a mesh configures Envoy: what they ask of Envoy itself is there under the names that they
//! have, once a real Prometheus has relabelled it as the PodMonitors do. Envoy Gateway's proxies; Istio's are
//! [`super::istio_alerts`].

use std::collections::BTreeSet;
use std::time::Duration;

use kit::config::{EdgeConfig, insert};
use kit::prometheus_server::Targets;
use kit::{PrometheusServer, Request, eventually_async};
use serde_json::json;

use super::gateway_translation::{LISTENER, Manifests};
use super::{Proxy, envoy_gateway, start, start_unready};
use crate::common::{CANARY, LIMIT};
use crate::monitoring::documents::{alerts, panels, rules};

const BROKEN: &str = "/broken";
/// Of a filter of the shipped envoy.yaml that our manifests for meshes do not have.
const RATE_LIMIT: &str = "envoy_http_local_rate_limit_";

/// With a path that fails, and histograms that do not wait for Envoy's five seconds.
pub fn prepare(config: &mut EdgeConfig, listeners: &[&str]) {
    let root = config.at("").unwrap();
    insert(root, "stats_flush_interval", json!("0.1s"));
    let broken = json!({"match": {"path": BROKEN}, "direct_response": {"status": 503}});
    for listener in listeners {
        let manager = config.manager(listener).unwrap();
        let routes = &mut manager["route_config"]["virtual_hosts"][0]["routes"];
        routes.as_array_mut().unwrap().insert(0, broken.clone());
    }
}

pub async fn prometheus_of(proxies: &[&Proxy]) -> PrometheusServer {
    // Port 15090 of Istio's pods leads there.
    let envoys = proxies.iter().map(|proxy| proxy.envoy.admin());
    let targets = Targets {
        envoys: envoys.collect(),
        ..Targets::default()
    };
    PrometheusServer::start(&targets).await.unwrap()
}

/// Clients of all kinds, until this is dropped.
pub async fn traffic(proxies: &[&Proxy], listeners: &[&str]) {
    loop {
        for (proxy, listener) in proxies
            .iter()
            .flat_map(|proxy| listeners.iter().map(move |one| (proxy, one)))
        {
            let to = proxy.envoy.listener(listener).await.unwrap();
            for (path, client) in [("/", CANARY), ("/", "8.8.8.8"), (BROKEN, "8.8.8.8")] {
                let request = Request::get(path).from_client(client);
                request.send(to).await.unwrap();
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub async fn until_some(prometheus: &PrometheusServer, expression: &str) {
    let some = || async { !prometheus.query(expression).await.unwrap().is_empty() };
    assert!(eventually_async(LIMIT, some).await, "nothing: {expression}");
}

/// An alert that fires for this proxy.
pub fn firing(alert: &str, proxy: &Proxy) -> String {
    assert!(alerts().iter().any(|one| one.alert() == Some(alert)));
    let instance = proxy.envoy.admin();
    format!("ALERTS{{alertname=\"{alert}\", instance=\"{instance}\"}}")
}

/// What alerts and boards ask of Envoy itself, but for what begins so.
pub fn asked(without: &[&str]) -> BTreeSet<String> {
    let of_rules = rules().into_iter().map(|rule| rule.expression().to_owned());
    let of_boards = panels().into_iter().flat_map(|panel| panel.expressions);
    let mut asked: BTreeSet<_> = of_rules
        .chain(of_boards)
        .flat_map(|expression| selectors(&expression))
        .collect();
    let left_out = [&[RATE_LIMIT], without].concat();
    asked.retain(|one| !left_out.iter().any(|start| one.starts_with(start)));
    assert!(asked.len() > 8, "{asked:?}");
    asked
}

/// The metrics of Envoy's own in an expression, each with its labels.
fn selectors(expression: &str) -> BTreeSet<String> {
    let is_word = |sign: char| sign.is_ascii_alphanumeric() || sign == '_';
    let mut found = BTreeSet::new();
    let mut rest = expression;
    while let Some(before) = rest.find("envoy_") {
        let (_, from) = rest.split_at(before);
        let end = from.find(|sign| !is_word(sign)).unwrap_or(from.len());
        let (name, after) = from.split_at(end);
        let labels = match after.strip_prefix('{') {
            Some(_) => after.find('}').map_or(after.len(), |at| at + 1),
            None => 0,
        };
        let (labels, next) = after.split_at(labels);
        // Else it is a label to sum by.
        if !labels.is_empty() || after.starts_with('[') {
            found.insert(format!("{name}{labels}"));
        }
        rest = next;
    }
    found
}

#[test]
fn metrics_are_found_with_their_labels_and_labels_are_none() {
    let expression =
        "sum by (envoy_x) (rate(envoy_a{envoy_b=~\"c|d\"}[5m])) / increase(envoy_e_f[1m])";
    let expected = ["envoy_a{envoy_b=~\"c|d\"}", "envoy_e_f"];
    assert_eq!(
        selectors(expression),
        BTreeSet::from(expected.map(str::to_owned))
    );
}

#[tokio::test]
async fn alerts_and_boards_find_what_they_ask_for_in_envoy_gateway_and_a_bypassed_plugin_is_told() {
    let clusters = ["portcullis", "portcullis_poll"];
    let prepared = || {
        let mut config = envoy_gateway::trusting(&Manifests::read(), "enforce", None);
        prepare(&mut config, &[LISTENER]);
        config
    };
    let proxy = start(prepared(), LISTENER, &clusters).await;
    let mut without_plugin = prepared();
    let filters = &mut without_plugin.manager(LISTENER).unwrap()["http_filters"];
    filters.as_array_mut().unwrap().remove(0);
    let routes = "/route_config/virtual_hosts/0/routes/1";
    let manager = without_plugin.manager(LISTENER).unwrap();
    let route = manager.pointer_mut(routes).unwrap().as_object_mut();
    route.unwrap().remove("typed_per_filter_config").unwrap();
    let bypassed = start_unready(without_plugin, LISTENER, &clusters).await;
    let proxies = [&proxy, &bypassed];
    let prometheus = prometheus_of(&proxies).await;
    // It never replaces a VM, and hands the plugin over with its listener.
    let never = [
        "envoy_wasm_portcullis_vm_reload_",
        "envoy_extension_config_discovery_",
    ];
    let checks = async {
        for selector in &asked(&never) {
            until_some(&prometheus, selector).await;
        }
        let told = firing("PortcullisVerdictsFlat", &bypassed);
        until_some(&prometheus, &told).await;
        let of_the_other = firing("PortcullisVerdictsFlat", &proxy);
        let not_told = prometheus.query(&of_the_other).await.unwrap();
        assert!(not_told.is_empty(), "{not_told:?}");
    };
    tokio::select! {
        () = checks => {}
        () = traffic(&proxies, &[LISTENER]) => {}
    }
}
