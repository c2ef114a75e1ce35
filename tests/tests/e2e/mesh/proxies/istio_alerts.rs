//! [`super::alerts`] in Istio: what they ask for is there once the annotation of docs/install-istio.md exports it.

use kit::config::{EdgeConfig, exchange, insert};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::alerts::{asked, firing, prepare, prometheus_of, traffic, until_some};
use super::istio::{config, manifests};
use super::istio_translation::{GATEWAY, INBOUND, Manifests};
use super::{start, start_unready};

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

fn prepared(manifests: &Manifests) -> EdgeConfig {
    let mut config = config(manifests, "enforce");
    prepare(&mut config, &[GATEWAY, INBOUND]);
    let node = json!({"id": "gateway", "cluster": "gateway"});
    insert(config.at("").unwrap(), "node", node);
    for listener in [GATEWAY, INBOUND] {
        let manager = config.manager(listener).unwrap();
        // The alert on VMs that end is for this strategy: the others replace none.
        let plugin = &mut manager["http_filters"][0]["typed_config"]["config"];
        insert(plugin, "failure_policy", json!("FAIL_RELOAD"));
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

#[tokio::test]
async fn whatever_alerts_and_boards_ask_of_envoy_is_there_and_a_refused_setting_is_told() {
    let manifests = both(manifests());
    let mut config = prepared(&manifests);
    let apart = Apart::from(&mut config);
    let proxy = start(config, GATEWAY, &[&manifests.cluster_name()]).await;
    let proxies = [&proxy];
    let prometheus = prometheus_of(&proxies).await;
    let checks = async {
        for selector in &asked(&[]) {
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
        let told = firing("PortcullisPluginConfigRefused", &proxy);
        until_some(&prometheus, &told).await;
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
    let fires = |proxy| firing("PortcullisVerdictsFlat", proxy);
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
