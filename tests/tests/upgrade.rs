//! This build of filter and sidecar beside an earlier one. `cargo xtask upgrade` builds both and runs this.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that finds something else than expected shall panic"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kit::{Connection, Envoy, Request, Sidecar, Upstream, eventually_async, parts};
use tokio::task::JoinHandle;

const LIMIT: Duration = Duration::from_secs(20);
const LISTED: &str = "192.0.2.255";
const BANNED: &str = "203.0.113.5";
const CLEAN: &str = "203.0.113.6";

/// A build of both.
#[derive(Debug, Clone)]
struct Build {
    wasm: PathBuf,
    portcullis: PathBuf,
}

struct Edge {
    envoy: Envoy,
    sidecar: Sidecar,
    _upstream: Upstream,
}

/// Requests of the same clients without a pause, until it is told to stop.
struct Traffic {
    stop: Arc<AtomicBool>,
    seen: JoinHandle<BTreeMap<(&'static str, u16), usize>>,
}

fn before() -> Build {
    Build {
        wasm: parts::wasm_before().unwrap(),
        portcullis: parts::portcullis_before().unwrap(),
    }
}

fn now() -> Build {
    Build {
        wasm: parts::wasm().unwrap(),
        portcullis: parts::portcullis().unwrap(),
    }
}

impl Edge {
    async fn start(filter: &Build, sidecar: &Build) -> Self {
        let upstream = Upstream::start().await.unwrap();
        let builder = Sidecar::builder().unwrap().binary(&sidecar.portcullis);
        let sidecar = builder.block_list("listed", &[LISTED]).unwrap();
        let sidecar = sidecar.start().await.unwrap();
        let envoy = Envoy::builder()
            .unwrap()
            .upstream(upstream.address())
            .unwrap();
        let envoy = envoy.sidecar(&sidecar.addresses()).unwrap();
        let envoy = envoy
            .change(|config| config.set_wasm(&filter.wasm))
            .unwrap();
        let envoy = envoy.concurrency(2).start().await.unwrap();
        assert!(
            envoy.until_snapshot(LIMIT).await.unwrap(),
            "{}",
            envoy.log()
        );
        Self {
            envoy,
            sidecar,
            _upstream: upstream,
        }
    }

    async fn cli(&self, arguments: &[&str]) -> String {
        let output = self.sidecar.cli(arguments).await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {text}");
        text
    }

    async fn until(&self, client: &str, status: u16) {
        let reached = eventually_async(LIMIT, || async {
            self.envoy.status_for(client).await == status
        });
        assert!(reached.await, "{client} {status}: {}", self.envoy.log());
    }

    /// What the two have to do together.
    async fn works(&self) {
        self.until(LISTED, 403).await;
        self.until(CLEAN, 200).await;
        self.cli(&["ban", CLEAN, "--for", "1h"]).await;
        self.until(CLEAN, 403).await;
        self.cli(&["mode", "monitor"]).await;
        self.until(LISTED, 200).await;
        self.cli(&["mode", "--clear"]).await;
        self.until(LISTED, 403).await;
        self.cli(&["unban", CLEAN]).await;
        self.until(CLEAN, 200).await;
        let metrics = self.envoy.metrics().await;
        let refused = metrics
            .lines()
            .find(|line| line.contains("snapshot_refused"));
        assert_eq!(refused, None);
        assert!(
            !self.envoy.log().contains("panicked"),
            "{}",
            self.envoy.log()
        );
    }
}

impl Traffic {
    fn start(envoy: &Envoy) -> Self {
        let (stop, edge) = (Arc::new(AtomicBool::new(false)), envoy.edge());
        let told = Arc::clone(&stop);
        let seen = tokio::spawn(async move {
            let mut seen = BTreeMap::new();
            let mut connection = Connection::open(edge).await.unwrap();
            while !told.load(Ordering::Relaxed) {
                for client in [LISTED, BANNED, CLEAN] {
                    let request = Request::get("/").from_client(client);
                    let status = match connection.send(&request).await {
                        Ok(response) => response.status,
                        Err(_) => {
                            connection = Connection::open(edge).await.unwrap();
                            0
                        }
                    };
                    *seen.entry((client, status)).or_default() += 1;
                }
            }
            seen
        });
        Self { stop, seen }
    }

