//! An embedded store whose disk refuses: what was said goes on to hold, and what is said now reaches the proxies,
//! except for decisions, which hold only once they are kept.

use std::path::PathBuf;

use kit::{Sidecar, eventually, eventually_async, parts};
use tempfile::TempDir;

use crate::common::{CANARY, Edge, LIMIT, build_library, cli, sidecar_that_blocks, until_status};

const CLIENT: &str = "203.0.113.5";
const LATER: &str = "203.0.113.6";

/// A disk that refuses what the sidecar's store writes, as long as it is told to.
struct Disk {
    folder: TempDir,
}

impl Disk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = parts::in_checkout("tests/src/broken_disk.c");
        build_library(&source, &folder.path().join("disk.so"));
        Self { folder }
    }

    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn order(&self) -> PathBuf {
        self.folder.path().join("order")
    }

    fn dies(&self) {
        std::fs::write(self.order(), "").unwrap();
    }

    fn recovers(&self) {
        std::fs::remove_file(self.order()).unwrap();
    }
}

async fn edge_on(disk: &Disk) -> Edge {
    let sidecar = sidecar_that_blocks(&[])
        .env("LD_PRELOAD", &disk.at("disk.so"))
        .env("BROKEN_DISK", &disk.at("order"));
    Edge::start(sidecar).await
}

async fn refused(sidecar: &Sidecar, arguments: &[&str]) -> String {
    let output = sidecar.cli(arguments).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{arguments:?} succeeded: {said}");
    said
}

async fn until_store_is(sidecar: &Sidecar, up: f64) -> bool {
    let metric = || async { sidecar.metric("portcullis_store_up", &[]).await == up };
    eventually_async(LIMIT, metric).await
}

#[tokio::test]
async fn the_brake_reaches_the_proxies_although_the_disk_is_dead_and_is_kept_when_it_is_back() {
    let disk = Disk::new();
    let mut edge = edge_on(&disk).await;
    edge.cli(&["ban", CLIENT]).await;
    assert!(until_status(&edge.envoy, CLIENT, 403).await);
    disk.dies();
    for round in 0..3 {
        let said = refused(&edge.sidecar, &["mode", "off"]).await;
        assert!(
            said.contains("it holds at this sidecar's proxies"),
            "{said}"
        );
        let off = until_status(&edge.envoy, CLIENT, 200).await;
        assert!(off, "round {round}: {}", edge.sidecar.log());
        refused(&edge.sidecar, &["mode", "--clear"]).await;
        assert!(
            until_status(&edge.envoy, CLIENT, 403).await,
            "round {round}"
        );
    }
    refused(&edge.sidecar, &["ban", LATER]).await;
    assert_eq!(edge.envoy.status_for(LATER).await, 200);
    assert!(until_store_is(&edge.sidecar, 0.0).await);
    refused(&edge.sidecar, &["mode", "off"]).await;
    assert!(until_status(&edge.envoy, CLIENT, 200).await);

    disk.recovers();
    let kept = "the store has taken the modes that it had refused";
    let kept = eventually(LIMIT, || edge.sidecar.log().contains(kept));
    assert!(kept.await, "{}", edge.sidecar.log());
    assert!(until_store_is(&edge.sidecar, 1.0).await);
    edge.sidecar.kill();
    edge.sidecar.restart().await.unwrap();
    assert!(cli(&edge.sidecar, &["mode"]).await.contains("off"));
    edge.cli(&["mode", "--clear"]).await;
    assert!(until_status(&edge.envoy, CLIENT, 403).await);
    let log = edge.sidecar.log();
    assert!(!log.contains("higher epoch"), "a version was lost: {log}");
}

#[tokio::test]
async fn a_list_that_changes_while_the_disk_is_dead_is_published() {
    let disk = Disk::new();
    let edge = edge_on(&disk).await;
    disk.dies();
    let mut config = edge.sidecar.config();
    let section = edge.sidecar.block_list("second", &[CLIENT]).unwrap();
    config.push_str(&section);
    edge.sidecar.rewrite(&config).unwrap();
    let listed = until_status(&edge.envoy, CLIENT, 403).await;
    assert!(listed, "{}", edge.sidecar.log());
    assert_eq!(edge.envoy.status_for(CANARY).await, 403);
}

#[tokio::test]
async fn a_restart_that_comes_back_with_a_lower_number_leads_its_proxies_again() {
    let disk = Disk::new();
    let mut edge = edge_on(&disk).await;
    disk.dies();
    for _ in 0..5 {
        refused(&edge.sidecar, &["mode", "off"]).await;
        refused(&edge.sidecar, &["mode", "--clear"]).await;
    }
    edge.sidecar.kill();
    disk.recovers();
    edge.sidecar.restart().await.unwrap();
    edge.cli(&["ban", CLIENT]).await;
    let banned = until_status(&edge.envoy, CLIENT, 403).await;
    assert!(banned, "{}", edge.sidecar.log());
}
