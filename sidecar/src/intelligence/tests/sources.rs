//! Several providers at once: each asked in its own way, under its own name, and none harmed by what
//! another answers.

use reputation::{Action, DecisionKind};

use crate::intelligence::NewDecision;
use crate::intelligence::testing::{Harness, StandIn, until};

const SCANNER: &str = r#"{"noise":true,"riot":false,"classification":"malicious"}"#;

/// GreyNoise, and two sources that only the configuration knows.
async fn start(greynoise: &StandIn, first: &StandIn, second: &StandIn) -> Harness {
    let described = |name: &str, stand_in: &StandIn| {
        format!(
            "[[provider]]\nkind = \"http-json\"\nname = \"{name}\"\nurl = \"{}of/{{ip}}\"\n\
             headers = {{ Authorization = \"Bearer secret:key\" }}\nscore = \"/score\"\n\
             message = \"/message\"\nmax_bytes = 1024\n",
            stand_in.url
        )
    };
    let config = format!(
        "[guard]\npermit_special = true\n\
         [[provider]]\nkind = \"greynoise\"\nbase_url = \"{}\"\nkey = \"secret:key\"\n{}{}\
         [secret.key]\nfrom = \"file\"\nname = \"{{dir}}/key\"\n",
        greynoise.url,
        described("first", first),
        described("second", second)
    );
    let harness = Harness::start_with(&[("key", "sesame\n")], &config).await;
    harness.published(|now| now.manifest.lookups).await;
    harness
}

#[tokio::test]
async fn each_source_is_asked_in_its_own_way_and_their_words_are_weighed_together() {
    let greynoise = StandIn::start(200, SCANNER).await;
    let first = StandIn::start(200, r#"{"score":80}"#).await;
    let second = StandIn::start(200, r#"{"score":0}"#).await;
    let harness = start(&greynoise, &first, &second).await;
    let verdict = harness.verdict("198.18.0.1").await;
    // 1 - (1 - 0.75 * 0.9) * (1 - 0.75 * 0.8)
    assert_eq!((verdict.action, verdict.score), (Action::Deny, 87));
    assert_eq!(verdict.reason, "greynoise");
    let asked = greynoise.seen().swap_remove(0);
    assert_eq!(asked.path, "/community/198.18.0.1");
    assert_eq!(asked.headers["key"], "sesame");
    let asked = first.seen().swap_remove(0);
    assert_eq!(asked.path, "/of/198.18.0.1");
    assert_eq!(asked.headers["authorization"], "Bearer sesame");
    let address = "198.18.0.1".parse().unwrap();
    let explained = harness.intelligence.explain(address).await;
    let words = explained
        .sources
        .iter()
        .map(|word| (word.source.as_str(), word.score));
    let words: Vec<_> = words.collect();
    assert_eq!(words, [("greynoise", 90), ("first", 80), ("second", 0)]);
}

const GOOD_SCANNER: &str = r#"{"noise":true,"riot":false,"classification":"benign"}"#;

#[tokio::test]
async fn whom_a_source_vouches_for_passes_whatever_others_say_and_a_ban_still_counts() {
    let greynoise = StandIn::start(200, GOOD_SCANNER).await;
    let first = StandIn::start(200, r#"{"score":100}"#).await;
    let second = StandIn::start(200, r#"{"score":100}"#).await;
    let harness = start(&greynoise, &first, &second).await;
    let verdict = harness.verdict("198.18.0.1").await;
    assert_eq!((verdict.action, verdict.score), (Action::Allow, 20));
    assert_eq!(verdict.reason, "clean");
    let ban = NewDecision {
        cidr: "198.18.0.1".parse().unwrap(),
        kind: DecisionKind::Ban,
        reason: "seen here".to_owned(),
        author: "test".to_owned(),
        ttl: None,
        force: false,
    };
    harness.intelligence.add_decision(ban).await.unwrap();
    assert_eq!(harness.verdict("198.18.0.1").await.action, Action::Deny);
}

#[tokio::test]
async fn what_a_source_saw_long_ago_weighs_less_and_less_though_the_answer_is_kept() {
    let seen =
        r#"{"noise":true,"riot":false,"classification":"malicious","last_seen":"2026-11-17"}"#;
    let greynoise = StandIn::start(200, seen).await;
    let silent = StandIn::start(200, r#"{"score":0}"#).await;
    let harness = start(&greynoise, &silent, &silent).await;
    // 0.75 * 90 is 67.5; of that a day and a half leaves 97 %, and twenty hours more 95 %.
    assert_eq!(harness.verdict("198.18.0.1").await.score, 65);
    harness.clock.advance(20 * 3600);
    assert_eq!(harness.verdict("198.18.0.1").await.score, 64);
    assert_eq!(greynoise.seen().len(), 1);
}

#[tokio::test]
async fn a_source_that_knows_ipv4_only_costs_no_call_for_ipv6() {
    let greynoise = StandIn::start(200, SCANNER).await;
    let first = StandIn::start(200, r#"{"score":80}"#).await;
    let second = StandIn::start(200, r#"{"score":0}"#).await;
    let harness = start(&greynoise, &first, &second).await;
    let verdict = harness.verdict("2001:db8::1").await;
    assert_eq!((verdict.score, verdict.provisional), (60, false));
    assert_eq!(greynoise.seen().len(), 0);
    assert_eq!(first.seen().swap_remove(0).path, "/of/2001%3Adb8%3A%3A1");
    let providers = harness.intelligence.providers();
    assert_eq!(providers[0].remaining, providers[0].daily_quota);
}

#[tokio::test]
async fn a_source_that_answers_badly_is_named_without_its_key_and_the_others_go_on() {
    let greynoise = StandIn::start(200, SCANNER).await;
    let second = StandIn::start(200, r#"{"score":0}"#).await;
    let metadata = [("location", "http://169.254.169.254/latest/meta-data/")];
    let large = format!("{{\"score\":100,\"pad\":\"{}\"}}", "x".repeat(2000));
    for (status, headers, body, outcome) in [
        (200, &[][..], "<html>maintenance</html>", "not JSON"),
        (200, &[], r#"{"score":[1"#, "not JSON"),
        (200, &[], r#"{"score":null}"#, "no score at /score"),
        (200, &[], &large, "larger than 1024 bytes"),
        (302, &metadata, "", "302"),
        (429, &[("retry-after", "86400")], "", "429"),
        (
            401,
            &[],
            r#"{"message":"No such key: sesame."}"#,
            "No such key: (the key)",
        ),
    ] {
        let first = StandIn::start(status, body).await;
        first.tell(status, headers, body);
        let harness = start(&greynoise, &first, &second).await;
        let verdict = harness.verdict("198.18.0.1").await;
        assert_eq!((verdict.score, verdict.provisional), (68, false), "{body}");
        assert_eq!(first.seen().len(), 1, "{body}");
        let error = || {
            let providers = harness.intelligence.providers();
            providers
                .into_iter()
                .find(|provider| provider.name == "first")?
                .last_error
        };
        until(|| error().is_some()).await;
        let error = error().unwrap();
        assert!(error.contains(outcome), "{error}");
        assert!(!error.contains("sesame"), "{error}");
    }
}
