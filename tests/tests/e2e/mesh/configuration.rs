//! What the overlays give the sidecar and Redis to read, read by both.

use std::path::Path;
use std::process::{Command, Output};

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use kit::redis::Reply;
use kit::sidecar::Ports;
use kit::{Redis, Request, Sidecar, parts, ports};
use serde_json::Value;

use super::rendered::{OVERLAYS, Rendered, containers, overlay, with_component};

const SECRETS: &str = "/run/secrets/portcullis";

/// What the init container says, with the overlay's configuration changed by `change`.
fn check_config(rendered: &Rendered, change: impl FnOnce(&mut Vec<(String, String)>)) -> Output {
    let workload = rendered
        .workloads()
        .into_iter()
        .find(|one| one["metadata"]["name"] == "portcullis");
    let checking = containers(workload.unwrap()).next().unwrap();
    assert_eq!(
        checking["args"],
        serde_json::json!(["check-config", "/etc/portcullis/portcullis.toml"])
    );
    let folder = tempfile::tempdir().unwrap();
    let here = |text: &str| {
        let state = folder.path().join("state");
        let text = text.replace(SECRETS, folder.path().to_str().unwrap());
        text.replace("/var/lib/portcullis", state.to_str().unwrap())
    };
    for secret in ["admin", "redis"] {
        std::fs::write(folder.path().join(secret), "a-word-long-enough-for-a-token").unwrap();
    }
    let config = folder.path().join("portcullis.toml");
    let toml = text(&rendered.one("ConfigMap", "portcullis")["data"]["portcullis.toml"]);
    std::fs::write(&config, here(&toml)).unwrap();
    let data = rendered.one("ConfigMap", "portcullis-env")["data"]
        .as_object()
        .unwrap();
    let mut variables: Vec<_> = data
        .iter()
        .map(|(key, value)| (key.clone(), here(&text(value))))
        .collect();
    change(&mut variables);
    let mut check = Command::new(parts::portcullis().unwrap());
    check.arg("check-config").arg(&config).envs(variables);
    check.output().unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[test]
fn the_sidecar_takes_the_configuration_of_every_overlay_and_finds_its_secrets() {
    for name in OVERLAYS {
        let output = check_config(&overlay(name), |_| {});
        let said = said(&output);
        assert!(output.status.success(), "{name}: {said}");
        assert!(!said.contains("cannot be read"), "{name}: {said}");
    }
}

#[test]
fn a_wrong_value_stops_the_pod_before_the_sidecar_starts_and_is_named() {
    let output = check_config(&overlay("shared"), |variables| {
        variables.push(("PORTCULLIS__STORE__TIMEOUT".to_owned(), "soon".to_owned()));
    });
    assert_eq!(output.status.code(), Some(78));
    let said = said(&output);
    assert!(
        said.contains("store.timeout") || said.contains("PORTCULLIS__STORE__TIMEOUT"),
        "{said}"
    );
}

#[test]
fn the_sidecar_takes_where_the_canary_goes() {
    let rendered = with_component("shared", "canary");
    let output = check_config(&rendered, |_| {});
    assert!(output.status.success(), "{}", said(&output));
    let wrong = |variables: &mut Vec<(String, String)>| {
        let edge = variables
            .iter_mut()
            .find(|(key, _)| key == "PORTCULLIS__CANARY__EDGE");
        edge.unwrap().1 = "gateway:80".to_owned();
    };
    let said = said(&check_config(&rendered, wrong));
    assert!(
        said.contains("canary.edge") || said.contains("PORTCULLIS__CANARY__EDGE"),
        "{said}"
    );
}

#[tokio::test]
async fn a_listener_at_the_unspecified_ipv6_address_serves_both_families() {
    let [edge, admin, metrics] = [(); 3].map(|()| ports::reserve().unwrap());
    let builder = Sidecar::builder().unwrap().ports(Ports {
        edge,
        admin,
        metrics,
    });
    let at = format!("[::]:{metrics}");
    let sidecar = builder
        .env("PORTCULLIS__LISTEN__METRICS", &at)
        .start()
        .await
        .unwrap();
    for address in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
        let answer = Request::get("/livez")
            .send(SocketAddr::new(address, metrics))
            .await;
        assert_eq!(answer.unwrap().status, 200, "{address}: {}", sidecar.log());
    }
}

/// The words of the command in docs/redis.md that say what the sidecar's user may do.
fn documented_rights() -> String {
    let page = std::fs::read_to_string(parts::in_checkout("docs/redis.md")).unwrap();
    let start = "ACL SETUSER portcullis on >PASSWORD ";
    let line = page.lines().find_map(|line| line.strip_prefix(start));
    line.unwrap().to_owned()
}

#[tokio::test]
async fn the_bundled_redis_knows_the_sidecars_user_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let users = users_made_in(folder.path());
    let rights = users
        .lines()
        .find_map(|line| line.strip_prefix("user portcullis on "));
    let (hash, rights) = rights.unwrap().split_once(' ').unwrap();
    assert!(
        hash.starts_with('#') && hash.len() == 65 && !users.contains("a-word"),
        "{users}"
    );
    assert_eq!(rights, documented_rights());
    let shipped = overlay("shared-bundled-redis");
    let conf = text(&shipped.one("ConfigMap", "portcullis-redis")["data"]["redis.conf"]);
    let ours = |line: &&str| {
        !["port ", "dir ", "aclfile ", "#"]
            .iter()
            .any(|start| line.starts_with(start))
    };
    let lines = conf.lines().filter(ours).chain(users.lines());
    let builder = lines.fold(Redis::builder().unwrap(), |redis, line| redis.line(line));
    let redis = builder.start().await.unwrap();
    let mut client = kit::redis::RedisClient::open(redis.address())
        .await
        .unwrap();
    let mut say = async |words: &[&str]| client.command(words).await.unwrap();
    assert!(
        matches!(say(&["PING"]).await, Reply::Error(_)),
        "without a password"
    );
    let right = ["AUTH", "portcullis", "a-word-of-some-length"];
    assert_eq!(say(&right).await, Reply::Bytes(b"OK".to_vec()));
    assert_eq!(say(&["PING"]).await, Reply::Bytes(b"PONG".to_vec()));
}

/// What the init container writes.
fn users_made_in(folder: &Path) -> String {
    let script = parts::in_checkout("envoy/mesh/kubernetes/components/bundled-redis/users.sh");
    let place = folder.to_str().unwrap();
    let script = std::fs::read_to_string(script).unwrap();
    let script = script.replace(SECRETS, place).replace("/run/redis", place);
    std::fs::write(folder.join("redis"), "a-word-of-some-length\n").unwrap();
    let ran = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(ran.status.success(), "{}", said(&ran));
    std::fs::read_to_string(folder.join("users.acl")).unwrap()
}
