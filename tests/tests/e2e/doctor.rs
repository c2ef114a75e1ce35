//! The doctor: a healthy system passes, and each thing that goes wrong turns its own check and no other.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use kit::abuseipdb::{AbuseIpDb, KEY};
use kit::config::EdgeConfig;
use kit::envoy::EnvoyBuilder;
use kit::serve::Answer;
use kit::sidecar::SidecarBuilder;
use kit::{Envoy, Redis, Request, Sidecar, eventually_async, parts};
use serde_json::{Value, json};

use crate::common::{Edge, LIMIT};

/// On the list of every test here, since the guard is as shipped.
const LISTED: &str = "45.83.64.9";
const PUBLIC: &str = "8.8.8.8";
const NOBODY: &str = "http://127.0.0.1:1";
const SECRET: &str = "[secret.key]\nfrom = \"file\"\nexpires = \"2999-01-01\"\nname = ";

/// What the doctor said.
struct Page {
    exit: Option<i32>,
    findings: Vec<Value>,
}

impl Page {
    fn short(&self) -> Vec<&str> {
        let short = |state: &Value| state == "attention" || state == "failing";
        let found = self
            .findings
            .iter()
            .filter(|finding| short(&finding["state"]));
        found
            .filter_map(|finding| finding["check"].as_str())
            .collect()
    }

    /// What falls short, in full.
    fn why(&self) -> String {
        let short = self.short();
        let found = self.findings.iter();
        let found = found.filter(|finding| short.iter().any(|check| finding["check"] == *check));
        found.map(|finding| format!("{finding}\n")).collect()
    }

    fn state(&self, check: &str) -> &str {
        let found = self
            .findings
            .iter()
            .find(|finding| finding["check"] == check);
        found
            .and_then(|finding| finding["state"].as_str())
            .unwrap_or_default()
    }
}

/// A sidecar with one list, one secret, the shipped guard, and metrics that somebody fetches.
fn sidecar(list: &str) -> SidecarBuilder {
    let builder = Sidecar::builder().unwrap().shipped_guard();
    let builder = builder
        .list("listed", "block = true", "plain", list)
        .unwrap();
    let key = builder.file("key");
    std::fs::write(&key, "value").unwrap();
    make_mode(&key, 0o600);
    builder.toml(&format!("{SECRET}{key:?}"))
}

/// An edge that enforces, after some requests of clients in the world.
async fn healthy() -> Edge {
    healthy_with(|envoy| envoy.concurrency(2)).await
}

async fn healthy_with(change: impl FnOnce(EnvoyBuilder) -> EnvoyBuilder) -> Edge {
    let edge = Edge::start_with(sidecar(LISTED), change).await;
    edge.sidecar.metric("portcullis_feed_entries", &[]).await;
    // So many that the readiness path's 503 of the first moments do not count.
    requests(&edge.envoy, PUBLIC, 3000).await;
    edge
}

async fn requests(envoy: &Envoy, client: &str, number: usize) {
    let mut connection = envoy.connect().await.unwrap();
    let request = Request::get("/").from_client(client);
    for _ in 0..number {
        connection.send(&request).await.unwrap();
    }
}

async fn doctor(edge: &Edge) -> Page {
    doctor_with(edge, &[]).await
}

/// `more` comes first, and what it names is not named again.
async fn doctor_with(edge: &Edge, more: &[&str]) -> Page {
    let places = [
        ("--stats", edge.envoy.stats_address()),
        ("--edge", edge.envoy.edge()),
        ("--envoy-admin", edge.envoy.admin()),
    ];
    let mut arguments = vec!["doctor".to_owned(), "--json".to_owned()];
    arguments.extend(more.iter().map(|&word| word.to_owned()));
    for (option, address) in places {
        if !more.contains(&option) {
            arguments.extend([option.to_owned(), format!("http://{address}")]);
        }
    }
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let output = edge.sidecar.cli(&arguments).await.unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    Page {
        exit: output.status.code(),
        findings: said["findings"].as_array().cloned().unwrap_or_default(),
    }
}

/// Nothing but `check` falls short, now or as soon as what was done has its effect.
async fn turns(edge: &Edge, check: &str) {
    turns_with(edge, &[], &[check]).await;
}

async fn turns_with(edge: &Edge, more: &[&str], checks: &[&str]) {
    let mut last = String::new();
    for _ in 0..8 {
        let page = doctor_with(edge, more).await;
        if page.short() == checks {
            assert_eq!(page.exit, Some(1), "{checks:?}");
            return;
        }
        last = page.why();
    }
    panic!("not just {checks:?}: {last}");
}

