//! Istio: our manifests in an Envoy as Istio would configure it, gateway and sidecar proxy.

use kit::config::{EdgeConfig, Endpoint, insert};
use kit::envoy::validate;
use kit::pages::Page;
use kit::{Envoy, Redis, Request, Upstream, eventually, parts};
use serde_json::{Value, json};

use super::istio_translation::{GATEWAY, INBOUND, Manifests};
use super::{Proxy, start};
use crate::common::{CANARY, LIMIT, cli, header_names, until_metric, until_status};
use crate::redis::sidecar_on;

const GOOD: &str = "203.0.113.5";

pub fn manifests() -> Manifests {
    let page = Page::read("docs/install-istio.md").unwrap();
    let mesh = page.yaml("The access log").unwrap();
    let providers = mesh["meshConfig"]["extensionProviders"].clone();
    // The page shows the annotation twice, the second time with what alerts need.
    let (first, whole) = (proxy(&page, "The client's address"), proxy(&page, "Alerts"));
    assert_eq!(first["gatewayTopology"], whole["gatewayTopology"]);
    Manifests::read(providers, whole)
}

/// The annotation for gateways' pods under a heading.
fn proxy(page: &Page, heading: &str) -> Value {
    let pod = page.yaml(heading).unwrap();
    let text = &pod["metadata"]["annotations"]["proxy.istio.io/config"];
    serde_norway::from_str(text.as_str().unwrap()).unwrap()
}

pub fn config(manifests: &Manifests, mode: &str) -> EdgeConfig {
    let mut config = EdgeConfig::of(manifests.bootstrap()).unwrap();
    for listener in [GATEWAY, INBOUND] {
        let filters = &mut config.manager(listener).unwrap()["http_filters"];
        let settings = &mut filters[0]["typed_config"]["config"]["configuration"]["value"];
        let mut read: Value = serde_json::from_str(settings.as_str().unwrap()).unwrap();
        insert(&mut read, "mode", json!(mode));
        *settings = json!(read.to_string());
    }
    config
}

async fn asked(proxy: &Proxy, listener: &str, request: Request) -> kit::Response {
    let to = proxy.envoy.listener(listener).await.unwrap();
    request.send(to).await.unwrap()
}

