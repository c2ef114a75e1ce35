//! What survives a crash of the sidecar, and the loss of its store.

use crate::common::{CANARY, Edge, cli, sidecar_that_blocks, until_status};

const CLIENT: &str = "203.0.113.5";

#[tokio::test]
async fn decisions_survive_kill_9() {
    let mut edge = Edge::start(sidecar_that_blocks(&[])).await;
    edge.cli(&["ban", CLIENT, "--reason", "tried the door"])
        .await;
    edge.cli(&["allow", "203.0.113.6"]).await;
    edge.sidecar.kill();
    edge.sidecar.restart().await.unwrap();
    let decisions = cli(&edge.sidecar, &["decisions"]).await;
    assert!(
        decisions.contains(CLIENT) && decisions.contains("tried the door"),
        "{decisions}"
    );
    assert!(decisions.contains("203.0.113.6"), "{decisions}");
    assert!(until_status(&edge.envoy, CLIENT, 403).await);
    edge.cli(&["unban", CLIENT]).await;
    assert!(until_status(&edge.envoy, CLIENT, 200).await);
}

#[tokio::test]
async fn a_sidecar_that_lost_its_store_takes_the_lead_again() {
    let mut edge = Edge::start(sidecar_that_blocks(&[])).await;
    edge.cli(&["ban", CLIENT]).await;
    assert!(until_status(&edge.envoy, CLIENT, 403).await);
    edge.sidecar.kill();
    std::fs::remove_dir_all(edge.sidecar.folder().join("store")).unwrap();
    edge.sidecar.restart().await.unwrap();
    assert!(
        until_status(&edge.envoy, CLIENT, 200).await,
        "{}",
        edge.envoy.log()
    );
    assert_eq!(edge.envoy.status_for(CANARY).await, 403);
}

#[tokio::test]
async fn it_ends_well_when_it_is_asked_to() {
    let mut edge = Edge::start(sidecar_that_blocks(&[])).await;
    assert!(edge.sidecar.terminate(), "{}", edge.sidecar.log());
}
