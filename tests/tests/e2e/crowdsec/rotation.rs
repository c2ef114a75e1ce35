//! A bouncer's key that is replaced while decisions flow, and a sidecar that starts while the Local API is away.

use std::path::Path;

use kit::{CrowdSec, eventually_async};

use super::{CLIENT, OTHER, shows, until_read};
use crate::common::{Edge, LIMIT, sidecar_that_blocks, until_status};

const THIRD: &str = "203.0.113.7";

fn write(file: &Path, key: &str) {
    let fresh = file.with_extension("new");
    std::fs::write(&fresh, key).unwrap();
    std::fs::rename(fresh, file).unwrap();
}

/// An edge whose key is in `file`.
async fn edge(crowdsec: &CrowdSec, file: &Path) -> Edge {
    let toml = format!(
        "[[feed]]\nname = \"crowdsec\"\nformat = \"crowdsec\"\nurl = {:?}\n\
         key = \"secret:crowdsec\"\nrefresh = \"2s\"\n\
         [secret.crowdsec]\nfrom = \"file\"\nname = {file:?}\n",
        crowdsec.url()
    );
    let edge = Edge::start(sidecar_that_blocks(&[]).toml(&toml)).await;
    assert!(until_read(&edge).await, "{}", edge.sidecar.log());
    edge
}

#[tokio::test]
async fn a_key_is_replaced_in_either_order_and_decisions_go_on_flowing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let crowdsec = CrowdSec::start().await.unwrap();
    write(&file, &crowdsec.bouncer("first").unwrap());
    let edge = edge(&crowdsec, &file).await;
    let add = |address| ["decisions", "add", "--ip", address, "-d", "1h"];

    // The secret changes first: the Local API knows only the value before.
    write(&file, "key-of-second");
    shows(&crowdsec, &edge, &add(CLIENT), CLIENT, 403).await;
    assert!(!edge.cli(&["feeds"]).await.contains("refuses the key"));
    crowdsec.bouncer("second").unwrap();
    crowdsec.cscli(&["bouncers", "delete", "first"]).unwrap();
    shows(&crowdsec, &edge, &add(OTHER), OTHER, 403).await;

    // The Local API changes first, and what was decided before it knew the new bouncer is told all the same.
    crowdsec.cscli(&add(THIRD)).unwrap();
    crowdsec
        .cscli(&["decisions", "delete", "--ip", CLIENT])
        .unwrap();
    crowdsec.cscli(&["bouncers", "delete", "second"]).unwrap();
    write(&file, &crowdsec.bouncer("third").unwrap());
    assert!(
        until_status(&edge.envoy, THIRD, 403).await,
        "{}",
        edge.sidecar.log()
    );
    assert!(
        until_status(&edge.envoy, CLIENT, 200).await,
        "{}",
        edge.sidecar.log()
    );
    let log = edge.sidecar.log();
    assert!(!log.contains("key-of-"), "{log}");
}

#[tokio::test]
async fn a_sidecar_that_starts_while_the_local_api_is_dead_enforces_what_it_knew() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let mut crowdsec = CrowdSec::start().await.unwrap();
    write(&file, &crowdsec.bouncer("edge").unwrap());
    let mut edge = edge(&crowdsec, &file).await;
    let long = ["decisions", "add", "--ip", CLIENT, "-d", "1h"];
    let short = ["decisions", "add", "--ip", OTHER, "-d", "15s"];
    crowdsec.cscli(&short).unwrap();
    shows(&crowdsec, &edge, &long, CLIENT, 403).await;
    let copy = edge.sidecar.folder().join("store/feeds/crowdsec.decisions");
    let kept = async || std::fs::read_to_string(&copy).is_ok_and(|text| text.contains(CLIENT));
    assert!(eventually_async(LIMIT, kept).await, "{}", copy.display());
    crowdsec.kill();
    edge.sidecar.kill();
    edge.sidecar.restart().await.unwrap();
    let explained = async || {
        edge.cli(&["explain", CLIENT])
            .await
            .contains("source_decision")
    };
    assert!(
        eventually_async(LIMIT, explained).await,
        "{}",
        edge.sidecar.log()
    );
    let feeds = edge.cli(&["feeds", "--json"]).await;
    assert!(feeds.contains("\"age_s\""), "{feeds}");
    assert_eq!(edge.envoy.status_for(CLIENT).await, 403);
    assert!(until_status(&edge.envoy, OTHER, 200).await);
    assert_eq!(edge.envoy.status_for(CLIENT).await, 403);
}
