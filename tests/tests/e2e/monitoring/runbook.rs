//! The runbook at work: its commands are run as they stand there, against a real edge.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kit::abuseipdb::{AbuseIpDb, KEY};
use kit::sidecar::SidecarBuilder;
use kit::{Connection, Request, Sidecar, eventually_async, parts};
use tempfile::TempDir;

use super::documents::document;
use crate::common::{Edge, LIMIT, until_status};

const FEED: &str = "ipsum";
/// How long a stranger with the runbook may take, reading left out.
const DRILL: Duration = Duration::from_secs(60);

/// Whoever is on call: a shell in which the shipped addresses are those of this test.
struct Shift {
    places: Vec<(&'static str, String)>,
    folder: TempDir,
}

struct Said {
    good: bool,
    text: String,
}

impl Shift {
    fn begin(edge: &Edge) -> Self {
        let (envoy, sidecar) = (&edge.envoy, &edge.sidecar);
        let log = envoy.access_log_file();
        let places = vec![
            ("127.0.0.1:10000", envoy.edge().to_string()),
            ("127.0.0.1:10002", envoy.stats_address().to_string()),
            ("127.0.0.1:8972", sidecar.metrics().to_string()),
            ("/etc/envoy", log.parent().unwrap().display().to_string()),
            (
                "/etc/portcullis/portcullis.toml",
                sidecar.config_file().display().to_string(),
            ),
        ];
        let folder = tempfile::tempdir().unwrap();
        let script = portcullis(edge);
        let command = folder.path().join("portcullis");
        std::fs::write(&command, script).unwrap();
        std::fs::set_permissions(&command, PermissionsExt::from_mode(0o755)).unwrap();
        Self { places, folder }
    }

