//! docker-compose.yml and what it mounts, as files. That the stack runs is proved by `cargo xtask compose`, which needs a
//! Docker engine.

mod settings;

use std::process::Command;

use kit::config::{merge, read};
use kit::parts;
use serde_json::{Value, json};

fn text(path: &str) -> String {
    std::fs::read_to_string(parts::in_checkout(path)).unwrap()
}

/// The services with `<<` resolved.
fn services() -> Vec<(String, Value)> {
    let file = read(&parts::in_checkout("docker-compose.yml")).unwrap();
    let services = file["services"].as_object().unwrap();
    let named = services.iter();
    named
        .map(|(name, service)| (name.clone(), resolved(service)))
        .collect()
}

fn resolved(value: &Value) -> Value {
    let Value::Object(members) = value else {
        return value.clone();
    };
    let mut all = json!({});
    let under = members.get("<<").cloned().unwrap_or_default();
    let under = under.as_array().cloned().unwrap_or_else(|| vec![under]);
    for one in under.iter().filter(|one| one.is_object()) {
        merge(&mut all, resolved(one));
    }
    for (key, member) in members.iter().filter(|(key, _)| *key != "<<") {
        merge(&mut all, json!({key: resolved(member)}));
    }
    all
}

/// What stands there unless the environment says otherwise: `${NAME:-this}`.
fn by_default(text: &str) -> String {
    let Some((before, rest)) = text.split_once("${") else {
        return text.to_owned();
    };
    let (variable, after) = rest.split_once('}').unwrap();
    let default = variable.split_once('-').map_or("", |(_, default)| default);
    format!("{before}{default}{}", by_default(after))
}

fn strings(value: &Value) -> Vec<String> {
    let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let texts = list.iter().map(|one| one.as_str().unwrap().to_owned());
    texts.collect()
}

#[test]
fn every_container_is_shut_in_and_either_ends_or_says_how_it_is() {
    let services = services();
    assert!(services.len() >= 9);
    for (name, service) in &services {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["cap_drop"], json!(["ALL"]), "{name}");
        let privileges = json!(["no-new-privileges:true"]);
        assert_eq!(service["security_opt"], privileges, "{name}");
        let user = service["user"].as_str().unwrap_or_default();
        assert!(!user.is_empty() && !user.starts_with("0"), "{name}: {user}");
        assert!(
            service["logging"]["options"]["max-size"].is_string(),
            "{name}"
        );
        let ends = service["restart"] == "no";
        let asked = service["healthcheck"].is_object()
            || by_default(service["image"].as_str().unwrap()).contains("/portcullis:");
        assert!(ends || asked, "{name} has no health check");
        for one in service["depends_on"].as_object().into_iter().flatten() {
            let (_, other) = services.iter().find(|(name, _)| name == one.0).unwrap();
            let condition = match other["restart"] == "no" {
                true => "service_completed_successfully",
                false => "service_healthy",
            };
            assert_eq!(one.1["condition"], condition, "{name} on {}", one.0);
        }
    }
    assert!(text("sidecar/Dockerfile").contains("HEALTHCHECK"));
}

#[test]
fn nothing_is_published_beyond_loopback_and_the_console_not_at_all() {
    let mut published = 0;
    for (name, service) in services() {
        for port in strings(&service["ports"]) {
            published += 1;
            let port = by_default(&port);
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port}");
            assert!(
                !port.contains("8971") && !port.contains("9901"),
                "{name}: {port}"
            );
        }
        assert_ne!(service["network_mode"], "host", "{name}");
        assert_eq!(service["privileged"], Value::Null, "{name}");
    }
    assert!(published >= 3);
    for file in [
        "envoy/compose/sidecar/portcullis.toml",
        "sidecar/image.toml",
    ] {
        assert!(text(file).contains("admin = \"127.0.0.1:8971\""), "{file}");
    }
}

#[test]
fn what_is_mounted_is_there() {
    let file = read(&parts::in_checkout("docker-compose.yml")).unwrap();
    let volumes = file["volumes"].as_object().unwrap();
    let mut binds = 0;
    for (name, service) in services() {
        for mount in service["volumes"].as_array().into_iter().flatten() {
            let source = by_default(mount["source"].as_str().unwrap());
            if mount["type"] == "bind" {
                binds += 1;
                assert!(parts::in_checkout(&source).exists(), "{name}: {source}");
                assert_eq!(mount["read_only"], true, "{name}: {source}");
            } else {
                assert!(volumes.contains_key(&source), "{name}: {source}");
            }
        }
    }
    assert!(binds >= 5);
}

/// All references to images: of services, and of what ours are built on.
fn images() -> Vec<String> {
    let services = services().into_iter();
    let mut images: Vec<_> = services
        .map(|(_, service)| by_default(service["image"].as_str().unwrap()))
        .collect();
    for file in ["filter/Dockerfile", "sidecar/Dockerfile"] {
        let text = text(file);
        let bases = text.lines().filter_map(|line| line.strip_prefix("FROM "));
        let bases = bases.filter_map(|base| base.split(' ').next());
        images.extend(bases.filter(|base| base.contains(':')).map(str::to_owned));
    }
    images
}

