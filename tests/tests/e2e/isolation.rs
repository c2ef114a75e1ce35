//! Two plugins in one Envoy, each with a sidecar of its own, keep their data apart.

use kit::config::{EdgeConfig, Endpoint};
use kit::snapshot::{Draft, Line};
use kit::{Envoy, KitError, RawSidecar, Request, Upstream, eventually_async};
use serde_json::{Value, json};

use crate::common::LIMIT;

const ONLY_A: &str = "203.0.113.1";
const ONLY_B: &str = "203.0.113.2";

/// A second listener with a second plugin and clusters of its own. Both plugins leave `vm_id` blank, as
/// Istio does, so that they share one space of shared data.
fn add_second_edge(config: &mut EdgeConfig) -> Result<(), KitError> {
    *config.plugin_at("/vm_config/vm_id")? = json!("");
    for cluster in ["portcullis", "portcullis_poll"] {
        let mut copy = config.cluster(cluster)?.clone();
        copy["name"] = json!(format!("{cluster}_b"));
        copy["load_assignment"]["cluster_name"] = copy["name"].clone();
        push(config, "/static_resources/clusters", copy)?;
    }
    let mut plugin = config.plugin().clone();
    *plugin.at("/name")? = json!("portcullis_b");
    let sidecar = &mut plugin.settings()?["sidecar"];
    sidecar["cluster"] = json!("portcullis_b");
    sidecar["poll_cluster"] = json!("portcullis_poll_b");
    let mut listener = config.listener("edge")?.clone();
    listener["name"] = json!("edge_b");
    let filters = "/filter_chains/0/filters/0/typed_config/http_filters/1";
    *listener.pointer_mut(filters).unwrap() = plugin.as_filter();
    push(config, "/static_resources/listeners", listener)
}

fn push(config: &mut EdgeConfig, place: &str, value: Value) -> Result<(), KitError> {
    config.at(place)?.as_array_mut().unwrap().push(value);
    Ok(())
}

#[tokio::test]
async fn two_plugins_with_different_sidecars_do_not_see_each_others_data() {
    let upstream = Upstream::start().await.unwrap();
    let (a, b) = (
        RawSidecar::start().await.unwrap(),
        RawSidecar::start().await.unwrap(),
    );
    let builder = Envoy::builder()
        .unwrap()
        .upstream(upstream.address())
        .unwrap();
    let builder = builder
        .sidecar(&a.addresses())
        .unwrap()
        .change(add_second_edge)
        .unwrap();
    let to_b = |config: &mut EdgeConfig| {
        let Endpoint::Tcp(address) = b.addresses().edge else {
            unreachable!()
        };
        config.set_cluster("portcullis_b", &Endpoint::Tcp(address), None)?;
        config.set_cluster("portcullis_poll_b", &Endpoint::Tcp(address), None)
    };
    let envoy = builder.change(to_b).unwrap().start().await.unwrap();
    let edge_b = envoy.listener("edge_b").await.unwrap();
    // The same version, so that only the space they lie in keeps them apart.
    a.publish(
        Draft::version(7)
            .base(Line::listed(ONLY_A).unwrap())
            .build()
            .unwrap(),
    );
    b.publish(
        Draft::version(7)
            .base(Line::listed(ONLY_B).unwrap())
            .build()
            .unwrap(),
    );
    let status = |edge, client: &'static str| async move {
        let answer = Request::get("/").from_client(client).send(edge).await;
        answer.map_or(0, |response| response.status)
    };
    for (edge, refused, passed) in [(envoy.edge(), ONLY_A, ONLY_B), (edge_b, ONLY_B, ONLY_A)] {
        let has = eventually_async(LIMIT, || async { status(edge, refused).await == 403 });
        assert!(
            has.await,
            "{edge} does not refuse {refused}: {}",
            envoy.log()
        );
        assert_eq!(
            status(edge, passed).await,
            200,
            "{edge} sees the other's data"
        );
    }
}
