//! The sidecar's configuration changes while requests come: what is good counts, what is faulty does
//! not, and nobody notices the change itself.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kit::abuseipdb::{AbuseIpDb, KEY};
use kit::child::Signal;
use kit::sidecar::SidecarBuilder;
use kit::{Request, Sidecar, eventually, eventually_async};
use serde_json::json;
use tokio::task::JoinSet;

use crate::common::{CANARY, Edge, LIMIT, Workers, sidecar_that_blocks, until_status};

const CLIENT: &str = "203.0.113.5";
const STRANGER: &str = "8.8.4.4";
const SUCCESSFUL: &str = "portcullis_config_last_reload_successful";

/// With the provider's key in the environment, whether it is configured or not.
fn sidecar() -> SidecarBuilder {
    sidecar_that_blocks(&[]).env("ABUSEIPDB_KEY", KEY)
}

/// Replaces the file and has it read at once.
fn reload(sidecar: &Sidecar, toml: &str) {
    sidecar.rewrite(toml).unwrap();
    sidecar.signal(Signal::Hangup);
}

/// The configuration with another list that holds the client.
fn with_list(sidecar: &Sidecar) -> String {
    let list = sidecar.block_list("more", &[CLIENT]).unwrap();
    format!("{}\n{list}", sidecar.config())
}

async fn until_successful(sidecar: &Sidecar, value: f64) -> bool {
    eventually_async(LIMIT, || async {
        (sidecar.metric(SUCCESSFUL, &[]).await - value).abs() < f64::EPSILON
    })
    .await
}

async fn until_logged(sidecar: &Sidecar, words: &[&str]) -> bool {
    let says = |line: &str| words.iter().all(|word| line.contains(word));
    eventually(LIMIT, || sidecar.log().lines().any(says)).await
}

#[tokio::test]
async fn a_list_that_is_written_into_the_file_refuses_at_every_worker_and_passes_when_it_goes() {
    let edge = Edge::start_with(sidecar(), |envoy| envoy.concurrency(2)).await;
    let mut workers = Workers::of(&edge.envoy).await;
    assert!(workers.all_answer(CLIENT, 200).await);
    let without = edge.sidecar.config();
    edge.sidecar.rewrite(&with_list(&edge.sidecar)).unwrap();
    assert!(
        workers.all_answer(CLIENT, 403).await,
        "{}",
        edge.sidecar.log()
    );
    assert!(until_logged(&edge.sidecar, &["taken over", "\"sections\":\"feed\""]).await);
    edge.sidecar.rewrite(&without).unwrap();
    assert!(
        workers.all_answer(CLIENT, 200).await,
        "{}",
        edge.sidecar.log()
    );
    assert!(workers.all_answer(CANARY, 403).await);
}

#[tokio::test]
async fn a_list_that_goes_takes_back_the_verdicts_that_workers_keep() {
    let abuseipdb = AbuseIpDb::start().await.unwrap();
    abuseipdb.knows(STRANGER, 70);
    let edge = Edge::start_with(sidecar().toml(&abuseipdb.toml()), |envoy| {
        envoy.concurrency(2)
    })
    .await;
    let without = edge.sidecar.config();
    // Too little for the snapshot, enough together with the provider's word.
    let list = edge.sidecar.block_list("hint", &[STRANGER]).unwrap();
    let list = list.replace("block = true", "score = 40\nweight = 1.0");
    reload(&edge.sidecar, &format!("{without}\n{list}"));
    assert!(until_logged(&edge.sidecar, &["taken over"]).await);
    let mut workers = Workers::of(&edge.envoy).await;
    assert!(
        workers.all_answer(STRANGER, 403).await,
        "{}",
        edge.sidecar.log()
    );
    reload(&edge.sidecar, &without);
    assert!(
        workers.all_answer(STRANGER, 200).await,
        "{}",
        edge.sidecar.log()
    );
    assert_eq!(abuseipdb.asked(), [STRANGER], "its word was kept");
}

