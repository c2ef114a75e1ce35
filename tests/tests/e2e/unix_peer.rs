//! Unix sockets: as the client's way in, which has no address, and between Envoy and the sidecar.

use kit::{Connection, Envoy, Request, Upstream};
use serde_json::json;

use crate::common::{CANARY, Edge, sidecar_that_blocks, until_metric, until_status};

#[tokio::test]
async fn a_client_on_a_unix_socket_follows_the_failure_policy_and_is_counted() {
    for (policy, status) in [("open", 200), ("closed", 503)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edge.sock");
        let upstream = Upstream::start().await.unwrap();
        let sidecar = sidecar_that_blocks(&[]).start().await.unwrap();
        let builder = Envoy::builder()
            .unwrap()
            .upstream(upstream.address())
            .unwrap();
        let builder = builder.plugin(json!({"failure": policy})).unwrap();
        let pipe = json!({"pipe": {"path": path}});
        let builder = builder
            .change(|config| {
                config.listener("edge")?["address"] = pipe;
                // Without a trusted hop the peer itself is the client.
                config.set_hops(0)
            })
            .unwrap();
        let envoy = builder
            .sidecar(&sidecar.addresses())
            .unwrap()
            .start()
            .await
            .unwrap();
        let mut connection = Connection::open_unix(&path).await.unwrap();
        let answer = connection
            .send(&Request::get("/").from_client(CANARY))
            .await
            .unwrap();
        assert_eq!(answer.status, status, "{policy}: {}", envoy.log());
        let label = format!("policy=\"{policy}\"");
        let labels = [label.as_str(), "cause=\"address\""];
        assert!(
            until_metric(&envoy, "portcullis_failures_total", &labels, 1.0).await,
            "{policy}"
        );
        let missing = ["kind=\"missing\""];
        let kinds = "portcullis_client_addresses_total";
        assert!(until_metric(&envoy, kinds, &missing, 1.0).await, "{policy}");
    }
}

#[tokio::test]
async fn the_sidecar_can_be_reached_by_a_unix_socket() {
    let edge = Edge::start(sidecar_that_blocks(&[]).on_unix_socket()).await;
    edge.cli(&["ban", "203.0.113.5"]).await;
    assert!(until_status(&edge.envoy, "203.0.113.5", 403).await);
}
