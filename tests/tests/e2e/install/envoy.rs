//! The five edits of docs/install-envoy.md in an Envoy that knew nothing of us.

use std::net::{IpAddr, Ipv4Addr};

use kit::config::EdgeConfig;
use kit::envoy::{EnvoyBuilder, validate};
use kit::pages::{Page, commands, is_like};
use kit::{Connection, Envoy, Request, Sidecar, Upstream, eventually, eventually_async, parts};
use serde_json::{Value, json};

use super::plain::{Filter, Plain, WEB, page};
use crate::common::{LIMIT, header_names, no_vm_died, sidecar_that_blocks, until_metric};

const VERDICTS: &str = "portcullis_verdicts_total";
/// Listed by every sidecar: docs/doctor.md.
const CANARY: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 88, 88, 88));
const NODE: [&str; 4] = ["--service-node", "edge", "--service-cluster", "edge"];

/// The installed Envoy, with what it needs beside it.
struct Installed {
    envoy: Envoy,
    _sidecar: Sidecar,
    _upstream: Upstream,
}

impl Installed {
    async fn start(plain: Plain, change: impl FnOnce(EnvoyBuilder) -> EnvoyBuilder) -> Self {
        let upstream = Upstream::start().await.unwrap();
        let sidecar = sidecar_that_blocks(&[]).start().await.unwrap();
        let config = plain
            .between(&sidecar.addresses(), upstream.address())
            .config;
        let builder = Envoy::with(config, &parts::envoy().unwrap()).edge(WEB);
        let envoy = change(builder).start().await.unwrap();
        assert!(
            envoy.until_snapshot(LIMIT).await.unwrap(),
            "{}",
            envoy.log()
        );
        Self {
            envoy,
            _sidecar: sidecar,
            _upstream: upstream,
        }
    }

    async fn status_of_the_canary(&self) -> u16 {
        let edge = self.envoy.edge();
        let mut connection = Connection::open_from(CANARY, edge).await.unwrap();
        let answer = connection.send(&Request::get("/")).await;
        answer.unwrap().status
    }

    /// What would have been refused passed, and was counted and logged; nobody else was logged.
    async fn shows_what_it_would_block(&self) {
        assert_eq!(self.status_of_the_canary().await, 200);
        assert_eq!(self.envoy.status_for("8.8.8.8").await, 200);
        let would_deny = ["action=\"deny\"", "source=\"snapshot\"", "mode=\"monitor\""];
        assert!(until_metric(&self.envoy, VERDICTS, &would_deny, 1.0).await);
        let lines = || self.envoy.access_log();
        let logged = eventually(LIMIT, || !lines().is_empty()).await;
        assert!(logged, "{}", self.envoy.log());
        let verdicts: Vec<_> = lines().iter().map(|line| line["verdict"].clone()).collect();
        assert_eq!(verdicts, ["would_deny"]);
        assert_eq!(lines()[0]["client"], "127.88.88.88");
    }

    async fn removes_what_clients_send_in_our_name(&self) {
        let forged = Request::get("/")
            .header("x-portcullis-band", "clean")
            .header("x-portcullis_score", "0")
            .header("X_Portcullis_Action", "allow");
        let response = self.envoy.send(&forged).await.unwrap();
        let reached = header_names(&response.json());
        assert!(reached.iter().any(|name| name == "host"), "{reached:?}");
        let ours = |name: &String| name.contains("portcullis");
        assert!(!reached.iter().any(ours), "{reached:?}");
    }

    fn started_cleanly(&self) {
        let log = self.envoy.log();
        assert!(no_vm_died(&self.envoy), "{log}");
        // What Envoy says of the stranger's own configuration; and what the page announces, because a filter in
        // place starts before Envoy has probed the sidecar.
        let expected = [
            "downstream_max_connections",
            "cannot be polled: the cluster has no endpoint",
        ];
        let complaints = log.lines().filter(|line| {
            let complains = ["[warning]", "[error]", "[critical]"];
            complains.iter().any(|level| line.contains(level))
                && !expected.iter().any(|known| line.contains(known))
        });
        assert_eq!(complaints.collect::<Vec<_>>(), Vec::<&str>::new());
    }
}

