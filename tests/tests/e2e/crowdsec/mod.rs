//! What the real CrowdSec decides, at the real edge: there within one poll interval, and gone as soon.

mod live;
mod rotation;
mod size;
mod tls;

use std::time::{Duration, Instant};

use kit::sidecar::SidecarBuilder;
use kit::{CrowdSec, eventually, eventually_async};
use serde_json::Value;

use crate::common::{Edge, LIMIT, sidecar_that_blocks, until_status};

const CLIENT: &str = "203.0.113.5";
const OTHER: &str = "203.0.113.6";
const REFRESH: Duration = Duration::from_secs(2);
/// For a busy machine: a command of `cscli` alone may take a second.
const SLACK: Duration = Duration::from_secs(2);

fn sidecar_of(crowdsec: &CrowdSec, key: &str) -> SidecarBuilder {
    let toml = format!(
        "[[feed]]\nname = \"crowdsec\"\nformat = \"crowdsec\"\nurl = {:?}\n\
         key = \"secret:crowdsec\"\nrefresh = \"2s\"\n\
         [secret.crowdsec]\nfrom = \"env\"\nname = \"CROWDSEC_KEY\"\n",
        crowdsec.url()
    );
    let sidecar = sidecar_that_blocks(&[]).toml(&toml);
    sidecar.env("CROWDSEC_KEY", key)
}

async fn start() -> (CrowdSec, Edge) {
    let crowdsec = CrowdSec::start().await.unwrap();
    let key = crowdsec.bouncer("edge").unwrap();
    let edge = Edge::start(sidecar_of(&crowdsec, &key)).await;
    assert!(until_read(&edge).await, "{}", edge.sidecar.log());
    (crowdsec, edge)
}

/// Until the first answer was taken.
async fn until_read(edge: &Edge) -> bool {
    let taken = async || {
        let feeds: Value = serde_json::from_str(&edge.cli(&["feeds", "--json"]).await).unwrap();
        let mut feeds = feeds["feeds"].as_array().unwrap().iter();
        feeds.any(|feed| feed["format"] == "crowdsec" && feed["last_success"].is_u64())
    };
    eventually_async(LIMIT, taken).await
}

/// How many bans the metrics tell of.
async fn bans(edge: &Edge) -> f64 {
    let labels = ["origin=\"crowdsec\"", "type=\"ban\""];
    edge.sidecar.metric("portcullis_decisions", &labels).await
}

/// Runs `cscli`, and asserts that the edge answers `address` so within one interval.
async fn shows(crowdsec: &CrowdSec, edge: &Edge, command: &[&str], address: &str, status: u16) {
    crowdsec.cscli(command).unwrap();
    let begun = Instant::now();
    assert!(
        until_status(&edge.envoy, address, status).await,
        "{command:?}: {}",
        edge.sidecar.log()
    );
    let taken = begun.elapsed();
    assert!(taken < REFRESH + SLACK, "{command:?} took {taken:?}");
}

#[tokio::test]
async fn a_decision_shows_within_an_interval_and_is_gone_within_one() {
    let (crowdsec, edge) = start().await;
    assert_eq!(edge.envoy.status_for(CLIENT).await, 200);
    let add = [
        "decisions",
        "add",
        "--ip",
        CLIENT,
        "-d",
        "1h",
        "--reason",
        "tried the door",
    ];
    shows(&crowdsec, &edge, &add, CLIENT, 403).await;
    let explained = edge.cli(&["explain", CLIENT]).await;
    for word in ["source_decision", "tried the door", "crowdsec"] {
        assert!(explained.contains(word), "{word}: {explained}");
    }
    assert!(edge.cli(&["decisions"]).await.contains(CLIENT));
    assert!((bans(&edge).await - 1.0).abs() < 0.5);
    let delete = ["decisions", "delete", "--ip", CLIENT];
    shows(&crowdsec, &edge, &delete, CLIENT, 200).await;
    let unban = edge.cli(&["unban", CLIENT]).await;
    assert!(!unban.contains("still"), "{unban}");
    // This version does not know of usage metrics: told once, and no fault.
    let quiet = || edge.sidecar.log().matches("takes no usage metrics").count() == 1;
    assert!(eventually(LIMIT, quiet).await, "{}", edge.sidecar.log());
}

#[tokio::test]
async fn ranges_of_both_families_are_enforced_as_ranges() {
    let (crowdsec, edge) = start().await;
    let range = |range| ["decisions", "add", "--range", range, "-d", "1h"];
    shows(
        &crowdsec,
        &edge,
        &range("203.0.113.0/25"),
        "203.0.113.99",
        403,
    )
    .await;
    assert_eq!(edge.envoy.status_for("203.0.113.129").await, 200);
    shows(
        &crowdsec,
        &edge,
        &range("2001:db8:40::/48"),
        "2001:db8:40:1::7",
        403,
    )
    .await;
    let single = ["decisions", "add", "--ip", "2001:db8:9::7", "-d", "1h"];
    shows(&crowdsec, &edge, &single, "2001:db8:9::7", 403).await;
    assert_eq!(edge.envoy.status_for("2001:db8:9::8").await, 200);
}