async fn is_healthy(edge: &Edge) {
    let page = doctor(edge).await;
    assert_eq!(page.short(), [""; 0], "{}", page.why());
    assert_eq!(page.exit, Some(0));
}

fn make_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn addresses(number: u8) -> String {
    (0..number)
        .map(|last| format!("45.83.64.{last}\n"))
        .collect()
}

#[tokio::test]
async fn a_healthy_system_passes_and_what_people_order_turns_its_check() {
    let edge = healthy().await;
    is_healthy(&edge).await;
    assert_eq!(doctor(&edge).await.state("edge.mode"), "ok");

    edge.cli(&["mode", "off"]).await;
    turns(&edge, "operator.modes").await;
    edge.cli(&["mode", "monitor"]).await;
    turns(&edge, "operator.modes").await;
    edge.cli(&["mode", "--clear"]).await;

    edge.cli(&["allow", "8.0.0.0/8", "--force"]).await;
    turns(&edge, "operator.decisions").await;
    let accepted = doctor_with(&edge, &["--accept", "operator.decisions"]).await;
    assert_eq!(
        (accepted.exit, accepted.state("operator.decisions")),
        (Some(0), "note")
    );
    edge.cli(&["unallow", "8.0.0.0/8"]).await;

    edge.cli(&["allow", "192.0.2.0/24"]).await;
    turns(&edge, "snapshot.canary").await;
    edge.cli(&["unallow", "192.0.2.0/24"]).await;
    is_healthy(&edge).await;
}

#[tokio::test]
async fn a_configuration_that_is_faulty_waits_or_is_dangerous_turns_its_check() {
    let edge = healthy().await;
    let file = edge.sidecar.config_file();
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{good}\n[unheard_of]\nkey = 1\n")).unwrap();
    turns(&edge, "sidecar.config").await;
    let metrics = edge.sidecar.metrics().to_string();
    std::fs::write(&file, good.replace(&metrics, "127.0.0.1:1")).unwrap();
    turns(&edge, "sidecar.config").await;
    std::fs::write(
        &file,
        good.replace("[guard]", "[guard]\npermit_special = true"),
    )
    .unwrap();
    turns(&edge, "sidecar.guard").await;
    std::fs::write(&file, &good).unwrap();
    let well = eventually_async(LIMIT, || async { doctor(&edge).await.exit == Some(0) });
    assert!(well.await, "{}", doctor(&edge).await.why());
}

#[tokio::test]
async fn secrets_and_the_token_are_for_their_owner() {
    let edge = healthy().await;
    let key = edge.sidecar.folder().join("key.list");
    make_mode(&key, 0o644);
    turns(&edge, "secrets.private").await;
    make_mode(&key, 0o600);

    let token = edge.sidecar.folder().join("store/admin.token");
    make_mode(&token, 0o604);
    turns(&edge, "secrets.token").await;
    make_mode(&token, 0o600);

    std::fs::remove_file(&key).unwrap();
    turns(&edge, "secrets.readable").await;
    std::fs::write(&key, "value").unwrap();
    make_mode(&key, 0o600);
    is_healthy(&edge).await;
}

#[tokio::test]
async fn a_list_that_is_held_refused_or_empty_turns_its_check() {
    let edge = Edge::start(sidecar(&addresses(20))).await;
    edge.sidecar.metric("portcullis_feed_entries", &[]).await;
    let list = edge.sidecar.folder().join("listed.list");
    let write = |text: &str| {
        let fresh = list.with_extension("fresh");
        std::fs::write(&fresh, text).unwrap();
        std::fs::rename(&fresh, &list).unwrap();
    };
    write(&addresses(200));
    turns(&edge, "feeds.held").await;
    write("<html>\nYour licence has ended\n</html>\n");
    turns(&edge, "feeds.refused").await;
    write(&addresses(20));
    let well = eventually_async(LIMIT, || async { doctor(&edge).await.exit == Some(0) });
    assert!(well.await, "{}", doctor(&edge).await.why());
}

#[tokio::test]
async fn an_expired_secret_an_empty_list_and_metrics_that_nobody_fetches_are_noticed() {
    let old = "[secret.old]\nfrom = \"env\"\nname = \"OLD\"\nexpires = \"2020-01-01\"";
    let sidecar = sidecar("# nothing yet\n").toml(old).env("OLD", "value");
    let sidecar = sidecar.guard("permit_special = true");
    let edge = Edge::start(sidecar).await;
    let page = doctor(&edge).await;
    let expected = [
        "secrets.expiry",
        "sidecar.guard",
        "sidecar.scraped",
        "feeds.empty",
    ];
    assert_eq!(page.short(), expected, "{}", page.why());
}

