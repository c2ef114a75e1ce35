//! IPv6: neighbours are not each other, ranges have any length, and IPv4 inside is IPv4.

use crate::common::{Edge, sidecar_that_blocks, until_status};

const BANNED: &str = "2001:db8:1:2::66";
const NEIGHBOURS: [&str; 2] = ["2001:db8:1:2::67", "2001:db8:1:2:ffff::1"];

#[tokio::test]
async fn a_ban_of_one_address_leaves_its_neighbours_alone_whoever_comes_first() {
    let edge = Edge::start(sidecar_that_blocks(&[])).await;
    // Neighbours first: their clean verdict must not cover the one who is banned next.
    assert_eq!(edge.envoy.status_for(NEIGHBOURS[0]).await, 200);
    edge.cli(&["ban", BANNED]).await;
    assert!(until_status(&edge.envoy, BANNED, 403).await);
    for neighbour in NEIGHBOURS {
        assert_eq!(edge.envoy.status_for(neighbour).await, 200, "{neighbour}");
        assert_eq!(edge.envoy.status_for(BANNED).await, 403);
    }
}

#[tokio::test]
async fn a_range_shorter_than_64_is_refused_to_its_edges() {
    let edge = Edge::start(sidecar_that_blocks(&[
        "2001:db8:bad::/48",
        "2001:db8:c000::/35",
    ]))
    .await;
    for (address, status) in [
        ("2001:db8:bad::", 403),
        ("2001:db8:bad:ffff:ffff:ffff:ffff:ffff", 403),
        ("2001:db8:bac:ffff:ffff:ffff:ffff:ffff", 200),
        ("2001:db8:bae::", 200),
        ("2001:db8:c000::", 403),
        ("2001:db8:dfff:ffff:ffff:ffff:ffff:ffff", 403),
        ("2001:db8:e000::", 200),
    ] {
        assert_eq!(edge.envoy.status_for(address).await, status, "{address}");
    }
}

#[tokio::test]
async fn an_ipv4_address_is_the_same_client_however_ipv6_spells_it() {
    let edge = Edge::start(sidecar_that_blocks(&["203.0.113.7"])).await;
    for spelled in [
        "203.0.113.7",
        "::ffff:203.0.113.7",
        "::ffff:cb00:7107",
        "64:ff9b::203.0.113.7",
        "2002:cb00:7107::1",
        "2001:0:4136:e378:8000:63bf:34ff:8ef8",
    ] {
        assert_eq!(edge.envoy.status_for(spelled).await, 403, "{spelled}");
    }
    assert_eq!(edge.envoy.status_for("::ffff:203.0.113.8").await, 200);
}
