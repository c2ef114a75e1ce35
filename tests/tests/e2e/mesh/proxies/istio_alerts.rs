//! Alerts and boards in Istio: what they ask of Envoy itself is there under the names that they have, once the
//! annotation of docs/install-istio.md exports it and a real Prometheus has relabelled it as the PodMonitor does.

use std::collections::BTreeSet;
use std::time::Duration;

use kit::config::{EdgeConfig, exchange, insert};
use kit::prometheus_server::Targets;
use kit::{PrometheusServer, Request, eventually_async};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::istio::{config, manifests};
use super::istio_translation::{GATEWAY, INBOUND, Manifests};
use super::{Proxy, start, start_unready};
use crate::common::{CANARY, LIMIT};
use crate::monitoring::documents::{alerts, panels, rules};

const BROKEN: &str = "/broken";
/// Of a filter of the shipped envoy.yaml that our manifests for Istio do not have.
const NOT_HERE: &str = "envoy_http_local_rate_limit_";

/// A gateway and a sidecar proxy in one: its own pods would have the one regular expression or the other.
fn both(mut manifests: Manifests) -> Manifests {
    let regexes = &mut manifests.proxy["proxyStatsMatcher"]["inclusionRegexps"];
    let regexes = regexes.as_array_mut().unwrap();
    let of_gateway = regexes[0].as_str().unwrap();
    assert!(of_gateway.starts_with("http[.]outbound_"), "{of_gateway}");
    let of_sidecar = of_gateway.replace("outbound_", "inbound_");
    regexes.push(json!(of_sidecar));
    manifests
}

/// With a path that fails, and histograms that do not wait for Envoy's five seconds.
fn prepared(manifests: &Manifests) -> EdgeConfig {
    let mut config = config(manifests, "enforce");
    insert(
        config.at("").unwrap(),
        "stats_flush_interval",
        json!("0.1s"),
    );
    insert(
        config.at("").unwrap(),
        "node",
        json!({"id": "gateway", "cluster": "gateway"}),
    );
    let broken = json!({"match": {"path": BROKEN}, "direct_response": {"status": 503}});
    for listener in [GATEWAY, INBOUND] {
        let manager = config.manager(listener).unwrap();
        // The alert on VMs that end is for this strategy: the others replace none.
        let plugin = &mut manager["http_filters"][0]["typed_config"]["config"];
        insert(plugin, "failure_policy", json!("FAIL_RELOAD"));
        let routes = &mut manager["route_config"]["virtual_hosts"][0]["routes"];
        routes.as_array_mut().unwrap().insert(0, broken.clone());
    }
    config
}

/// Istio hands the plugin over apart from its listener; a file does so here.
struct Apart {
    folder: TempDir,
    resource: Value,
}

impl Apart {
    fn from(config: &mut EdgeConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let filter = &mut config.manager(GATEWAY).unwrap()["http_filters"][0];
        let mut resource = filter.clone();
        let kind = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig";
        insert(&mut resource, "@type", json!(kind));
        let apart = Self { folder, resource };
        let path = apart.send("enforce");
        *filter = json!({
            "name": filter["name"],
            "config_discovery": {
                "config_source": {
                    "resource_api_version": "V3",
                    "path_config_source": {"path": path, "watched_directory": {"path": apart.folder.path()}},
                },
                "type_urls": [filter["typed_config"]["@type"]],
            },
        });
        apart
    }

    fn send(&self, mode: &str) -> std::path::PathBuf {
        let mut resource = self.resource.clone();
        let settings = &mut resource["typed_config"]["config"]["configuration"]["value"];
        let mut read: Value = serde_json::from_str(settings.as_str().unwrap()).unwrap();
        insert(&mut read, "mode", json!(mode));
        *settings = json!(read.to_string());
        let text = json!({"resources": [resource]}).to_string();
        exchange(self.folder.path(), &text).unwrap()
    }
}

