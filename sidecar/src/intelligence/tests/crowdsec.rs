//! A Local API that is away, damaged or in the wrong hands, and what is in force meanwhile.

use reputation::UnixSeconds;
use serde_json::{Value, json};

use crate::clock::Clock as _;
use crate::intelligence::FeedStatus;
use crate::intelligence::testing::{Harness, StandIn, until};

const BANNED: &str = "192.0.2.1";
const KEY: &str = "a-key-to-be-kept-to-oneself";

fn toml(api: &StandIn) -> String {
    format!(
        "[guard]\npermit_special = true\n\
         [[feed]]\nname = \"crowdsec\"\nformat = \"crowdsec\"\nurl = {:?}\nkey = \"secret:key\"\n\
         refresh = \"1s\"\n[secret.key]\nfrom = \"file\"\nname = \"{{dir}}/key\"\n",
        api.url
    )
}

fn ban(address: &str, duration: &str) -> String {
    format!(
        "{{\"id\":1,\"origin\":\"cscli\",\"type\":\"ban\",\"scope\":\"Ip\",\"value\":\"{address}\",\
         \"duration\":\"{duration}\",\"scenario\":\"ssh\"}}"
    )
}

fn new(rows: &str) -> String {
    format!("{{\"new\":[{rows}],\"deleted\":null}}")
}

async fn start(api: &StandIn) -> Harness {
    let harness = Harness::start_with(&[("key", KEY)], &toml(api)).await;
    until(|| status(&harness).last_success.is_some()).await;
    harness
}

fn status(harness: &Harness) -> FeedStatus {
    harness.intelligence.feeds().remove(0)
}

/// Until the copy on disk holds so many decisions.
async fn until_kept(harness: &Harness, decisions: usize) {
    let copy = harness.directory.path().join("feeds/crowdsec.decisions");
    until(|| {
        let text = std::fs::read_to_string(&copy).unwrap_or_default();
        text.lines().count() == decisions + 1
    })
    .await;
}

#[tokio::test]
async fn a_restart_while_the_api_is_away_enforces_what_was_known_until_it_lapses() {
    let api = StandIn::start(200, &new(&ban(BANNED, "1h"))).await;
    let harness = start(&api).await;
    let told = status(&harness).last_success;
    until_kept(&harness, 1).await;
    api.tell(503, &[], "");
    harness.clock.advance(60);
    let harness = harness.restart(&toml(&api)).await;
    let first = harness.published(|_| true).await;
    assert_eq!(harness.reason(&first, BANNED).as_deref(), Some("ssh"));
    let shown = status(&harness);
    assert_eq!((shown.entries, shown.last_success), (1, told));
    assert_eq!(shown.age_s, Some(60));
    harness.clock.advance(3600);
    assert_eq!(harness.listed(BANNED), None);
    until(|| status(&harness).last_error.is_some()).await;
}

#[tokio::test]
async fn what_was_deleted_while_the_sidecar_was_down_goes_with_the_first_answer() {
    let api = StandIn::start(200, &new(&ban(BANNED, "1h"))).await;
    let harness = start(&api).await;
    until_kept(&harness, 1).await;
    api.tell(200, &[], "{\"new\":null,\"deleted\":null}");
    let harness = harness.restart(&toml(&api)).await;
    harness
        .published(|snapshot| harness.reason(snapshot, BANNED).is_none())
        .await;
    until_kept(&harness, 0).await;
}

