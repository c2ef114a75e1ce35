//! A database on the sidecar's disk: the proxy asks about strangers, and what it says counts at the edge.

use kit::mmdb::{Mmdb, Value};

use crate::common::{Edge, sidecar_that_blocks, until_status};

const TOR: &str = "45.1.2.3";

#[tokio::test]
async fn what_a_database_says_counts_at_the_edge_as_far_as_an_operator_believes_it() {
    let exit = Value::Map(vec![("is_tor_exit_node", Value::Flag(true))]);
    let exits = Mmdb::new("GeoIP2-Anonymous-IP").record(TOR.parse().unwrap(), &exit);
    let sidecar = sidecar_that_blocks(&[]);
    let path = sidecar.file("anonymous");
    std::fs::write(&path, exits.bytes()).unwrap();
    let section = format!(
        "[[database]]\nname = \"exits\"\npath = {path:?}\nflags = {{ tor = 100 }}\nweight = 1.0"
    );
    let edge = Edge::start(sidecar.toml(&section)).await;
    assert!(until_status(&edge.envoy, TOR, 403).await);
    assert_eq!(edge.envoy.status_for("45.1.2.4").await, 200);
    let explained = edge.cli(&["explain", TOR]).await;
    for part in ["deny (malicious, score 100, exits)", "exits: tor"] {
        assert!(explained.contains(part), "{explained}");
    }
    let listed = edge.cli(&["providers"]).await;
    assert!(listed.contains("GeoIP2-Anonymous-IP"), "{listed}");
}