#[tokio::test]
async fn the_stronger_of_two_decisions_counts_and_the_other_shows_when_it_is_deleted() {
    let (crowdsec, edge) = start().await;
    let add = |kind| ["decisions", "add", "--ip", CLIENT, "-d", "4h", "-t", kind];
    shows(&crowdsec, &edge, &add("ban"), CLIENT, 403).await;
    crowdsec.cscli(&add("captcha")).unwrap();
    let both = async || edge.cli(&["explain", CLIENT]).await.contains("throttle");
    assert!(eventually_async(LIMIT, both).await);
    assert_eq!(edge.envoy.status_for(CLIENT).await, 403);
    let delete = ["decisions", "delete", "--ip", CLIENT, "-t", "ban"];
    shows(&crowdsec, &edge, &delete, CLIENT, 200).await;
    let explained = edge.cli(&["explain", CLIENT]).await;
    assert!(explained.contains("throttle on"), "{explained}");
}

#[tokio::test]
async fn a_decision_lapses_by_itself_although_the_local_api_is_dead() {
    let (mut crowdsec, edge) = start().await;
    let short = ["decisions", "add", "--ip", CLIENT, "-d", "8s"];
    shows(&crowdsec, &edge, &short, CLIENT, 403).await;
    crowdsec
        .cscli(&["decisions", "add", "--ip", OTHER, "-d", "1h"])
        .unwrap();
    assert!(until_status(&edge.envoy, OTHER, 403).await);
    crowdsec.kill();
    assert!(until_status(&edge.envoy, CLIENT, 200).await);
    assert_eq!(edge.envoy.status_for(OTHER).await, 403);
    let told = async || edge.cli(&["feeds"]).await.contains("cannot be reached");
    assert!(eventually_async(LIMIT, told).await);
}

#[tokio::test]
async fn thousands_that_are_imported_show_and_go_together() {
    let (crowdsec, edge) = start().await;
    let address = |at: u32| format!("198.18.{}.{}", at >> 8, at & 255);
    crowdsec.import((0..5000).map(address)).unwrap();
    for at in [0, 2500, 4999] {
        assert!(until_status(&edge.envoy, &address(at), 403).await, "{at}");
    }
    let all = async || (bans(&edge).await - 5000.0).abs() < 0.5;
    let counted = eventually_async(LIMIT, all).await;
    assert!(
        counted,
        "{} of 5000: {}",
        bans(&edge).await,
        edge.sidecar.log()
    );
    crowdsec.cscli(&["decisions", "delete", "--all"]).unwrap();
    for at in [0, 2500, 4999] {
        assert!(until_status(&edge.envoy, &address(at), 200).await, "{at}");
    }
}

#[tokio::test]
async fn a_local_api_that_was_killed_is_followed_again_without_a_gap() {
    let (mut crowdsec, edge) = start().await;
    let add = |address| ["decisions", "add", "--ip", address, "-d", "1h"];
    shows(&crowdsec, &edge, &add(CLIENT), CLIENT, 403).await;
    crowdsec.kill();
    let told = async || edge.cli(&["feeds"]).await.contains("cannot be reached");
    assert!(eventually_async(LIMIT, told).await);
    assert_eq!(edge.envoy.status_for(CLIENT).await, 403);
    crowdsec.restart().await.unwrap();
    // Decided before the sidecar is back: no answer about changes may lose it.
    crowdsec.cscli(&add(OTHER)).unwrap();
    crowdsec
        .cscli(&["decisions", "delete", "--ip", CLIENT])
        .unwrap();
    assert!(
        until_status(&edge.envoy, OTHER, 403).await,
        "{}",
        edge.sidecar.log()
    );
    assert!(
        until_status(&edge.envoy, CLIENT, 200).await,
        "{}",
        edge.sidecar.log()
    );
}

#[tokio::test]
async fn a_wrong_key_is_told_clearly_and_never_printed() {
    let crowdsec = CrowdSec::start().await.unwrap();
    let key = "a-key-that-nobody-knows";
    let edge = Edge::start(sidecar_of(&crowdsec, key)).await;
    let told = async || edge.cli(&["feeds"]).await.contains("refuses the key");
    assert!(eventually_async(LIMIT, told).await);
    let feeds = edge.cli(&["feeds"]).await;
    assert!(feeds.contains("cscli bouncers add"), "{feeds}");
    let everything = feeds + &edge.sidecar.log();
    assert!(!everything.contains(key));
}
