//! A Local API in live mode: asked about addresses that no image knows, never waited for longer than the caller
//! waits, and left alone when it does not answer.

use std::time::{Duration, Instant};

use reputation::{Action, Band, Rank};

use crate::intelligence::testing::{Harness, StandIn, until};

const CLIENT: &str = "192.0.2.1";

fn toml(api: &StandIn) -> String {
    format!(
        "[guard]\npermit_special = true\n\
         [[feed]]\nname = \"crowdsec\"\nformat = \"crowdsec\"\nmode = \"live\"\nurl = {:?}\n\
         key = \"secret:key\"\ntimeout = \"5s\"\n[secret.key]\nfrom = \"file\"\nname = \"{{dir}}/key\"\n",
        api.url
    )
}

async fn start(api: &StandIn) -> Harness {
    Harness::start_with(&[("key", "the-key")], &toml(api)).await
}

fn decision(kind: &str, scope: &str, value: &str, duration: &str) -> String {
    format!(
        "{{\"id\":7,\"origin\":\"crowdsec\",\"type\":\"{kind}\",\"scope\":\"{scope}\",\
         \"value\":\"{value}\",\"duration\":\"{duration}\",\"scenario\":\"ssh\"}}"
    )
}

#[tokio::test]
async fn a_decision_refuses_as_a_source_does_and_is_asked_for_once_in_a_while() {
    let ban = decision("ban", "Ip", CLIENT, "1h");
    let captcha = decision("captcha", "Range", "192.0.2.0/24", "4h");
    let api = StandIn::start(200, &format!("[{captcha},{ban}]")).await;
    let harness = start(&api).await;
    let manifest = harness.published(|_| true).await;
    assert!(manifest.manifest.lookups, "nobody would ask");
    for _ in 0..3 {
        let verdict = harness.verdict(CLIENT).await;
        assert_eq!(
            (verdict.action, verdict.band),
            (Action::Deny, Band::Malicious)
        );
        assert_eq!(verdict.rank, Some(Rank::SourceDecision));
        assert_eq!(
            (verdict.reason.as_str(), verdict.provisional),
            ("ssh", false)
        );
        assert!((1..=10).contains(&verdict.ttl_s), "{}", verdict.ttl_s);
        assert!(verdict.decision.is_some());
    }
    let seen = api.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].path, format!("/v1/decisions?ip={CLIENT}"));
    assert_eq!(seen[0].headers["x-api-key"], "the-key");
    let explained = harness.intelligence.explain(CLIENT.parse().unwrap()).await;
    assert_eq!(
        explained.rule.map(|rule| rule.rank),
        Some(Rank::SourceDecision)
    );
    assert_eq!(explained.decisions.len(), 1);

    api.tell(200, &[], "null");
    harness.clock.advance(10);
    let verdict = harness.verdict(CLIENT).await;
    assert_eq!((verdict.action, verdict.band), (Action::Allow, Band::Clean));
    assert!((1..=10).contains(&verdict.ttl_s), "{}", verdict.ttl_s);
    assert_eq!(api.seen().len(), 2);
}

#[tokio::test]
async fn a_range_holds_for_the_network_and_a_clean_answer_for_the_address_alone() {
    let range = decision("captcha", "Range", "2001:db8:40::/48", "1h");
    let api = StandIn::start(200, &format!("[{range}]")).await;
    let harness = start(&api).await;
    let verdict = harness.verdict("2001:db8:40:1::7").await;
    assert_eq!(verdict.action, Action::Throttle);
    assert_eq!(verdict.scope.to_string(), "2001:db8:40:1::/64");
    api.tell(200, &[], "[]");
    let verdict = harness.verdict("2001:db8:41::7").await;
    assert_eq!((verdict.band, verdict.scope.len()), (Band::Clean, 128));
}

#[tokio::test]
async fn what_does_not_hold_the_address_or_is_forbidden_by_the_guard_counts_for_nothing() {
    let rows = [
        decision("ban", "Ip", "192.0.2.2", "1h"),
        decision("ban", "Range", "0.0.0.0/0", "1h"),
        decision("ban", "Country", "FR", "1h"),
        decision("ban", "Ip", CLIENT, "soon"),
    ];
    let api = StandIn::start(200, &format!("[{}]", rows.join(","))).await;
    let harness = start(&api).await;
    assert_eq!(harness.verdict(CLIENT).await.band, Band::Clean);
}

#[tokio::test]
async fn a_slow_api_delays_nobody_and_what_it_says_in_the_end_counts() {
    let api = StandIn::start(200, &format!("[{}]", decision("ban", "Ip", CLIENT, "1h"))).await;
    let harness = start(&api).await;
    api.hold();
    let begun = Instant::now();
    let verdict = harness
        .verdict_within(CLIENT, Duration::from_millis(20))
        .await;
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!((verdict.band, verdict.provisional), (Band::Clean, true));
    api.let_go();
    let address = CLIENT.parse().unwrap();
    let known = || harness.intelligence.known(address);
    until(|| known().is_some_and(|verdict| verdict.action == Action::Deny)).await;
    assert_eq!(api.seen().len(), 1);
}

#[tokio::test]
async fn a_slow_api_does_not_take_the_time_in_which_a_providers_answer_is_read() {
    let (api, provider) = (
        StandIn::start(200, "null").await,
        StandIn::start(200, r#"{"score":93}"#).await,
    );
    let toml = format!(
        "{}[[provider]]\nkind = \"http-json\"\nname = \"asked\"\nurl = \"{}of/{{ip}}\"\n\
         score = \"/score\"\nweight = 1.0\n",
        toml(&api),
        provider.url
    );
    let harness = Harness::start_with(&[("key", "the-key")], &toml).await;
    assert_eq!(harness.verdict(CLIENT).await.score, 93);
    let harness = harness.restart(&toml).await;
    api.hold();
    let verdict = harness
        .verdict_within(CLIENT, Duration::from_millis(500))
        .await;
    assert_eq!((verdict.score, verdict.provisional), (93, true));
    assert_eq!(provider.seen().len(), 1);
}

#[tokio::test]
async fn an_api_that_fails_is_left_alone_and_lets_pass() {
    let api = StandIn::start(500, "").await;
    let harness = start(&api).await;
    for host in 1..=20 {
        let verdict = harness.verdict(&format!("192.0.2.{host}")).await;
        assert_eq!((verdict.band, verdict.provisional), (Band::Clean, false));
        assert!(verdict.ttl_s <= 10, "{}", verdict.ttl_s);
    }
    assert_eq!(api.seen().len(), 5);
    let status = harness.intelligence.feeds().remove(0);
    assert!(status.last_error.unwrap().contains("answered 500"));
    api.tell(200, &[], "null");
    let asked_again = async {
        while api.seen().len() == 5 {
            harness.verdict("192.0.2.99").await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), asked_again)
        .await
        .unwrap();
    let status = harness.intelligence.feeds().remove(0);
    assert_eq!(
        (status.last_error, status.last_success.is_some()),
        (None, true)
    );
}