async fn prometheus_of(proxies: &[&Proxy]) -> PrometheusServer {
    // Port 15090 of Istio's pods leads there.
    let envoys = proxies.iter().map(|proxy| proxy.envoy.admin());
    let targets = Targets {
        envoys: envoys.collect(),
        ..Targets::default()
    };
    PrometheusServer::start(&targets).await.unwrap()
}

/// Clients of all kinds, until this is dropped.
async fn traffic(proxies: &[&Proxy], listeners: &[&str]) {
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

async fn until_some(prometheus: &PrometheusServer, expression: &str) {
    let some = || async { !prometheus.query(expression).await.unwrap().is_empty() };
    assert!(eventually_async(LIMIT, some).await, "nothing: {expression}");
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
async fn whatever_alerts_and_boards_ask_of_envoy_is_there_and_a_refused_setting_is_told() {
    let manifests = both(manifests());
    let mut config = prepared(&manifests);
    let apart = Apart::from(&mut config);
    let proxy = start(config, GATEWAY, &[&manifests.cluster_name()]).await;
    let proxies = [&proxy];
    let prometheus = prometheus_of(&proxies).await;
    let of_rules = rules().into_iter().map(|rule| rule.expression().to_owned());
    let of_boards = panels().into_iter().flat_map(|panel| panel.expressions);
    let asked: BTreeSet<_> = of_rules
        .chain(of_boards)
        .flat_map(|expression| selectors(&expression))
        .filter(|selector| !selector.starts_with(NOT_HERE))
        .collect();
    assert!(asked.len() > 8, "{asked:?}");
    let checks = async {
        for selector in &asked {
            until_some(&prometheus, selector).await;
        }
        for prefix in ["outbound_0.0.0.0_8080", "inbound_0.0.0.0_8080"] {
            let edge = format!(
                "envoy_http_downstream_rq_xx{{envoy_http_conn_manager_prefix=\"{prefix}\"}}"
            );
            until_some(&prometheus, &edge).await;
        }
        until_some(&prometheus, "instance:portcullis_edge_requests:rate5m > 0").await;
        apart.send("maybe");
        until_some(
            &prometheus,
            "ALERTS{alertname=\"PortcullisPluginConfigRefused\"}",
        )
        .await;
    };
    tokio::select! {
        () = checks => {}
        () = traffic(&proxies, &[GATEWAY, INBOUND]) => {}
    }
}

#[tokio::test]
async fn a_plugin_that_judges_nobody_is_told_of_where_the_annotation_is_and_stays_unseen_without_it()
 {
    let watched = manifests();
    let mut silent = manifests();
    silent.proxy["proxyStatsMatcher"] = Value::Null;
    let without_plugin = async |manifests: &Manifests| {
        let mut config = prepared(manifests);
        let filters = &mut config.manager(GATEWAY).unwrap()["http_filters"];
        filters.as_array_mut().unwrap().remove(0);
        start_unready(config, GATEWAY, &[&manifests.cluster_name()]).await
    };
    let (watched, silent) = (
        without_plugin(&watched).await,
        without_plugin(&silent).await,
    );
    let proxies = [&watched, &silent];
    let prometheus = prometheus_of(&proxies).await;
    let fires = |proxy: &Proxy| {
        format!(
            "ALERTS{{alertname=\"PortcullisVerdictsFlat\", instance=\"{}\"}}",
            proxy.envoy.admin()
        )
    };
    assert!(
        alerts()
            .iter()
            .any(|alert| alert.alert() == Some("PortcullisVerdictsFlat"))
    );
    let checks = async {
        until_some(&prometheus, &fires(&watched)).await;
        let unseen = prometheus.query(&fires(&silent)).await.unwrap();
        assert!(unseen.is_empty(), "{unseen:?}");
        let up = format!("up{{instance=\"{}\"}} == 1", silent.envoy.admin());
        until_some(&prometheus, &up).await;
    };
    tokio::select! {
        () = checks => {}
        () = traffic(&proxies, &[GATEWAY]) => {}
    }
}
