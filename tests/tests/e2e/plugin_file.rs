//! The plugin's file, which Envoy takes over while it runs: the kill switch that needs no sidecar.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kit::snapshot::{Draft, Line};
use kit::{Connection, Envoy, KitError, RawSidecar, Request, Upstream, eventually_async, parts};
use serde_json::json;

use crate::common::{CANARY, LIMIT, RawEdge, between, no_vm_died, until_metric, until_status};

const VERDICTS: &str = "portcullis_verdicts_total";

/// An edge whose workers refuse the canary by a snapshot, and whose sidecar has died since.
async fn without_sidecar(workers: u32) -> RawEdge {
    let mut edge = RawEdge::start_with(|envoy| envoy.concurrency(workers)).await;
    let canary = Line::listed(CANARY).unwrap();
    edge.sidecar
        .publish(Draft::version(1).base(canary).build().unwrap());
    assert!(edge.envoy.until_snapshot(LIMIT).await.unwrap());
    edge.sidecar.stop();
    edge
}

async fn status_on(connection: &mut Connection) -> u16 {
    let request = Request::get("/").from_client(CANARY);
    connection.send(&request).await.unwrap().status
}

#[tokio::test]
async fn the_mode_is_switched_by_file_with_a_dead_sidecar_on_an_open_connection() {
    let edge = without_sidecar(1).await;
    let loads = || edge.envoy.log().matches("first snapshot").count();
    // The worker's VM and the one of the main thread.
    let loaded = kit::eventually(LIMIT, || loads() == 2).await;
    assert!(loaded, "{}", edge.envoy.log());
    let mut connection = edge.envoy.connect().await.unwrap();
    for (mode, status) in [
        ("enforce", 403),
        ("monitor", 200),
        ("off", 200),
        ("enforce", 403),
    ] {
        edge.envoy.push_plugin(json!({"mode": mode})).await.unwrap();
        assert_eq!(status_on(&mut connection).await, status, "{mode}");
    }
    let monitored = ["action=\"deny\"", "mode=\"monitor\""];
    assert!(until_metric(&edge.envoy, VERDICTS, &monitored, 1.0).await);
    for untouched in [
        "listener_manager.listener_modified",
        "listener_manager.total_listeners_draining",
        "http.edge.downstream_cx_drain_close",
        "cluster.portcullis.membership_change",
    ] {
        let expected = u64::from(untouched.ends_with("membership_change"));
        assert_eq!(edge.envoy.stat(untouched).await, expected, "{untouched}");
    }
    // The same VMs, with what they knew.
    assert_eq!(loads(), 2, "{}", edge.envoy.log());
    assert!(no_vm_died(&edge.envoy), "{}", edge.envoy.log());
}

