//! The canary of a sidecar that is no neighbour of its gateway: believed or not, by what the gateway is told of the
//! proxies before it. It comes from ::1 here, where it has no address of its own to come from.

use std::net::{IpAddr, Ipv6Addr};

use kit::config::EdgeConfig;
use kit::eventually_async;
use serde_json::json;

use super::gateway_translation::{self, Manifests};
use super::istio_translation::GATEWAY;
use super::{envoy_gateway, istio, start_at};
use crate::common::LIMIT;

const HERE: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// What becomes of the canary at the listener.
async fn becomes(expected: &str, config: EdgeConfig, listener: &str, clusters: &[&str]) {
    let proxy = start_at(HERE, config, listener, clusters).await;
    assert!(proxy.envoy.until_snapshot(LIMIT).await.unwrap());
    let (sidecar, edge) = (&proxy.sidecar, proxy.envoy.edge());
    let before = sidecar.config();
    let with_canary = format!("{before}\n[canary]\nedge = \"http://{edge}\"\ninterval = \"1s\"\n");
    sidecar.rewrite(&with_canary).unwrap();
    let state = format!("state=\"{expected}\"");
    let seen = || async { sidecar.metric("portcullis_canary_state", &[&state]).await == 1.0 };
    assert!(
        eventually_async(LIMIT, seen).await,
        "{expected}: {}",
        sidecar.log()
    );
}

#[tokio::test]
async fn a_gateway_of_istios_refuses_it_if_it_counts_proxies_before_it_and_passes_it_if_it_counts_none()
 {
    for (proxies, expected) in [(1, "refused"), (2, "refused"), (0, "passed")] {
        let mut manifests = istio::manifests();
        manifests.proxy["gatewayTopology"]["numTrustedProxies"] = json!(proxies);
        let config = istio::config(&manifests, "enforce");
        becomes(expected, config, GATEWAY, &[&manifests.cluster_name()]).await;
    }
}

#[tokio::test]
async fn envoy_gateway_refuses_it_if_it_trusts_the_range_of_the_pods() {
    let clusters = ["portcullis", "portcullis_poll"];
    let listener = gateway_translation::LISTENER;
    for (pods, expected) in [(Some("::1/128"), "refused"), (None, "passed")] {
        let config = envoy_gateway::trusting(&Manifests::read(), "enforce", pods);
        becomes(expected, config, listener, &clusters).await;
    }
}