#[test]
fn the_plugin_asks_the_cluster_that_istio_makes_of_the_service_and_only_monitors() {
    let manifests = manifests();
    for rendered in [&manifests.gateway, &manifests.sidecar] {
        let settings = &rendered.one("WasmPlugin", "portcullis")["spec"]["pluginConfig"];
        assert_eq!(settings["sidecar"]["cluster"], manifests.cluster_name());
        assert_eq!(
            settings["sidecar"]["poll_cluster"],
            manifests.cluster_name()
        );
        assert_eq!(settings["mode"], "monitor");
        assert_eq!(settings["strip"], "filter");
        let image = &rendered.one("WasmPlugin", "portcullis")["spec"]["url"];
        let ours = format!(
            "oci://ghcr.io/portcullis/filter:{}",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(*image, ours);
    }
}

#[tokio::test]
async fn a_listed_client_is_refused_at_the_gateway_and_at_the_sidecar_proxy() {
    let manifests = manifests();
    let config = config(&manifests, "enforce");
    validate(&config, &[]).unwrap();
    let proxy = start(config, GATEWAY, &[&manifests.cluster_name()]).await;
    for listener in [GATEWAY, INBOUND] {
        for (forwarded, status) in [
            (CANARY.to_owned(), 403),
            (format!("{GOOD}, {CANARY}"), 403),
            (format!("{CANARY}, {GOOD}"), 200),
        ] {
            let request = Request::get("/").from_client(&forwarded);
            let answer = asked(&proxy, listener, request).await;
            assert_eq!(answer.status, status, "{listener}: {forwarded}");
        }
    }
    let forged = Request::get("/").from_client(GOOD);
    let forged = forged.header("x-portcullis-band", "clean");
    let reached = header_names(&asked(&proxy, GATEWAY, forged).await.json());
    assert!(
        !reached.iter().any(|name| name.starts_with("x-portcullis")),
        "{reached:?}"
    );
    // Istio's bootstrap has no tags of ours.
    let name = "portcullis_verdicts_total_action_deny_source_snapshot_mode_enforce";
    assert!(until_metric(&proxy.envoy, name, &[], 1.0).await);
    let logged = eventually(LIMIT, || proxy.envoy.access_log().len() >= 4).await;
    let log = proxy.envoy.access_log();
    assert!(logged, "{log:?}");
    assert!(
        log.iter()
            .all(|line| line["verdict"] == "deny" && line["client"] == CANARY),
        "{log:?}"
    );
}

#[tokio::test]
async fn a_sidecar_that_is_no_service_of_the_cluster_is_asked_by_its_host_name() {
    let manifests = manifests().outside();
    let host = manifests.cluster_name();
    assert_eq!(host, "outbound|8970||portcullis.example.com");
    let plugin = manifests.gateway.one("WasmPlugin", "portcullis");
    let settings = &plugin["spec"]["pluginConfig"]["sidecar"];
    assert_eq!(
        (&settings["cluster"], &settings["poll_cluster"]),
        (&json!(host), &json!(host))
    );
    let config = config(&manifests, "enforce");
    validate(&config, &[]).unwrap();
    let proxy = start(config, GATEWAY, &[&host]).await;
    for (client, status) in [(CANARY, 403), (GOOD, 200)] {
        let request = Request::get("/").from_client(client);
        assert_eq!(
            asked(&proxy, GATEWAY, request).await.status,
            status,
            "{client}"
        );
    }
}

#[tokio::test]
async fn of_several_sidecars_a_gateway_asks_one_and_without_probes_goes_over_when_that_is_gone() {
    let manifests = manifests();
    let (mut config, cluster) = (config(&manifests, "enforce"), manifests.cluster_name());
    let redis = Redis::start().await.unwrap();
    let upstream = Upstream::start().await.unwrap();
    let mut sidecars = [
        sidecar_on(&redis).start().await.unwrap(),
        sidecar_on(&redis).start().await.unwrap(),
    ];
    let [one, other] = sidecars.each_ref().map(|sidecar| sidecar.addresses().edge);
    config.on_any_port().unwrap();
    config.set_cluster(&cluster, &one, None).unwrap();
    config.add_endpoint(&cluster, &other, None).unwrap();
    let shop = Endpoint::Tcp(upstream.address());
    config.set_cluster("shop", &shop, None).unwrap();
    let builder = Envoy::with(config, &parts::envoy().unwrap()).edge(GATEWAY);
    let envoy = builder.start().await.unwrap();
    assert!(
        envoy.until_snapshot(LIMIT).await.unwrap(),
        "{}",
        envoy.log()
    );
    let asked = Request::get("/clusters").send(envoy.admin()).await.unwrap();
    let asked = sidecars.each_ref().map(|sidecar| {
        let count = format!("::{}::rq_total::", sidecar.edge());
        let text = asked.text();
        let line = text.lines().find_map(|line| line.split(&count).nth(1));
        line.unwrap().parse::<u32>().unwrap()
    });
    let chosen = usize::from(asked[0] == 0);
    assert_eq!(asked[1 - chosen], 0, "both were asked");
    sidecars[chosen].kill();
    cli(&sidecars[1 - chosen], &["ban", GOOD]).await;
    assert!(until_status(&envoy, GOOD, 403).await, "{}", envoy.log());
}

#[test]
fn a_wrong_setting_is_refused_by_its_name() {
    let config = config(&manifests(), "maybe");
    let refused = validate(&config, &[]).unwrap_err().to_string();
    let named = r#"mode: "maybe" is not one of monitor, enforce, off"#;
    assert!(refused.contains(named), "{refused}");
}