#[tokio::test]
async fn five_edits_show_what_would_be_blocked_in_an_envoy_that_knew_nothing_of_us() {
    let plain = Plain::edited(Filter::InPlace);
    validate(&plain.config, &[]).unwrap();
    let installed = Installed::start(plain, |envoy| envoy).await;
    installed.shows_what_it_would_block().await;
    installed.removes_what_clients_send_in_our_name().await;
    installed.started_cleanly();
}

#[tokio::test]
async fn what_the_page_shows_of_the_canary_is_what_is_printed() {
    let page = Page::read("docs/install-envoy.md").unwrap();
    let installed = Installed::start(Plain::edited(Filter::InPlace), |envoy| envoy).await;
    let (edge, admin) = (installed.envoy.edge(), installed.envoy.admin());
    let run = async |command: &str| {
        let here = command.replace("127.0.0.1:10000", &edge.to_string());
        let here = here.replace("127.0.0.1:9901", &admin.to_string());
        let mut bash = tokio::process::Command::new("bash");
        let output = bash.args(["-c", &here]).output().await.unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for command in page.run_by(file!()).unwrap().iter().flat_map(commands) {
        let shown = command.shown.unwrap();
        if command.text.contains("/stats/") {
            let as_shown = || async { is_like(&shown, &run(&command.text).await) };
            let there = eventually_async(LIMIT, as_shown).await;
            assert!(there, "{}", run(&command.text).await);
        } else {
            let printed = run(&command.text).await;
            assert!(is_like(&shown, &printed), "{}: {printed}", command.text);
        }
    }
}

#[tokio::test]
async fn the_same_with_the_filter_in_its_own_file_which_then_enforces_without_a_restart() {
    let plain = Plain::edited(Filter::InItsFile);
    validate(&plain.config, &NODE).unwrap();
    let installed = Installed::start(plain, |envoy| envoy.arguments(&NODE)).await;
    installed.shows_what_it_would_block().await;
    installed.started_cleanly();
    let enforce = json!({"mode": "enforce"});
    installed.envoy.push_plugin(enforce).await.unwrap();
    assert_eq!(installed.status_of_the_canary().await, 403);
}

#[test]
fn a_wrong_setting_is_refused_by_its_name_before_anything_starts() {
    let mut plain = Plain::edited(Filter::InPlace);
    plain.settings()["mode"] = json!("maybe");
    let refused = validate(&plain.config, &[]).unwrap_err().to_string();
    let named = r#"mode: "maybe" is not one of monitor, enforce, off"#;
    assert!(refused.contains(named), "{refused}");
}

#[test]
fn the_blocks_of_the_page_are_those_of_the_shipped_configuration() {
    let page = page();
    let mut shipped = EdgeConfig::shipped().unwrap();
    let clusters =
        ["portcullis", "portcullis_poll"].map(|name| shipped.cluster(name).unwrap().clone());
    assert_eq!(page.yaml("1. Clusters").unwrap(), json!(clusters));
    let in_place = page.yaml("2. The filter").unwrap();
    assert_eq!(in_place, json!([shipped.plugin().as_filter()]));
    let headers = page.yaml("3. Headers from outside").unwrap();
    let manager = shipped.hcm().unwrap();
    let strip = "early_header_mutation_extensions";
    assert_eq!(headers, json!({strip: manager[strip]}));
    let filters = manager["http_filters"].as_array().unwrap();
    let ours = filters.iter().find(|one| one["name"] == "portcullis");
    let in_its_file = page.yaml("The filter in a file of its own").unwrap();
    assert_eq!(in_its_file, json!([ours]));
    let fields = |log: &Value| {
        log["typed_config"]["log_format"]["json_format"]
            .as_object()
            .unwrap()
            .clone()
    };
    let logged = fields(&page.yaml("5. The access log").unwrap()[0]);
    let shipped_fields = fields(&manager["access_log"][0]);
    for (name, value) in logged {
        assert_eq!(shipped_fields.get(&name), Some(&value), "{name}");
    }
    let time = page.yaml("Time").unwrap();
    assert_eq!(time["stream_idle_timeout"], manager["stream_idle_timeout"]);
    let stream = "max_stream_duration";
    let common = &manager["common_http_protocol_options"];
    assert_eq!(time["common_http_protocol_options"][stream], common[stream]);
    let statistics = page.yaml("4. Statistics").unwrap();
    assert_eq!(
        statistics["stats_config"],
        *shipped.at("/stats_config").unwrap()
    );
}