#[tokio::test]
async fn a_copy_that_is_damaged_or_of_another_api_counts_for_nothing() {
    let api = StandIn::start(200, &new(&ban(BANNED, "1h"))).await;
    let harness = start(&api).await;
    until_kept(&harness, 1).await;
    api.tell(503, &[], "");
    let path = harness.directory.path().join("feeds/crowdsec.decisions");
    let good = std::fs::read_to_string(&path).unwrap();
    let (head, line) = good.split_once('\n').unwrap();
    let elsewhere = head.replace(&api.url, "http://192.0.2.9:8080/");
    assert_ne!(elsewhere, head);
    let mut harness = harness;
    for bad in [
        String::new(),
        "<html>".to_owned(),
        format!("{head}\n"),
        format!("{head}\n{line}{line}"),
        format!("{head}\n{}", line.replace("192.0.2.1", "192.0.2.1/99")),
        format!("{head}\n{}", line.replace(",0]", ",7]")),
        format!("{head}\n{}", line.trim_end_matches(['\n', ']'])),
        format!("{head}\n{}{line}", " ".repeat(2000)),
        format!("{elsewhere}\n{line}"),
    ] {
        std::fs::write(&path, &bad).unwrap();
        harness = harness.restart(&toml(&api)).await;
        assert_eq!(status(&harness).entries, 0, "{bad}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), bad);
    }
    std::fs::write(&path, &good).unwrap();
    let harness = harness.restart(&toml(&api)).await;
    assert_eq!(status(&harness).entries, 1);
}

#[tokio::test]
async fn a_copy_is_read_under_the_guard_of_today_and_nothing_in_it_is_of_the_future() {
    let api = StandIn::start(200, &new(&ban(BANNED, "1h"))).await;
    let harness = start(&api).await;
    until_kept(&harness, 1).await;
    api.tell(503, &[], "");
    let strict = toml(&api).replace("permit_special = true", "protect = [\"203.0.113.0/24\"]");
    let harness = harness.restart(&strict).await;
    let shown = status(&harness);
    assert_eq!((shown.entries, shown.dropped.special), (0, 1));
    let path = harness.directory.path().join("feeds/crowdsec.decisions");
    let text = std::fs::read_to_string(&path).unwrap();
    let now = harness.clock.now();
    let UnixSeconds(told) = shown.last_success.unwrap();
    let late = text.replace(&format!("\"told\":{told}"), "\"told\":4294967295");
    assert_ne!(late, text);
    std::fs::write(&path, late).unwrap();
    let harness = harness.restart(&toml(&api)).await;
    assert_eq!(status(&harness).last_success, Some(now));
}

/// What a Local API that does not behave answers, and what is said about it.
fn bad_answers() -> Vec<(u16, &'static str, String, &'static str)> {
    let long = "x".repeat(10 * 1024 * 1024);
    vec![
        (
            200,
            "",
            "<html><body>502</body></html>".to_owned(),
            "not a list of decisions",
        ),
        (
            200,
            "",
            "{\"new\":[{\"id\":1,\"dur".to_owned(),
            "ended early",
        ),
        (
            200,
            "",
            new(&ban("192.0.2.7", "1h")).replace("}]", "]"),
            "not a list of decisions",
        ),
        (
            200,
            "",
            "{\"new\":\"many\",\"deleted\":[]}".to_owned(),
            "not a list of decisions",
        ),
        (
            200,
            "",
            "{\"new\":[7],\"deleted\":[]}".to_owned(),
            "not a list of decisions",
        ),
        (200, "", long, "not a list of decisions"),
        (
            302,
            "http://169.254.169.254/latest/meta-data/",
            String::new(),
            "redirects, which is not followed",
        ),
        (
            403,
            "",
            format!("{{\"message\":\"{KEY} is not known\"}}"),
            "refuses the key",
        ),
        (404, "", String::new(), "no Local API of CrowdSec"),
        (
            500,
            "",
            "{\"message\":\"database is locked\"}".to_owned(),
            "answered 500",
        ),
    ]
}

#[tokio::test]
async fn a_bad_answer_marks_the_source_and_leaves_the_last_good_decisions() {
    let mut cases = tokio::task::JoinSet::new();
    for (status_code, location, body, said) in bad_answers() {
        cases.spawn(async move {
            let api = StandIn::start(200, &new(&ban(BANNED, "1h"))).await;
            let harness = start(&api).await;
            let location: Vec<_> = [("location", location)]
                .into_iter()
                .filter(|(_, to)| !to.is_empty())
                .collect();
            api.tell(status_code, &location, &body);
            until(|| status(&harness).last_error.is_some()).await;
            let shown = status(&harness);
            let error = shown.last_error.unwrap();
            assert!(error.contains(said), "{said}: {error}");
            assert!(error.len() < 400 && !error.contains(KEY), "{error}");
            assert_eq!((shown.name.as_str(), shown.entries), ("crowdsec", 1));
            assert_eq!(harness.listed(BANNED).as_deref(), Some("ssh"));
            let counted = harness.metrics.encode().unwrap();
            let refused = "portcullis_feed_refused_total{feed=\"crowdsec\",cause=\"fetch\"} 1";
            assert!(counted.contains(refused), "{counted}");
        });
    }
    while let Some(case) = cases.join_next().await {
        case.unwrap();
    }
}

#[tokio::test]
async fn null_for_a_list_and_changed_types_within_a_decision_cost_no_other_decision() {
    let odd = "{\"id\":\"seven\",\"duration\":4,\"scope\":null,\"value\":[\"192.0.2.8\"]}";
    let long = ban("192.0.2.9", "1h").replace("ssh", &"y".repeat(1024 * 1024));
    let rows = format!("{odd},{},{long}", ban(BANNED, "1h"));
    let api = StandIn::start(200, &new(&rows)).await;
    let harness = start(&api).await;
    let shown = status(&harness);
    assert_eq!((shown.entries, shown.skipped), (2, 1));
    let first = harness.published(|snapshot| harness.reason(snapshot, BANNED).is_some());
    let first = first.await;
    let reason = harness.reason(&first, "192.0.2.9").unwrap();
    assert!(reason.len() <= 120, "{}", reason.len());
}

#[tokio::test]
async fn the_usage_is_told_as_the_schema_asks_and_only_what_is_known() {
    let rows = [
        ban(BANNED, "1h"),
        ban("2001:db8:7::1", "1h"),
        ban("192.0.2.2", "1h"),
    ]
    .join(",");
    let rows = rows.replacen("\"cscli\"", "\"lists\"", 1);
    let api = StandIn::start(200, &new(&rows)).await;
    let _harness = start(&api).await;
    let told = || {
        let seen = api.seen().into_iter();
        seen.filter(|asked| asked.path == "/v1/usage-metrics")
            .last()
    };
    until(|| told().is_some()).await;
    let told = told().unwrap();
    assert_eq!(told.headers["content-type"], "application/json");
    assert_eq!(told.headers["x-api-key"], KEY);
    let body: Value = serde_json::from_slice(&told.body).unwrap();
    let components = body["remediation_components"].as_array().unwrap();
    let [component] = components.as_slice() else {
        panic!("{body}")
    };
    assert!(
        component["version"]
            .as_str()
            .is_some_and(|version| version.len() <= 255)
    );
    assert_eq!(component["type"], "crowdsec-portcullis-bouncer");
    assert!(component["utc_startup_timestamp"].is_u64() && component["feature_flags"].is_array());
    let [metrics] = component["metrics"].as_array().unwrap().as_slice() else {
        panic!("{body}")
    };
    assert!(metrics["meta"]["window_size_seconds"].is_u64());
    assert!(metrics["meta"]["utc_now_timestamp"].is_u64());
    let items = metrics["items"].as_array().unwrap().iter().map(|item| {
        assert_eq!(
            (&item["name"], &item["unit"]),
            (&json!("active_decisions"), &json!("ip"))
        );
        let label = |name: &str| item["labels"][name].as_str().unwrap().to_owned();
        (
            label("origin"),
            label("ip_type"),
            item["value"].as_u64().unwrap(),
        )
    });
    let item = |origin: &str, family: &str| (origin.to_owned(), family.to_owned(), 1);
    assert_eq!(
        items.collect::<Vec<_>>(),
        [
            item("cscli", "ipv4"),
            item("cscli", "ipv6"),
            item("lists:ssh", "ipv4")
        ]
    );
}