/// Asks for the canary on several connections until `stop`; says how many asked, and how many passed.
async fn hammer(envoy: &Envoy, stop: &AtomicBool) -> (usize, usize) {
    let (asked, passed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let one = || async {
        let mut connection = envoy.connect().await.unwrap();
        while !stop.load(Ordering::Relaxed) {
            asked.fetch_add(1, Ordering::Relaxed);
            if status_on(&mut connection).await != 403 {
                passed.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    tokio::join!(one(), one(), one(), one(), one(), one(), one(), one());
    (asked.into_inner(), passed.into_inner())
}

#[tokio::test]
async fn listed_clients_are_refused_without_a_gap_while_the_file_changes_under_load() {
    let edge = without_sidecar(2).await;
    let stop = AtomicBool::new(false);
    let changes = async {
        for round in 1..=20 {
            // A new cache as well, every other time.
            let change = json!({"hold_ms": 10 + round, "cache_entries": 1024 << (round % 2)});
            edge.envoy.push_plugin(change).await.unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    };
    let ((asked, passed), ()) = tokio::join!(hammer(&edge.envoy, &stop), changes);
    assert!(asked > 100, "{asked}");
    assert_eq!(passed, 0, "of {asked}: {}", edge.envoy.log());
}

#[tokio::test]
async fn listed_clients_are_refused_without_a_gap_while_the_plugin_is_replaced_by_another_build() {
    let edge = without_sidecar(2).await;
    let stop = AtomicBool::new(false);
    let changes = async {
        let (ours, other) = (parts::wasm().unwrap(), parts::wasm_trap().unwrap());
        for wasm in [&other, &ours, &other] {
            edge.envoy.push_wasm(wasm).await.unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    };
    let ((asked, passed), ()) = tokio::join!(hammer(&edge.envoy, &stop), changes);
    assert!(asked > 100, "{asked}");
    assert_eq!(passed, 0, "of {asked}: {}", edge.envoy.log());
}

/// Waits until Envoy has counted one more fault in the plugin's file than `before`.
async fn until_refused(envoy: &Envoy, before: u64) -> bool {
    let refused = || async { envoy.plugin_stat("config_fail").await > before };
    eventually_async(LIMIT, refused).await
}

#[tokio::test]
async fn a_faulty_file_is_refused_and_what_runs_stays() {
    let edge = without_sidecar(1).await;
    let good = edge.envoy.plugin_file();
    let other = |from: &str, to: &str| good.replace(from, to);
    let wasm = parts::wasm().unwrap();
    for (fault, text, said) in [
        ("no YAML", "resources: [".to_owned(), "update failure"),
        ("empty", String::new(), "update failure"),
        ("nothing in it", "{}".to_owned(), "number of resources"),
        (
            "another name",
            other(r#""name":"portcullis","typed"#, r#""name":"x","typed"#),
            "resource name",
        ),
        (
            "another type",
            other("filters.http.wasm.v3.Wasm", "filters.http.cors.v3.Cors"),
            "type URL",
        ),
        (
            "a faulty mode",
            other(r#""mode":"enforce""#, r#""mode":"maybe""#),
            "refused: mode",
        ),
        (
            "no module",
            other(wasm.to_str().unwrap(), "/nowhere.wasm"),
            "/nowhere.wasm",
        ),
        (
            "no module in it",
            other(wasm.to_str().unwrap(), "/etc/passwd"),
            "load Wasm code",
        ),
    ] {
        assert_ne!(text, good, "{fault}");
        let before = edge.envoy.plugin_stat("config_fail").await;
        edge.envoy.push_plugin_file(&text).unwrap();
        assert!(until_refused(&edge.envoy, before).await, "{fault}");
        let log = edge.envoy.log();
        assert!(log.contains(said), "{fault}: {log}");
        assert_eq!(edge.envoy.status_for(CANARY).await, 403, "{fault}");
    }
    edge.envoy
        .push_plugin(json!({"mode": "off"}))
        .await
        .unwrap();
    assert_eq!(edge.envoy.status_for(CANARY).await, 200);
}

#[tokio::test]
async fn the_kill_switch_works_as_it_is_written_in_yaml() {
    let edge = without_sidecar(1).await;
    // Without quotes YAML reads it as false.
    let off = edge.envoy.plugin_file();
    let off = off.replace(r#""mode":"enforce""#, r#""mode": off"#);
    edge.envoy.push_plugin_file(&off).unwrap();
    assert!(
        until_status(&edge.envoy, CANARY, 200).await,
        "{}",
        edge.envoy.log()
    );
}

#[tokio::test]
async fn with_a_faulty_file_at_the_start_requests_pass_and_the_next_good_one_protects() {
    let faulty = json!({"mode": "maybe"});
    let edge = RawEdge::start_with(|envoy| envoy.plugin(faulty).unwrap()).await;
    let canary = Line::listed(CANARY).unwrap();
    edge.sidecar
        .publish(Draft::version(1).base(canary).build().unwrap());
    assert_eq!(edge.envoy.status_for(CANARY).await, 200);
    let logged = eventually_async(LIMIT, || async {
        let lines = edge.envoy.access_log();
        lines
            .iter()
            .any(|line| line["verdict"] == "unavailable" && line["reason"] == "no_plugin")
    });
    assert!(logged.await, "{:?}", edge.envoy.access_log());
    edge.envoy
        .push_plugin(json!({"mode": "enforce"}))
        .await
        .unwrap();
    assert!(
        until_status(&edge.envoy, CANARY, 403).await,
        "{}",
        edge.envoy.log()
    );
}

#[tokio::test]
async fn without_the_file_envoy_does_not_start_and_says_so_and_a_running_one_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("portcullis.yaml");
    let builder = Envoy::builder().unwrap();
    let builder = builder.change(|config| config.set_plugin_file(&missing, folder.path()));
    match builder.unwrap().start().await {
        Err(KitError::Died { log, .. }) => assert!(log.contains("does not exist"), "{log}"),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it started without {}", missing.display()),
    }
    let edge = without_sidecar(1).await;
    edge.envoy.remove_plugin_file().unwrap();
    assert_eq!(edge.envoy.status_for(CANARY).await, 403);
    edge.envoy
        .push_plugin(json!({"mode": "off"}))
        .await
        .unwrap();
    assert_eq!(edge.envoy.status_for(CANARY).await, 200);
}

/// Lays a mounted ConfigMap's next version down and swaps the link to it, as Kubernetes does.
fn mount(volume: &Path, version: &str, text: &str) {
    let data = volume.join(format!("..{version}"));
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("portcullis.yaml"), text).unwrap();
    symlink(format!("..{version}"), volume.join("..data_tmp")).unwrap();
    std::fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
}

#[tokio::test]
async fn a_config_map_that_kubernetes_swaps_is_taken_over() {
    let volume = tempfile::tempdir().unwrap();
    let path = volume.path().join("portcullis.yaml");
    let sidecar = RawSidecar::start().await.unwrap();
    let canary = Line::listed(CANARY).unwrap();
    sidecar.publish(Draft::version(1).base(canary).build().unwrap());
    let upstream = Upstream::start().await.unwrap();
    let mut text = String::new();
    let builder = between(&upstream, &sidecar.addresses()).change(|config| {
        text = config.plugin().value().to_string();
        mount(volume.path(), "2026_1", &text);
        symlink("..data/portcullis.yaml", &path).map_err(KitError::io("cannot link"))?;
        config.set_plugin_file(&path, volume.path())
    });
    let envoy = builder.unwrap().start().await.unwrap();
    assert!(until_status(&envoy, CANARY, 403).await, "{}", envoy.log());
    let off = text.replace(r#""mode":"enforce""#, r#""mode":"off""#);
    mount(volume.path(), "2026_2", &off);
    assert!(until_status(&envoy, CANARY, 200).await, "{}", envoy.log());
}
