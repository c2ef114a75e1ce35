//! The runbook in an emergency, followed by somebody who sees it for the first time. That each of its commands runs
//! is tested in `pages`.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kit::{Connection, Request, Shell, Sidecar};

use super::documents::document;
use crate::common::{Edge, LIMIT, until_status};
use crate::pages;

const FEED: &str = "ipsum";
/// How long a stranger with the runbook may take, reading left out.
const DRILL: Duration = Duration::from_secs(60);

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
async fn edge_with(list: &str) -> Edge {
    let sidecar = Sidecar::builder().unwrap();
    let sidecar = sidecar.list(FEED, "block = true", "plain", list);
    pages::edge_with(sidecar.unwrap(), |envoy| envoy).await
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
    let mut edge = edge_with("192.0.2.255").await;
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
    let programs = tempfile::tempdir().unwrap();
    let mut shell = Shell::open(&pages::desk(edge, programs.path())).unwrap();
    let mut run = async |block| shell.run_all(block).await.unwrap();
    let blocked = run(did_it_work).await;
    assert_eq!(blocked.text.trim(), "403");
    assert_ne!(run(by_sidecar).await.status, 0, "the sidecar is dead");
    let done = run(by_file).await;
    assert_eq!(done.status, 0, "{}", done.text);
    let end = Instant::now() + LIMIT;
    while run(did_it_work).await.text.trim() != "200" {
        assert!(Instant::now() < end, "{}", edge.envoy.log());
    }
    for client in good {
        assert_eq!(edge.envoy.status_for(client).await, 200, "{client}");
    }
    let took = begun.elapsed();
    // Undone in the same way, as far as that can be done while the sidecar is dead.
    let undone = run(undo).await;
    assert_ne!(undone.status, 0, "the sidecar is dead: {}", undone.text);
    assert!(until_status(&edge.envoy, &good[0], 403).await);
    assert_eq!(run(by_file).await.status, 0);
    assert!(until_status(&edge.envoy, &good[0], 200).await);
    took
}
