//! Faulty input of people: a message that says where and what, and nothing lost.

use std::process::Command;

use kit::{Envoy, Request, Sidecar, parts};
use serde_json::json;

use crate::common::{CANARY, Edge, sidecar_that_blocks};

fn check_config(text: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("portcullis.toml");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(parts::portcullis().unwrap());
    let output = command.arg("check-config").arg(&file).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[test]
fn an_empty_file_is_a_good_configuration() {
    let (code, said) = check_config("");
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn every_fault_of_a_configuration_is_told_at_once_with_its_line() {
    let faulty = "[listen]\nedge = \"nowhere\"\n[policy]\nsuspicious = 200\n[[feed]]\nname = \"x\"\nformat = \"csv\"\npath = \"/x\"\n";
    let (code, said) = check_config(faulty);
    assert_eq!(code, Some(78), "{said}");
    for part in ["listen.edge", "policy.suspicious", "format", "2", "4", "7"] {
        assert!(said.contains(part), "{part} is not named: {said}");
    }
}

#[test]
fn wrong_usage_ends_with_64() {
    for arguments in [
        &["check-config"][..],
        &["nonsense"],
        &["ban"],
        &["serve", "--what"],
    ] {
        let output = Command::new(parts::portcullis().unwrap())
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
    }
}

#[tokio::test]
async fn a_faulty_sidecar_file_refuses_the_start_with_78() {
    let sidecar = Sidecar::builder()
        .unwrap()
        .toml("[[feed]]\nname = 7\n")
        .prepare()
        .unwrap();
    let mut command = Command::new(parts::portcullis().unwrap());
    let output = command
        .args(["serve", "--config"])
        .arg(sidecar.config_file())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("name"), "{said}");
}

#[tokio::test]
async fn a_faulty_configuration_of_the_filter_is_refused_and_the_log_names_the_path() {
    for (settings, path) in [
        (json!({"mode": "sometimes"}), "mode"),
        (
            json!({"actions": {"malicious": "explode"}}),
            "actions.malicious",
        ),
        (json!({"allow": ["10.0.0.0/33"]}), "allow"),
        (json!({"hold_ms": -1}), "hold_ms"),
        (json!({"strict": true, "colour": "red"}), "colour"),
    ] {
        let builder = Envoy::builder().unwrap().plugin(settings.clone()).unwrap();
        let envoy = builder.start().await.unwrap();
        let log = envoy.log();
        assert!(log.contains(&format!("refused: {path}")), "{path}: {log}");
        assert_eq!(envoy.plugin_stat("update_rejected").await, 1, "{settings}");
    }
}

#[tokio::test]
async fn faulty_addresses_in_a_path_get_400_and_change_nothing() {
    let edge = Edge::start(sidecar_that_blocks(&[])).await;
    for wrong in [
        "192.0.2.01",
        "nobody",
        "192.0.2.1:80",
        "%00",
        "..%2f..%2fetc%2fpasswd",
        "fe80::1%25eth0",
    ] {
        let path = format!("/v1/verdict/{wrong}?wait_ms=0");
        let answer = Request::get(&path).send(edge.sidecar.edge()).await.unwrap();
        assert_eq!(answer.status, 400, "{wrong}: {}", answer.text());
        let path = format!("/v1/explain/{wrong}");
        let answer = edge.sidecar.ask_admin(Request::get(&path)).await.unwrap();
        assert!(
            [400, 422].contains(&answer.status),
            "{wrong}: {}",
            answer.text()
        );
    }
    assert_eq!(edge.envoy.status_for(CANARY).await, 403);
}