    /// Every client got the one answer that is right, and there were some.
    async fn was_answered_well(self) {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.seen.await.unwrap();
        let right = [(LISTED, 403), (BANNED, 403), (CLEAN, 200)];
        let kinds: Vec<_> = seen.keys().copied().collect();
        assert!(kinds.iter().all(|kind| right.contains(kind)), "{seen:?}");
        assert!(seen.values().all(|count| *count > 50), "{seen:?}");
    }
}

async fn versions_are_told(edge: &Edge, binary: &Path, wire: &str) {
    if binary == now().portcullis {
        let asked = eventually_async(LIMIT, || async {
            let labels = [&*format!("wire=\"{wire}\"")];
            edge.sidecar
                .metric("portcullis_edge_questions_total", &labels)
                .await
                >= 1.0
        });
        assert!(asked.await, "nobody asked as {wire}");
    }
}

#[tokio::test]
#[ignore = "needs an earlier build: cargo xtask upgrade"]
async fn every_pairing_works_together() {
    for (filter, sidecar, wire) in [
        (now(), now(), "same"),
        (now(), before(), "same"),
        (before(), now(), "older"),
        (before(), before(), "same"),
    ] {
        let edge = Edge::start(&filter, &sidecar).await;
        edge.works().await;
        // A revision that knows the wire speaks the same as long as it has not changed since.
        if wire == "same" || !knows_the_wire(&edge).await {
            versions_are_told(&edge, &sidecar.portcullis, wire).await;
        }
    }
}

/// Whether the filter tells a version, as this sidecar counts it.
async fn knows_the_wire(edge: &Edge) -> bool {
    let same = edge
        .sidecar
        .metric("portcullis_edge_questions_total", &["wire=\"same\""]);
    same.await >= 1.0
}

#[tokio::test]
#[ignore = "needs an earlier build: cargo xtask upgrade"]
async fn up_and_back_under_load_nobody_sees_a_gap() {
    let (old, new) = (before(), now());
    let mut edge = Edge::start(&old, &old).await;
    edge.cli(&["ban", BANNED, "--reason", "of before"]).await;
    edge.until(BANNED, 403).await;
    let traffic = Traffic::start(&edge.envoy);
    // Up: the sidecar, then the filter.
    edge.sidecar.exchange(&new.portcullis).await.unwrap();
    assert!(edge.cli(&["decisions"]).await.contains("of before"));
    edge.envoy.push_wasm(&new.wasm).await.unwrap();
    takes_new_bans(&edge, "203.0.113.7").await;
    // Back: the filter, then the sidecar.
    edge.envoy.push_wasm(&old.wasm).await.unwrap();
    takes_new_bans(&edge, "203.0.113.8").await;
    edge.sidecar.exchange(&old.portcullis).await.unwrap();
    assert!(edge.cli(&["decisions"]).await.contains("of before"));
    takes_new_bans(&edge, "203.0.113.9").await;
    traffic.was_answered_well().await;
}

#[tokio::test]
#[ignore = "needs an earlier build: cargo xtask upgrade"]
async fn the_other_order_works_too() {
    let (old, new) = (before(), now());
    let mut edge = Edge::start(&old, &old).await;
    edge.cli(&["ban", BANNED]).await;
    edge.until(BANNED, 403).await;
    let traffic = Traffic::start(&edge.envoy);
    edge.envoy.push_wasm(&new.wasm).await.unwrap();
    takes_new_bans(&edge, "203.0.113.7").await;
    edge.sidecar.exchange(&new.portcullis).await.unwrap();
    takes_new_bans(&edge, "203.0.113.8").await;
    traffic.was_answered_well().await;
}

async fn takes_new_bans(edge: &Edge, client: &str) {
    edge.cli(&["ban", client]).await;
    edge.until(client, 403).await;
}