#[tokio::test]
async fn a_provider_that_is_written_into_the_file_is_asked_about_strangers() {
    let abuseipdb = AbuseIpDb::start().await.unwrap();
    abuseipdb.knows(STRANGER, 100);
    let edge = Edge::start(sidecar()).await;
    assert_eq!(edge.envoy.status_for(STRANGER).await, 200);
    let with = format!("{}\n{}", edge.sidecar.config(), abuseipdb.toml());
    edge.sidecar.rewrite(&with).unwrap();
    assert!(
        until_status(&edge.envoy, STRANGER, 403).await,
        "{}",
        edge.sidecar.log()
    );
}

#[tokio::test]
async fn a_threshold_that_moves_changes_what_becomes_of_a_score() {
    let abuseipdb = AbuseIpDb::start().await.unwrap();
    abuseipdb.knows(STRANGER, 60);
    let edge = Edge::start(sidecar().toml(&abuseipdb.toml())).await;
    let said = async || edge.sidecar.cli(&["check", STRANGER]).await.unwrap().stdout;
    let says = |said: Vec<u8>, band: &str| String::from_utf8_lossy(&said).contains(band);
    assert!(says(said().await, "suspicious"));
    assert_eq!(edge.envoy.status_for(STRANGER).await, 200);
    let strict = format!("{}\n[policy]\nmalicious = 55\n", edge.sidecar.config());
    edge.sidecar.rewrite(&strict).unwrap();
    assert!(
        until_status(&edge.envoy, STRANGER, 403).await,
        "{}",
        edge.sidecar.log()
    );
    assert!(says(said().await, "malicious"));
    assert_eq!(abuseipdb.asked().len(), 1, "nobody is asked again");
}

#[tokio::test]
async fn a_faulty_file_changes_nothing_and_is_told_of_in_log_metric_and_doctor() {
    let edge = Edge::start(sidecar()).await;
    let good = edge.sidecar.config();
    let lines = good.lines().count();
    let with = with_list(&edge.sidecar);
    let faulty = format!("{good}colour = 7\n\n[policy]\nmalicious = 500\n");
    edge.sidecar.rewrite(&faulty).unwrap();
    assert!(
        until_successful(&edge.sidecar, 0.0).await,
        "{}",
        edge.sidecar.log()
    );
    let path = edge.sidecar.config_file().display().to_string();
    let (first, second) = (
        format!("at line {}", lines + 1),
        format!("at line {}", lines + 4),
    );
    let told = [
        path.as_str(),
        "\"error\"",
        "colour",
        &first,
        "policy.malicious",
        &second,
    ];
    assert!(
        until_logged(&edge.sidecar, &told).await,
        "{}",
        edge.sidecar.log()
    );
    let doctor = edge.sidecar.ask_admin(Request::get("/v1/doctor")).await;
    let doctor = doctor.unwrap().text();
    assert!(doctor.contains("policy.malicious"), "{doctor}");
    assert_eq!(edge.envoy.status_for(CANARY).await, 403);
    assert_eq!(edge.envoy.status_for(CLIENT).await, 200);

    edge.sidecar.rewrite(&with).unwrap();
    assert!(until_successful(&edge.sidecar, 1.0).await);
    assert!(until_status(&edge.envoy, CLIENT, 403).await);
    let doctor = edge.sidecar.ask_admin(Request::get("/v1/doctor")).await;
    assert!(!doctor.unwrap().text().contains("policy.malicious"));
}