#[tokio::test]
async fn whoever_cannot_be_reached_is_told_of_and_nothing_else() {
    let mut edge = healthy().await;
    turns_with(&edge, &["--stats", NOBODY], &["envoy.stats"]).await;
    turns_with(&edge, &["--edge", NOBODY], &["edge.canary"]).await;
    let page = doctor_with(&edge, &["--envoy-admin", NOBODY]).await;
    assert_eq!(
        (page.exit, page.state("settings.admin")),
        (Some(0), "skipped")
    );
    edge.sidecar.kill();
    turns(&edge, "sidecar.reachable").await;
}

#[tokio::test]
async fn a_provider_that_refuses_the_key_or_the_call_turns_its_check() {
    let limited = Answer::json(&json!({})).with_status(429);
    for (key, failure, check) in [
        ("wrong", None, "providers.key"),
        (KEY, Some(limited), "providers.quota"),
    ] {
        let abuseipdb = AbuseIpDb::start().await.unwrap();
        abuseipdb.fail_with(failure);
        let sidecar = sidecar(LISTED).toml(&abuseipdb.toml());
        let edge = Edge::start(sidecar.env("ABUSEIPDB_KEY", key)).await;
        edge.sidecar.metric("portcullis_feed_entries", &[]).await;
        is_healthy(&edge).await;
        requests(&edge.envoy, PUBLIC, 1).await;
        turns(&edge, check).await;
    }
}

#[tokio::test]
async fn a_sidecar_that_strangers_are_missed_for_is_told_of_at_the_proxy_too() {
    let abuseipdb = AbuseIpDb::start().await.unwrap();
    let sidecar = sidecar(LISTED).toml(&abuseipdb.toml());
    let mut edge = Edge::start(sidecar.env("ABUSEIPDB_KEY", KEY)).await;
    edge.sidecar.kill();
    let strangers = async {
        for stranger in 0x0808_0000_u32.. {
            let stranger = std::net::Ipv4Addr::from(stranger).to_string();
            requests(&edge.envoy, &stranger, 1).await;
        }
    };
    tokio::select! {
        () = strangers => {}
        () = turns_with(&edge, &[], &["sidecar.reachable", "envoy.failures"]) => {}
    }
}

#[tokio::test]
async fn a_plugin_that_died_turns_its_check() {
    let trap = parts::wasm_trap().unwrap();
    let trapping = |envoy: EnvoyBuilder| {
        let envoy = envoy.plugin(json!({"trap": "request_headers"})).unwrap();
        envoy.change(|config| config.set_wasm(&trap)).unwrap()
    };
    let edge = healthy_with(trapping).await;
    is_healthy(&edge).await;
    let deadly = Request::get("/")
        .from_client(PUBLIC)
        .header("x-trap", "now");
    edge.envoy.send(&deadly).await.unwrap();
    requests(&edge.envoy, PUBLIC, 10).await;
    turns(&edge, "envoy.traps").await;
}

#[tokio::test]
async fn a_plugin_that_was_never_loaded_is_told_of_once_and_shown_by_the_canary() {
    let without = |config: &mut EdgeConfig| config.set_wasm(Path::new("/nonexistent.wasm"));
    let change = |envoy: EnvoyBuilder| envoy.change(without).unwrap();
    let edge = Edge::start_unready(sidecar(LISTED), change).await;
    edge.sidecar.metric("portcullis_feed_entries", &[]).await;
    turns_with(&edge, &[], &["envoy.stats", "edge.canary"]).await;
}

#[tokio::test]
async fn people_get_a_page_with_what_to_do_and_several_proxies_are_told_apart() {
    let edge = healthy().await;
    let (stats, admin) = (edge.envoy.stats_address(), edge.envoy.admin());
    let urls = [stats, edge.envoy.edge(), admin].map(|address| format!("http://{address}"));
    let [stats, canary, admin] = urls.each_ref().map(String::as_str);
    let arguments = [
        "doctor", "--stats", stats, "--stats", NOBODY, "--edge", canary,
    ];
    let arguments = [&arguments[..], &["--envoy-admin", admin]].concat();
    let output = edge.sidecar.cli(&arguments).await.unwrap();
    let page = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{page}");
    for part in [
        "  attention stats               http://127.0.0.1:1: nobody answers",
        "                                -> is Envoy running",
        &format!("  ok        vms                 {stats}: 3 VMs alive for 2 workers"),
        "\n1 of 65 checks fall short; ",
    ] {
        assert!(page.contains(part), "{part} is not in:\n{page}");
    }
    assert!(!page.contains('\u{1b}'), "{page}");
}