    /// Runs one block of the runbook.
    async fn run(&self, block: &str) -> Said {
        let put_in = |text: String, (shipped, here): &(&str, String)| text.replace(shipped, here);
        let block = self.places.iter().fold(block.to_owned(), put_in);
        let path = std::env::var("PATH").unwrap();
        let output = tokio::process::Command::new("bash")
            .args(["-e", "-o", "pipefail", "-c", &block])
            .env("PATH", format!("{}:{path}", self.folder.path().display()))
            .output()
            .await
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        Said {
            good: output.status.success(),
            text: String::from_utf8_lossy(&text).into_owned(),
        }
    }
}

/// `portcullis` for this sidecar and this proxy.
fn portcullis(edge: &Edge) -> String {
    let binary = parts::portcullis().unwrap();
    let binary: PathBuf = std::path::absolute(binary).unwrap();
    let (envoy, sidecar) = (&edge.envoy, &edge.sidecar);
    format!(
        "#!/bin/sh\nexport PORTCULLIS_TOKEN={}\n\
         [ \"$1\" != doctor ] || set -- \"$@\" --edge http://{} --stats http://{} --envoy-admin http://{}\n\
         exec {} \"$@\" --admin http://{}\n",
        sidecar.token(),
        envoy.edge(),
        envoy.stats_address(),
        envoy.admin(),
        binary.display(),
        sidecar.admin()
    )
}

/// The commands under a heading, in order.
fn blocks(section: &str) -> Vec<&str> {
    let fenced = section.split("```sh\n").skip(1);
    fenced
        .map(|text| text.split("```").next().unwrap())
        .collect()
}

/// Each section's heading and commands.
fn sections(runbook: &str) -> Vec<(&str, Vec<&str>)> {
    let sections = runbook.split("\n## ").skip(1);
    let of = |section| (str::lines(section).next().unwrap(), blocks(section));
    sections.map(of).collect()
}

/// An edge whose one hard list is this, with the plugin's file as a person writes it.
async fn edge_with(list: &str, change: impl FnOnce(SidecarBuilder) -> SidecarBuilder) -> Edge {
    let sidecar = Sidecar::builder().unwrap();
    let sidecar = sidecar.list(FEED, "block = true", "plain", list).unwrap();
    let edge = Edge::start(change(sidecar)).await;
    let shipped = std::fs::read_to_string(parts::in_checkout("envoy/portcullis.yaml")).unwrap();
    let wasm = parts::wasm().unwrap();
    let file = shipped
        .replace("/etc/envoy/portcullis.wasm", &wasm.display().to_string())
        .replace("\n          mode: monitor\n", "\n          mode: enforce\n");
    let taken = edge.envoy.plugin_stat("update_success").await;
    edge.envoy.push_plugin_file(&file).unwrap();
    let again = || async { edge.envoy.plugin_stat("update_success").await > taken };
    assert!(eventually_async(LIMIT, again).await, "{}", edge.envoy.log());
    edge
}

/// So many addresses, none of which is anybody's.
fn clients(number: u8) -> Vec<String> {
    (1..=number)
        .map(|last| format!("198.51.100.{last}"))
        .collect()
}

fn write_list(edge: &Edge, lines: &[String]) {
    let path = edge.sidecar.folder().join(format!("{FEED}.list"));
    std::fs::write(path, lines.join("\n")).unwrap();
}

/// A version of the list that the guard holds, since it is so much longer.
async fn until_held(edge: &Edge, lines: &[String]) {
    write_list(edge, lines);
    let label = format!("feed=\"{FEED}\"");
    let refused = || async {
        let name = "portcullis_feed_refused_total";
        edge.sidecar.metric(name, &[&label]).await >= 1.0
    };
    assert!(
        eventually_async(LIMIT, refused).await,
        "{}",
        edge.sidecar.log()
    );
}

#[tokio::test]
async fn every_command_of_the_runbook_runs_on_real_parts() {
    let abuseipdb = AbuseIpDb::start().await.unwrap();
    let provider = |sidecar: SidecarBuilder| {
        let sidecar = sidecar.toml(&abuseipdb.toml());
        sidecar.env("ABUSEIPDB_KEY", KEY)
    };
    let few: Vec<_> = (0..100).map(|n| format!("198.51.100.{n}")).collect();
    let mut edge = edge_with(&few.join("\n"), provider).await;
    edge.envoy.status_for("8.8.8.8").await;
    // A failure to look at, and a list to release.
    edge.sidecar.kill();
    let failed = || async {
        edge.envoy.status_for("8.8.4.4").await;
        edge.envoy.metric("portcullis_failures_total", &[]).await >= 1.0
    };
    assert!(eventually_async(LIMIT, failed).await);
    edge.sidecar.restart().await.unwrap();
    let many: Vec<_> = (0..250).map(|n| format!("198.51.101.{n}")).collect();
    let many = [few, many].concat();
    until_held(&edge, &many).await;
    let runbook = document("runbook.md");
    let shift = Shift::begin(&edge);
    for (section, blocks) in sections(&runbook) {
        for block in blocks {
            let said = shift.run(block).await;
            assert!(said.good, "{section}:\n{block}\n{}", said.text);
        }
    }
    // What was done was undone.
    let modes = shift.run("portcullis mode").await;
    assert!(!modes.text.contains("off"), "{}", modes.text);
    assert!(
        until_status(&edge.envoy, "198.51.101.1", 403).await,
        "the released list holds"
    );
}

/// A client that keeps its connection and goes on asking; it counts what went wrong.
async fn keep_asking(
    mut connection: Connection,
    client: &str,
    stop: &AtomicBool,
) -> (usize, usize) {
    let (asked, broken) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let request = Request::get("/").from_client(client);
    while !stop.load(Ordering::Relaxed) {
        asked.fetch_add(1, Ordering::Relaxed);
        if connection.send(&request).await.is_err() {
            broken.fetch_add(1, Ordering::Relaxed);
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    (asked.into_inner(), broken.into_inner())
}

#[tokio::test]
async fn a_stranger_restores_traffic_within_a_minute_after_a_bad_list_and_the_sidecars_death() {
    let mut edge = edge_with("192.0.2.255", |sidecar| sidecar).await;
    let good = clients(20);
    for client in &good {
        assert_eq!(edge.envoy.status_for(client).await, 200);
    }
    let process = edge.envoy.process_id();
    let kept = edge.envoy.connect().await.unwrap();

    // From now on half of them are on the list.
    let (bad, fine) = good.split_at(10);
    write_list(&edge, bad);
    for client in bad {
        assert!(until_status(&edge.envoy, client, 403).await, "{client}");
    }
    assert_eq!(edge.envoy.status_for(&fine[0]).await, 200);
    edge.sidecar.kill();

    let stop = AtomicBool::new(false);
    let asking = keep_asking(kept, &bad[0], &stop);
    let drill = async {
        let took = follow_the_runbook(&edge, &good).await;
        stop.store(true, Ordering::Relaxed);
        took
    };
    let ((asked, broken), took) = tokio::join!(asking, drill);
    assert!(took < DRILL, "{took:?}");
    assert!(asked > 1 && broken == 0, "{broken} of {asked}");
    assert_eq!(edge.envoy.process_id(), process);
    assert!(edge.envoy.is_alive());
    for untouched in ["listener_modified", "total_listeners_draining"] {
        let name = format!("listener_manager.{untouched}");
        assert_eq!(edge.envoy.stat(&name).await, 0, "{name}");
    }
}

/// The first section's commands, and no others; says how long it took until everybody was let through.
async fn follow_the_runbook(edge: &Edge, good: &[String]) -> Duration {
    let runbook = document("runbook.md");
    let (first, blocks) = sections(&runbook).remove(0);
    assert_eq!(first, "Stop all blocking now");
    let [by_sidecar, by_file, did_it_work, undo] = blocks[..] else {
        panic!("{blocks:?}");
    };
    let begun = Instant::now();
    let shift = Shift::begin(edge);
    let blocked = shift.run(did_it_work).await;
    assert_eq!(blocked.text.trim(), "403");
    assert!(!shift.run(by_sidecar).await.good, "the sidecar is dead");
    let done = shift.run(by_file).await;
    assert!(done.good, "{}", done.text);
    let free = || async { shift.run(did_it_work).await.text.trim() == "200" };
    assert!(eventually_async(LIMIT, free).await, "{}", edge.envoy.log());
    for client in good {
        assert_eq!(edge.envoy.status_for(client).await, 200, "{client}");
    }
    let took = begun.elapsed();
    // Undone in the same way, as far as that can be done while the sidecar is dead.
    let undone = shift.run(undo).await;
    assert!(!undone.good, "the sidecar is dead: {}", undone.text);
    assert!(until_status(&edge.envoy, &good[0], 403).await);
    assert!(shift.run(by_file).await.good);
    assert!(until_status(&edge.envoy, &good[0], 200).await);
    took
}