#[tokio::test]
async fn a_file_that_is_emptied_cut_off_or_gone_leaves_everything_in_force() {
    let edge = Edge::start(sidecar()).await;
    let (path, good) = (edge.sidecar.config_file(), edge.sidecar.config());
    let half = good.split_at(good.len() / 2).0.to_owned() + "\n[guard";
    let faults: [&dyn Fn(); 3] = [
        &|| std::fs::write(&path, "").unwrap(),
        &|| std::fs::write(&path, &half).unwrap(),
        &|| std::fs::remove_file(&path).unwrap(),
    ];
    for fault in faults {
        fault();
        assert!(
            until_successful(&edge.sidecar, 0.0).await,
            "{}",
            edge.sidecar.log()
        );
        assert_eq!(edge.envoy.status_for(CANARY).await, 403);
        edge.sidecar.rewrite(&good).unwrap();
        assert!(
            until_successful(&edge.sidecar, 1.0).await,
            "{}",
            edge.sidecar.log()
        );
    }
    assert_eq!(edge.envoy.status_for(CANARY).await, 403);
}

/// Points the link `from` at `to` in one step.
fn link(to: &str, from: &Path) {
    let fresh = from.with_file_name("fresh-link");
    std::os::unix::fs::symlink(to, &fresh).unwrap();
    std::fs::rename(fresh, from).unwrap();
}

#[tokio::test]
async fn a_folder_that_is_swapped_beneath_links_counts_as_kubernetes_does_it() {
    let edge = Edge::start(sidecar()).await;
    let folder = edge.sidecar.folder().to_owned();
    let versions = [
        ("..v1", edge.sidecar.config()),
        ("..v2", with_list(&edge.sidecar)),
    ];
    for (version, text) in &versions {
        std::fs::create_dir(folder.join(version)).unwrap();
        std::fs::write(folder.join(version).join("portcullis.toml"), text).unwrap();
    }
    link("..v1", &folder.join("..data"));
    link("..data/portcullis.toml", &edge.sidecar.config_file());
    edge.sidecar.signal(Signal::Hangup);
    assert!(until_logged(&edge.sidecar, &["SIGHUP"]).await);
    assert_eq!(edge.envoy.status_for(CLIENT).await, 200);
    link("..v2", &folder.join("..data"));
    std::fs::remove_dir_all(folder.join("..v1")).unwrap();
    assert!(
        until_status(&edge.envoy, CLIENT, 403).await,
        "{}",
        edge.sidecar.log()
    );
}

#[tokio::test]
async fn a_hangup_has_the_file_read_and_ends_nothing() {
    let mut edge = Edge::start(sidecar()).await;
    let before = edge.sidecar.process_id();
    reload(&edge.sidecar, &with_list(&edge.sidecar));
    assert!(until_status(&edge.envoy, CLIENT, 403).await);
    assert!(until_logged(&edge.sidecar, &["SIGHUP", "read again"]).await);
    for _ in 0..5 {
        edge.sidecar.signal(Signal::Hangup);
    }
    assert!(edge.sidecar.process_id().is_some());
    assert_eq!(edge.sidecar.process_id(), before);
    assert_eq!(edge.envoy.status_for(CLIENT).await, 403);
}

#[tokio::test]
async fn what_only_a_restart_takes_over_is_named_and_keeps_nothing_else_waiting() {
    let edge = Edge::start(sidecar()).await;
    let port = edge.sidecar.edge().port();
    let moved = with_list(&edge.sidecar).replace(&port.to_string(), "1");
    edge.sidecar.rewrite(&moved).unwrap();
    assert!(until_status(&edge.envoy, CLIENT, 403).await);
    let told = ["\"warning\"", "only by a restart", "listen.edge"];
    assert!(
        until_logged(&edge.sidecar, &told).await,
        "{}",
        edge.sidecar.log()
    );
    assert!(until_successful(&edge.sidecar, 1.0).await);
    let doctor = edge.sidecar.ask_admin(Request::get("/v1/doctor")).await;
    assert!(doctor.unwrap().text().contains("listen.edge"));
}

