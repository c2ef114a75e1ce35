//! Envoy Gateway: our manifests in an Envoy as Envoy Gateway would configure it.

use kit::config::{EdgeConfig, insert};
use kit::envoy::validate;
use kit::pages::Page;
use kit::{Connection, Request};
use serde_json::{Value, json};

use super::gateway_translation::{LISTENER, Manifests};
use super::start;
use crate::common::{CANARY, header_names, until_metric};

const GOOD: &str = "203.0.113.5";
/// A load balancer in the ranges that the page trusts: the test lets this address of this machine stand for one.
const BALANCER: &str = "127.1.0.1";

fn config(manifests: &Manifests, mode: &str) -> EdgeConfig {
    trusting(manifests, mode, None)
}

/// With a further range in what the page trusts.
pub fn trusting(manifests: &Manifests, mode: &str, range: Option<&str>) -> EdgeConfig {
    let page = Page::read("docs/install-envoy-gateway.md").unwrap();
    let mut detection = page.yaml("The client's address").unwrap()["spec"].clone();
    let trusted = &mut detection["clientIPDetection"]["xForwardedFor"]["trustedCIDRs"];
    let trusted = trusted.as_array_mut().unwrap();
    trusted.push(json!(format!("{BALANCER}/32")));
    trusted.extend(range.map(|range| json!(range)));
    let mut config = EdgeConfig::of(manifests.bootstrap(&detection)).unwrap();
    let filters = &mut config.manager(LISTENER).unwrap()["http_filters"];
    let settings = &mut filters[0]["typed_config"]["config"]["configuration"]["value"];
    let mut read: Value = serde_json::from_str(settings.as_str().unwrap()).unwrap();
    insert(&mut read, "mode", json!(mode));
    *settings = json!(read.to_string());
    config
}

#[test]
fn the_added_clusters_are_the_shipped_ones_by_name_and_the_plugin_asks_them() {
    let manifests = Manifests::read();
    let mut shipped = EdgeConfig::shipped().unwrap();
    for mut cluster in manifests.clusters() {
        let name = cluster["name"].as_str().unwrap().to_owned();
        let address = cluster.pointer_mut(
            "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address/address",
        );
        let host = address.unwrap();
        assert_eq!(*host, "portcullis.portcullis.svc.cluster.local");
        *host = json!("127.0.0.1");
        insert(&mut cluster, "type", json!("STATIC"));
        assert_eq!(cluster, *shipped.cluster(&name).unwrap(), "{name}");
    }
    let settings = &manifests.plugin()["config"];
    assert_eq!(settings["sidecar"]["cluster"], "portcullis");
    assert_eq!(settings["sidecar"]["poll_cluster"], "portcullis_poll");
    assert_eq!(settings["mode"], "monitor");
    let image = &manifests.plugin()["code"]["image"]["url"];
    let ours = format!("ghcr.io/portcullis/filter:{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(*image, ours);
}

#[tokio::test]
async fn a_listed_client_of_the_gateway_is_refused_and_nobody_is_believed_but_the_balancer() {
    let config = config(&Manifests::read(), "enforce");
    validate(&config, &[]).unwrap();
    let proxy = start(config, LISTENER, &["portcullis", "portcullis_poll"]).await;
    for (from, forwarded, status) in [
        (BALANCER, CANARY.to_owned(), 403),
        (BALANCER, format!("{CANARY}, {GOOD}"), 200),
        ("127.0.0.1", CANARY.to_owned(), 200),
        ("127.88.88.88", GOOD.to_owned(), 403),
    ] {
        let edge = proxy.envoy.edge();
        let mut connection = Connection::open_from(from.parse().unwrap(), edge)
            .await
            .unwrap();
        let request = Request::get("/").from_client(&forwarded);
        let request = request.header("x-portcullis-band", "clean");
        let answer = connection.send(&request).await.unwrap();
        assert_eq!(answer.status, status, "{from}: {forwarded}");
        let reached = header_names(&answer.json());
        assert!(
            !reached.iter().any(|name| name.starts_with("x-portcullis")),
            "{reached:?}"
        );
    }
    let name = "portcullis_verdicts_total_action_deny_source_snapshot_mode_enforce";
    assert!(until_metric(&proxy.envoy, name, &[], 1.0).await);
}

#[test]
fn a_wrong_setting_is_refused_by_its_name() {
    let mut config = config(&Manifests::read(), "maybe");
    // Envoy Gateway would pass all requests then; Envoy itself says why.
    let filters = &mut config.manager(LISTENER).unwrap()["http_filters"];
    filters[0]["typed_config"]["config"]["fail_open"] = json!(false);
    let refused = validate(&config, &[]).unwrap_err().to_string();
    let named = r#"mode: "maybe" is not one of monitor, enforce, off"#;
    assert!(refused.contains(named), "{refused}");
}
