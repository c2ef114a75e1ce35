//! Whose word counts, across base and overlay.

use kit::snapshot::{Draft, Line};

use crate::common::{CANARY, Edge, RawEdge, sidecar_that_blocks, until_status};

const RANGE: &str = "198.51.0.0/16";
const INSIDE: &str = "198.51.100.7";
const NEIGHBOUR: &str = "198.51.100.8";

#[tokio::test]
async fn an_allow_in_the_base_beats_a_wider_listing_in_the_overlay() {
    let edge = RawEdge::start().await;
    let draft = Draft::version(1)
        .base(Line::allowed(INSIDE).unwrap())
        .overlay(Line::listed(RANGE).unwrap());
    edge.sidecar.publish(draft.build().unwrap());
    assert!(until_status(&edge.envoy, NEIGHBOUR, 403).await);
    assert_eq!(edge.envoy.status_for(INSIDE).await, 200);
}

#[tokio::test]
async fn an_allow_in_the_overlay_beats_a_wider_listing_in_the_base() {
    let edge = RawEdge::start().await;
    let draft = Draft::version(1)
        .base(Line::listed(RANGE).unwrap())
        .overlay(Line::allowed(INSIDE).unwrap());
    edge.sidecar.publish(draft.build().unwrap());
    assert!(until_status(&edge.envoy, NEIGHBOUR, 403).await);
    assert_eq!(edge.envoy.status_for(INSIDE).await, 200);
}

#[tokio::test]
async fn a_ban_of_one_address_beats_an_older_listing_and_loses_to_an_allow_of_its_range() {
    let edge = RawEdge::start().await;
    let draft = Draft::version(1)
        .base(Line::allowed(RANGE).unwrap())
        .overlay(Line::banned(INSIDE, None).unwrap())
        .overlay(Line::listed(CANARY).unwrap());
    edge.sidecar.publish(draft.build().unwrap());
    assert!(until_status(&edge.envoy, CANARY, 403).await);
    assert_eq!(
        edge.envoy.status_for(INSIDE).await,
        200,
        "operator allow outranks operator ban"
    );
}

#[tokio::test]
async fn an_operators_allow_survives_a_feed_that_lists_its_range_later() {
    let edge = Edge::start(sidecar_that_blocks(&[])).await;
    edge.cli(&["allow", INSIDE]).await;
    let list = edge.sidecar.folder().join("listed.list");
    std::fs::write(list, format!("{CANARY}\n{RANGE}\n")).unwrap();
    assert!(until_status(&edge.envoy, NEIGHBOUR, 403).await);
    assert_eq!(edge.envoy.status_for(INSIDE).await, 200);
    edge.cli(&["unallow", INSIDE]).await;
    assert!(until_status(&edge.envoy, INSIDE, 403).await);
}

#[tokio::test]
async fn an_operators_ban_beats_a_list_of_the_trusted() {
    let sidecar = sidecar_that_blocks(&[INSIDE, NEIGHBOUR]);
    let edge = Edge::start(
        sidecar
            .list("friends", "allow = true", "plain", RANGE)
            .unwrap(),
    )
    .await;
    assert_eq!(
        edge.envoy.status_for(INSIDE).await,
        200,
        "a list beats the trusted"
    );
    edge.cli(&["ban", INSIDE]).await;
    assert!(until_status(&edge.envoy, INSIDE, 403).await);
    assert_eq!(edge.envoy.status_for(NEIGHBOUR).await, 200);
}
