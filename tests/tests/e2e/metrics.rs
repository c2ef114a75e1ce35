//! `/stats/prometheus` shows the names and labels of the contract.

use kit::prometheus;

use crate::common::{CANARY, Edge, LIMIT, sidecar_that_blocks, until_metric};

#[tokio::test]
async fn the_metrics_of_the_plugin_carry_their_labels() {
    let edge = Edge::start(sidecar_that_blocks(&[])).await;
    assert_eq!(edge.envoy.status_for(CANARY).await, 403);
    assert_eq!(edge.envoy.status_for("8.8.8.8").await, 200);
    let denied = ["action=\"deny\"", "source=\"snapshot\"", "mode=\"enforce\""];
    assert!(until_metric(&edge.envoy, "portcullis_verdicts_total", &denied, 1.0).await);
    for kind in ["kind=\"public\"", "kind=\"private\""] {
        let name = "portcullis_client_addresses_total";
        assert!(
            until_metric(&edge.envoy, name, &[kind], 1.0).await,
            "{kind}"
        );
    }
    let text = edge.envoy.metrics().await;
    for name in [
        "portcullis_snapshot_version_min",
        "portcullis_snapshot_built_timestamp_seconds",
        "portcullis_vms",
    ] {
        assert!(prometheus::has(&text, name), "{name} is missing");
    }
    let stray = text.lines().find(|line| {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        name.starts_with("portcullis_") && name.contains("_action_")
    });
    assert_eq!(stray, None, "labels stayed in the name");
    assert!(
        !text.contains(CANARY) && !text.contains("192_0_2_255"),
        "an address is a label"
    );
}

#[tokio::test]
async fn every_vm_counts_itself_once() {
    let edge = Edge::start_with(sidecar_that_blocks(&[]), |envoy| envoy.concurrency(2)).await;
    // Two workers and the main thread.
    let counted = kit::eventually_async(LIMIT, || async {
        edge.envoy.metric("portcullis_vms", &[]).await == 3.0
    });
    assert!(
        counted.await,
        "{}",
        edge.envoy.metric("portcullis_vms", &[]).await
    );
}

#[tokio::test]
async fn the_sidecar_counts_what_it_serves() {
    let edge = Edge::start(sidecar_that_blocks(&["198.51.100.0/24"])).await;
    edge.cli(&["ban", "203.0.113.5"]).await;
    assert_eq!(
        edge.sidecar
            .metric("portcullis_feed_entries", &["feed=\"listed\""])
            .await,
        2.0
    );
    let bans = ["origin=\"operator\"", "type=\"ban\""];
    assert_eq!(
        edge.sidecar.metric("portcullis_decisions", &bans).await,
        1.0
    );
    assert_eq!(edge.sidecar.metric("portcullis_build_info", &[]).await, 1.0);
}