#[tokio::test]
async fn the_level_of_the_log_changes_while_it_is_written() {
    let edge = Edge::start(sidecar()).await;
    let quiet = edge.sidecar.config();
    assert!(!edge.sidecar.log().contains("\"debug\""));
    edge.sidecar
        .rewrite(&format!("{quiet}\n[log]\nlevel = \"debug\"\n"))
        .unwrap();
    assert!(
        until_logged(&edge.sidecar, &["\"debug\""]).await,
        "{}",
        edge.sidecar.log()
    );
}

#[tokio::test]
async fn an_operator_has_the_sidecar_say_more_for_a_while_and_the_trail_says_who() {
    let edge = Edge::start(sidecar()).await;
    let said = edge.cli(&["log-level", "debug", "--for", "2s"]).await;
    assert!(said.contains("logs debug, until"), "{said}");
    edge.envoy.status_for("198.51.100.77").await;
    assert!(
        until_logged(&edge.sidecar, &["\"debug\""]).await,
        "{}",
        edge.sidecar.log()
    );
    assert!(until_logged(&edge.sidecar, &["set log level debug for 2s"]).await);
    let over = kit::eventually_async(LIMIT, || async {
        edge.cli(&["log-level"]).await.contains("logs info")
    });
    assert!(over.await, "{}", edge.cli(&["log-level"]).await);
}

#[tokio::test]
async fn no_request_fails_and_none_that_is_listed_passes_while_it_is_reloaded_twenty_times() {
    let edge = Edge::start_with(sidecar(), |envoy| envoy.concurrency(2)).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut load = JoinSet::new();
    for (client, expected) in [("198.51.100.7", 200), (CANARY, 403)].repeat(4) {
        let (stop, mut connection) = (Arc::clone(&stop), edge.envoy.connect().await.unwrap());
        load.spawn(async move {
            let request = Request::get("/").from_client(client);
            let mut answered = 0_u32;
            while !stop.load(Ordering::SeqCst) {
                let answer = connection.send(&request).await.unwrap();
                assert_eq!(answer.status, expected, "{client} after {answered}");
                answered += 1;
            }
            answered
        });
    }
    let without = edge.sidecar.config();
    let with = with_list(&edge.sidecar);
    for (text, status) in [(&with, 403), (&without, 200)].repeat(10) {
        reload(&edge.sidecar, text);
        assert!(
            until_status(&edge.envoy, CLIENT, status).await,
            "{}",
            edge.sidecar.log()
        );
    }
    stop.store(true, Ordering::SeqCst);
    let answered = load.join_all().await;
    assert!(
        answered.iter().all(|answered| *answered > 20),
        "{answered:?}"
    );
}

#[tokio::test]
async fn a_look_up_that_is_under_way_is_answered_by_what_it_began_with() {
    let abuseipdb = AbuseIpDb::start().await.unwrap();
    abuseipdb.knows(STRANGER, 100);
    abuseipdb.delay(Duration::from_millis(1200));
    let edge = Edge::start_with(sidecar(), |envoy| {
        envoy
            .plugin(json!({"unknown": "hold", "hold_ms": 1900}))
            .unwrap()
    })
    .await;
    let without = edge.sidecar.config();
    reload(&edge.sidecar, &format!("{without}\n{}", abuseipdb.toml()));
    assert!(until_logged(&edge.sidecar, &["taken over", "provider"]).await);
    // The look-ups of before the snapshot came pass without a question.
    let address = edge.envoy.edge();
    let mut held = JoinSet::new();
    held.spawn(async move {
        loop {
            let request = Request::get("/").from_client(STRANGER);
            let status = request.send(address).await.unwrap().status;
            if status != 200 {
                return status;
            }
        }
    });
    assert!(eventually(LIMIT, || !abuseipdb.asked().is_empty()).await);
    reload(&edge.sidecar, &without);
    assert_eq!(held.join_all().await, [403]);
    assert!(
        until_status(&edge.envoy, STRANGER, 200).await,
        "{}",
        edge.sidecar.log()
    );
}
