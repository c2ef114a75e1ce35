//! The way over from an ext_authz service: both filters at work as docs/from-ext-authz.md has them.

use kit::config::{EdgeConfig, Endpoint, insert};
use kit::pages::Page;
use kit::{Envoy, KitError, Sidecar, Upstream, eventually_async};
use serde_json::{Value, json};

use crate::common::{LIMIT, sidecar_that_blocks, until_metric};

const LISTED: &str = "198.51.100.23";
const PAGE: &str = "docs/from-ext-authz.md";

/// The filters of the page.
fn filters() -> Vec<Value> {
    let page = Page::read(PAGE).unwrap();
    let blocks = page.blocks().unwrap();
    let block = blocks
        .iter()
        .find(|block| block.language == "yaml")
        .unwrap();
    serde_norway::from_str(&block.text).unwrap()
}

/// The page's filters in place of the plugin alone, and the cluster that they name.
fn put_in(config: &mut EdgeConfig, service: &Upstream) -> Result<(), KitError> {
    let manager = config.hcm()?;
    let shipped = manager["http_filters"].as_array().unwrap().clone();
    let both = shipped
        .into_iter()
        .flat_map(|filter| match filter["name"] == "portcullis" {
            true => filters(),
            false => vec![filter],
        });
    insert(manager, "http_filters", both.collect());
    let mut cluster = config.cluster("upstream")?.clone();
    insert(&mut cluster, "name", json!("authz"));
    insert(
        &mut cluster["load_assignment"],
        "cluster_name",
        json!("authz"),
    );
    let clusters = config.at("/static_resources/clusters")?;
    clusters.as_array_mut().unwrap().push(cluster);
    config.set_cluster("authz", &Endpoint::Tcp(service.address()), None)
}

#[tokio::test]
async fn portcullis_and_the_service_it_replaces_stand_beside_each_other_until_it_decides() {
    let (service, upstream) = (
        Upstream::start().await.unwrap(),
        Upstream::start().await.unwrap(),
    );
    let sidecar: Sidecar = sidecar_that_blocks(&[LISTED]).start().await.unwrap();
    let builder = Envoy::builder()
        .unwrap()
        .upstream(upstream.address())
        .unwrap();
    let builder = builder.sidecar(&sidecar.addresses()).unwrap();
    let builder = builder.plugin(json!({"mode": "monitor"})).unwrap();
    let builder = builder.change(|config| put_in(config, &service)).unwrap();
    let envoy = builder.start().await.unwrap();
    assert!(
        envoy.until_snapshot(LIMIT).await.unwrap(),
        "{}",
        envoy.log()
    );

    // In monitor both are asked, and what would be refused is counted.
    assert_eq!(envoy.status_for(LISTED).await, 200, "{}", envoy.log());
    assert_eq!(service.served(), 1);
    let would_deny = ["action=\"deny\"", "mode=\"monitor\""];
    assert!(until_metric(&envoy, "portcullis_verdicts_total", &would_deny, 1.0).await);

    // Then it refuses, before the service is asked.
    envoy.push_plugin(json!({"mode": "enforce"})).await.unwrap();
    let refused = || async { envoy.status_for(LISTED).await == 403 };
    assert!(eventually_async(LIMIT, refused).await, "{}", envoy.log());
    let asked = service.served();
    assert_eq!(envoy.status_for(LISTED).await, 403);
    assert_eq!(service.served(), asked);
    assert_eq!(envoy.status_for("8.8.8.8").await, 200);
    assert_eq!(service.served(), asked + 1);
    // The name under which the page compares both.
    let page = Page::read(PAGE).unwrap();
    let name = "envoy_http_ext_authz_denied";
    assert!(page.text.contains(name) && envoy.metrics().await.contains(name));
}