#[tokio::test]
async fn a_redis_that_may_lose_decisions_and_one_that_is_gone_are_told_apart() {
    let builder = Redis::builder().unwrap().append_only();
    let mut redis = builder.start().await.unwrap();
    let sidecar = sidecar(LISTED).redis(&redis.url());
    let edge = Edge::start(sidecar).await;
    edge.sidecar.metric("portcullis_feed_entries", &[]).await;
    is_healthy(&edge).await;
    let forgetful = ["CONFIG", "SET", "appendonly", "no"];
    redis.command(&forgetful).await.unwrap();
    turns(&edge, "store.durable").await;
    redis.kill();
    turns(&edge, "store.reachable").await;
}

#[tokio::test]
async fn a_changed_plugin_turns_its_check() {
    let edge = healthy().await;
    edge.envoy
        .push_plugin(json!({"mode": "monitor"}))
        .await
        .unwrap();
    let page = doctor(&edge).await;
    assert_eq!(page.exit, Some(0), "{}", page.why());
    assert_eq!(
        (page.state("edge.mode"), page.state("edge.canary")),
        ("note", "ok")
    );

    edge.envoy
        .push_plugin(json!({"mode": "off"}))
        .await
        .unwrap();
    turns(&edge, "edge.canary").await;
    let flowing = async {
        loop {
            requests(&edge.envoy, PUBLIC, 10).await;
        }
    };
    tokio::select! {
        () = flowing => {}
        () = turns_with(&edge, &[], &["envoy.verdicts", "edge.canary"]) => {}
    }

    let allow = json!({"mode": "enforce", "allow": ["192.0.2.0/24"]});
    edge.envoy.push_plugin(allow).await.unwrap();
    turns(&edge, "edge.canary").await;
    let secret = json!({"allow": [], "note": "5ecretlyHidden0123456789abc"});
    edge.envoy.push_plugin(secret).await.unwrap();
    turns(&edge, "settings.secrets").await;
    edge.envoy.push_plugin(json!({"note": ""})).await.unwrap();
    is_healthy(&edge).await;
}

#[tokio::test]
async fn the_shipped_configuration_falls_short_in_nothing_and_too_few_hops_are_noticed() {
    let as_shipped = |config: &mut EdgeConfig| {
        config.set_mode("monitor")?;
        config.set_hops(0)
    };
    let change = |envoy: EnvoyBuilder| envoy.change(as_shipped).unwrap();
    let edge = Edge::start_with(sidecar(LISTED), change).await;
    edge.sidecar.metric("portcullis_feed_entries", &[]).await;
    is_healthy(&edge).await;
    assert_eq!(doctor(&edge).await.state("edge.mode"), "note");

    // Behind a load balancer on a private address, nobody trusted: all clients look like it.
    requests(&edge.envoy, PUBLIC, 3000).await;
    turns(&edge, "envoy.clients").await;
}

#[tokio::test]
async fn dangerous_settings_turn_their_checks() {
    let edge = healthy_with(|envoy| envoy.change(dangerous).unwrap()).await;
    let expected = [
        "envoy.limits",
        "settings.headers",
        "settings.failure",
        "settings.limits",
        "settings.replies",
        "settings.cors",
    ];
    let page = doctor(&edge).await;
    assert_eq!(page.short(), expected, "{}", page.why());
}

fn dangerous(config: &mut EdgeConfig) -> Result<(), kit::KitError> {
    *config.plugin_at("/failure_policy")? = json!("FAIL_OPEN");
    if let Some(plugin) = config.plugin_at("")?.as_object_mut() {
        plugin.remove("reload_config");
    }
    let edge = config.hcm()?.as_object_mut().unwrap();
    edge.remove("early_header_mutation_extensions");
    edge.remove("local_reply_config");
    let filters = edge["http_filters"].as_array_mut().unwrap();
    filters.retain(|filter| filter["name"] != "throttled");
    let api = config.manager("reputation_api")?;
    let limit = &mut api["http_filters"][1]["typed_config"];
    limit["rate_limits"] = json!([{"actions": [{"remote_address": {}}]}]);
    limit["descriptors"][0]["entries"] = json!([{"key": "remote_address"}]);
    let cors = &mut api["route_config"]["virtual_hosts"][0]["typed_per_filter_config"];
    cors["envoy.filters.http.cors"]["allow_origin_string_match"] =
        json!([{"prefix": "https://console"}]);
    Ok(())
}