#[test]
fn images_are_pinned_and_ours_have_the_workspaces_version() {
    let manifest = text("Cargo.toml");
    let version = manifest.split("\nversion = \"").nth(1).unwrap();
    let version = version.split('"').next().unwrap();
    let images = images();
    assert!(images.len() > 12, "{images:?}");
    for image in &images {
        let (reference, digest) = image.split_once("@sha256:").unwrap_or((image, ""));
        let hex = digest.len() == 64 && digest.chars().all(|letter| letter.is_ascii_hexdigit());
        assert!(hex || digest.is_empty(), "{image}");
        let (name, tag) = reference.rsplit_once(':').unwrap();
        assert!(tag.chars().any(|letter| letter.is_ascii_digit()), "{image}");
        if name.contains("portcullis") {
            assert_eq!(tag, version, "{image}");
        }
    }
    let toolchain = text("rust-toolchain.toml");
    let channel = toolchain.split("channel = \"").nth(1).unwrap();
    let channel = channel.split('"').next().unwrap();
    let rust = images.iter().filter(|image| image.starts_with("rust:"));
    assert!(rust.clone().count() == 2, "{images:?}");
    for image in rust {
        assert!(
            image.contains(&format!(":{channel}")),
            "{image} is not {channel}"
        );
    }
    let tested = text("xtask/src/envoy.rs");
    let envoy = images
        .iter()
        .find(|image| image.starts_with("envoyproxy/envoy:v"));
    let envoy = envoy.unwrap().rsplit('v').next().unwrap();
    let envoy = envoy.split('@').next().unwrap();
    assert!(
        tested.contains(&format!("DEFAULT_VERSION: &str = \"{envoy}\"")),
        "{envoy}"
    );
}

#[test]
fn secrets_are_kept_out_of_the_repository_and_of_the_builders_context() {
    for (file, needed) in [
        (
            ".gitignore",
            [".env", ".env.*", "*.token", "/envoy/compose/secrets/*"],
        ),
        (
            ".dockerignore",
            [
                "**/.env",
                "**/.env.*",
                "**/*.token",
                "envoy/compose/secrets/*",
            ],
        ),
    ] {
        let text = text(file);
        for line in needed {
            assert!(text.lines().any(|one| one == line), "{line} in {file}");
        }
    }
    // What is let in stands before: the last line that fits decides.
    let ignored = text(".dockerignore");
    let last_let_in = ignored.rfind("\n!").unwrap();
    assert!(ignored.find("**/.env").unwrap() > last_let_in);
    assert!(ignored.lines().any(|line| line == "*"));
}

#[test]
fn the_sidecars_configurations_are_good() {
    for file in [
        "envoy/compose/sidecar/portcullis.toml",
        "sidecar/image.toml",
    ] {
        let mut check = Command::new(parts::portcullis().unwrap());
        let output = check
            .arg("check-config")
            .arg(parts::in_checkout(file))
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{file}: {told}");
    }
}

#[test]
fn redis_is_set_up_as_documented() {
    let (composed, page) = (text("docker-compose.yml"), text("docs/redis.md"));
    let documented = page
        .lines()
        .find_map(|line| line.split_once(" ~pc:* "))
        .unwrap()
        .1;
    let rules = composed
        .lines()
        .find_map(|line| line.split_once(" ~pc:* "))
        .unwrap()
        .1;
    assert_eq!(rules, documented);
    for setting in [
        "appendonly yes",
        "maxmemory-policy volatile-lru",
        "user default off",
    ] {
        assert!(composed.contains(setting), "{setting}");
    }
}

#[test]
fn grafana_finds_prometheus_and_the_dashboards() {
    let services = services();
    let service = |wanted: &str| &services.iter().find(|(name, _)| name == wanted).unwrap().1;
    let mounts = service("grafana")["volumes"].as_array().unwrap();
    let target = |source: &str| {
        let mount = mounts.iter().find(|mount| mount["source"] == source);
        mount.unwrap()["target"].as_str().unwrap()
    };
    assert_eq!(
        target("./envoy/compose/grafana"),
        "/etc/grafana/provisioning"
    );
    let providers = read(&parts::in_checkout(
        "envoy/compose/grafana/dashboards/portcullis.yaml",
    ))
    .unwrap();
    assert_eq!(providers["apiVersion"], 1);
    let provider = &providers["providers"][0];
    assert_eq!(
        provider["options"]["path"],
        target("./envoy/monitoring/dashboards")
    );
    let sources = read(&parts::in_checkout(
        "envoy/compose/grafana/datasources/prometheus.yaml",
    ))
    .unwrap();
    let source = &sources["datasources"][0];
    assert_eq!(
        (&source["type"], &source["isDefault"]),
        (&json!("prometheus"), &json!(true))
    );
    assert_eq!(source["url"], "http://prometheus:9090");
    let watched = strings(&service("prometheus")["networks"]);
    assert_eq!(strings(&service("grafana")["networks"]), watched);
    // The dashboards ask for any data source of this type, or name one that has to be this one.
    let folder = parts::in_checkout("envoy/monitoring/dashboards");
    for entry in std::fs::read_dir(folder).unwrap() {
        let dashboard = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for uid in dashboard.split("\"uid\": \"").skip(1) {
            let uid = uid.split('"').next().unwrap();
            let known = uid == "${datasource}" || uid.starts_with("portcullis-");
            assert!(known || source["uid"] == uid, "{uid}");
        }
        assert!(dashboard.contains("\"query\": \"prometheus\""));
    }
}
