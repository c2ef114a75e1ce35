//! Look-ups: one call however many ask, never longer than the caller waits, stale rather than nothing.

use std::sync::Arc;
use std::time::Duration;

use reputation::{Action, Band, Rank, Verdict};

use crate::intelligence::testing::{Harness, StandIn, until};
use crate::intelligence::{Published, Removal};

fn answer(score: u32) -> String {
    format!("{{\"data\":{{\"abuseConfidenceScore\":{score},\"lastReportedAt\":null}}}}")
}

/// With a key in a file, and special-purpose space opened so that examples can be asked about.
fn config(stand_in: &StandIn, quota: u32) -> String {
    format!(
        "[guard]\npermit_special = true\n\
         [[provider]]\nkind = \"abuseipdb\"\nbase_url = \"{}\"\nkey = \"secret:key\"\n\
         weight = 1.0\ndaily_quota = {quota}\ntimeout = \"2s\"\n\
         [secret.key]\nfrom = \"file\"\nname = \"{{dir}}/key\"\n",
        stand_in.url
    )
}

async fn start(stand_in: &StandIn) -> Harness {
    let harness = Harness::start_with(&[("key", "sesame\n")], &config(stand_in, 1000)).await;
    harness.published(|now| now.manifest.lookups).await;
    harness
}

#[tokio::test]
async fn a_provider_is_asked_as_documented_and_its_word_becomes_a_verdict() {
    let stand_in = StandIn::start(200, &answer(93)).await;
    let harness = start(&stand_in).await;
    let verdict = harness.verdict("2001:db8::1").await;
    assert_eq!((verdict.action, verdict.score), (Action::Deny, 93));
    assert_eq!(
        (verdict.reason.as_str(), verdict.rank),
        ("abuseipdb", Some(Rank::Score))
    );
    assert_eq!(verdict.scope.to_string(), "2001:db8::/64");
    let asked = stand_in.seen().swap_remove(0);
    assert!(
        asked
            .path
            .starts_with("/check?ipAddress=2001%3Adb8%3A%3A1&maxAgeInDays=")
    );
    assert_eq!(asked.headers["key"], "sesame");
    assert_eq!(asked.headers["accept"], "application/json");
}

/// A list of weight 0.75 that says 75 of 198.18.0.1, which is 56, and of 198.18.0.2 with another 89.
async fn listed(stand_in: &StandIn, provider: &str) -> Harness {
    let list = |name: &str, score: u32| {
        format!(
            "[[feed]]\nname = \"{name}\"\npath = \"{{dir}}/{name}\"\nformat = \"plain\"\n\
             score = {score}\nweight = 0.75\n"
        )
    };
    let config = format!(
        "[guard]\npermit_special = true\n\
         [[provider]]\n{provider}\nbase_url = \"{}\"\nkey = \"secret:key\"\nweight = 0.75\n\
         [secret.key]\nfrom = \"file\"\nname = \"{{dir}}/key\"\n{}{}",
        stand_in.url,
        list("one", 75),
        list("two", 100),
    );
    let files = [
        ("key", "sesame\n"),
        ("one", "198.18.0.1\n198.18.0.2\n"),
        ("two", "198.18.0.2\n"),
    ];
    let harness = Harness::start_with(&files, &config).await;
    let both = |now: &Published| {
        now.manifest.lookups && (1..=2).all(|low| found(now, &format!("198.18.0.{low}")))
    };
    harness.published(both).await;
    harness
}

fn found(now: &Published, address: &str) -> bool {
    now.find(address.parse().unwrap(), now.manifest.built_at)
        .is_some()
}

#[tokio::test]
async fn a_lists_word_and_a_providers_make_one_score_wherever_one_looks() {
    let stand_in = StandIn::start(200, &answer(100)).await;
    let harness = listed(&stand_in, "kind = \"abuseipdb\"").await;
    let address = "198.18.0.1".parse().unwrap();
    let known = || harness.intelligence.known(address).unwrap();
    assert_eq!((known().score, known().band), (56, Band::Suspicious));
    let verdict = harness.verdict("198.18.0.1").await;
    assert_eq!((verdict.score, verdict.action), (89, Action::Deny));
    assert_eq!(verdict.rank, Some(Rank::Score));
    assert_eq!((known().score, known().action), (89, Action::Deny));
    let explained = harness.intelligence.explain(address).await;
    assert_eq!((explained.score, explained.action), (89, Action::Deny));
    assert_eq!(explained.rule.unwrap().action, Action::Deny);
    assert_eq!(stand_in.seen().len(), 1);
}

#[tokio::test]
async fn a_trusted_word_caps_what_a_list_makes_suspicious_and_the_filter_is_told_that_it_does() {
    let benign = r#"{"ip":"198.18.0.1","noise":true,"riot":true,"classification":"benign"}"#;
    let stand_in = StandIn::start(200, benign).await;
    let harness = listed(&stand_in, "kind = \"greynoise\"").await;
    let verdict = harness.verdict("198.18.0.1").await;
    assert_eq!((verdict.score, verdict.band), (20, Band::Clean));
    assert_eq!(verdict.rank, Some(Rank::Score));
    let explained = harness
        .intelligence
        .explain("198.18.0.1".parse().unwrap())
        .await;
    assert_eq!((explained.score, explained.rule), (20, None));
}

#[tokio::test]
async fn what_lists_alone_make_malicious_is_decided_without_asking() {
    let stand_in = StandIn::start(200, &answer(100)).await;
    let harness = listed(&stand_in, "kind = \"abuseipdb\"").await;
    let verdict = harness.verdict("198.18.0.2").await;
    assert_eq!((verdict.score, verdict.action), (89, Action::Deny));
    assert!(stand_in.seen().is_empty());
}

#[tokio::test]
async fn two_hundred_asks_of_one_address_are_one_call() {
    let stand_in = StandIn::start(200, &answer(0)).await;
    stand_in.hold();
    let harness = Arc::new(start(&stand_in).await);
    let asks: Vec<_> = (0..200)
        .map(|_| {
            let harness = Arc::clone(&harness);
            tokio::spawn(async move { harness.verdict("198.18.0.1").await })
        })
        .collect();
    until(|| !stand_in.seen().is_empty()).await;
    stand_in.let_go();
    for ask in asks {
        assert_eq!(ask.await.unwrap().band, Band::Clean);
    }
    assert_eq!(stand_in.seen().len(), 1);
}

#[tokio::test]
async fn whoever_cannot_wait_gets_a_provisional_answer_and_the_final_one_later() {
    let stand_in = StandIn::start(200, &answer(93)).await;
    stand_in.hold();
    let harness = start(&stand_in).await;
    let first = harness
        .verdict_within("198.18.0.1", Duration::from_millis(5))
        .await;
    assert_eq!(
        (first.provisional, first.ttl_s),
        (true, Verdict::PROVISIONAL_TTL_S)
    );
    assert_eq!(first.action, Action::Allow);
    assert!(
        harness
            .intelligence
            .known("198.18.0.1".parse().unwrap())
            .is_none()
    );
    stand_in.let_go();
    let known = || harness.intelligence.known("198.18.0.1".parse().unwrap());
    until(|| known().is_some_and(|verdict| verdict.score == 93)).await;
    assert_eq!(stand_in.seen().len(), 1);
}

#[tokio::test]
async fn a_stale_answer_serves_while_a_new_one_is_fetched() {
    let stand_in = StandIn::start(200, &answer(93)).await;
    let harness = start(&stand_in).await;
    harness.verdict("198.18.0.1").await;
    harness.clock.advance(30 * 3600);
    stand_in.tell(200, &[], &answer(0));
    assert_eq!(harness.verdict("198.18.0.1").await.score, 93);
    until(|| stand_in.seen().len() == 2).await;
    let known = || harness.intelligence.known("198.18.0.1".parse().unwrap());
    until(|| known().is_some_and(|verdict| verdict.score == 0)).await;
}

#[tokio::test]
async fn unban_names_the_provider_that_refuses_the_address_all_the_same() {
    let stand_in = StandIn::start(200, &answer(93)).await;
    let harness = start(&stand_in).await;
    harness.verdict("198.18.0.1").await;
    let unban = Removal::Bans("198.18.0.1".parse().unwrap());
    let removed = harness.intelligence.remove_decisions(unban).await.unwrap();
    let rule = removed.still_refused_by.unwrap();
    assert_eq!(
        (rule.rank, rule.action, rule.reason.as_str()),
        (Rank::Score, Action::Deny, "abuseipdb")
    );
}

#[tokio::test]
async fn answers_survive_a_restart() {
    let stand_in = StandIn::start(200, &answer(93)).await;
    let harness = start(&stand_in).await;
    harness.verdict("198.18.0.1").await;
    let harness = harness.restart(&config(&stand_in, 1000)).await;
    assert_eq!(harness.verdict("198.18.0.1").await.score, 93);
    assert_eq!(stand_in.seen().len(), 1);
}

#[tokio::test]
async fn the_days_quota_is_kept_through_a_restart_and_a_new_day_refills_it() {
    let stand_in = StandIn::start(200, &answer(0)).await;
    let two = config(&stand_in, 2);
    let harness = Harness::start_with(&[("key", "sesame")], &two).await;
    for low in 1..=2 {
        harness.verdict(&format!("198.18.0.{low}")).await;
    }
    let harness = harness.restart(&two).await;
    for low in 3..=9 {
        let verdict = harness.verdict(&format!("198.18.0.{low}")).await;
        assert_eq!((verdict.band, verdict.provisional), (Band::Clean, false));
    }
    assert_eq!(stand_in.seen().len(), 2);
    harness.clock.advance(86_400);
    harness.verdict("198.18.0.10").await;
    assert_eq!(stand_in.seen().len(), 3);
}

#[tokio::test]
async fn the_quota_is_exported_from_the_start_and_never_jumps() {
    let stand_in = StandIn::start(200, &answer(0)).await;
    let headers = |limit, left| {
        [
            ("x-ratelimit-limit", limit),
            ("x-ratelimit-remaining", left),
        ]
    };
    stand_in.tell(200, &headers("3000", "2999"), &answer(0));
    let configured = config(&stand_in, 100);
    let harness = Harness::start_with(&[("key", "sesame")], &configured).await;
    let gauges = |harness: &Harness| {
        let text = harness.metrics.encode().unwrap();
        let gauge = |name: &str| {
            let start = format!("portcullis_provider_quota_{name}{{provider=\"abuseipdb\"}} ");
            let value = text.lines().find_map(|line| line.strip_prefix(&start));
            value.unwrap().parse::<u32>().unwrap()
        };
        (gauge("limit"), gauge("remaining"))
    };
    assert_eq!(gauges(&harness), (100, 100));
    harness.verdict("198.18.0.1").await;
    assert_eq!(gauges(&harness), (100, 99));
    let harness = harness.restart(&configured).await;
    assert_eq!(gauges(&harness), (100, 99));
    stand_in.tell(200, &headers("50", "40"), &answer(0));
    harness.verdict("198.18.0.2").await;
    assert_eq!(gauges(&harness), (50, 40));
    let status = harness.intelligence.providers().swap_remove(0);
    assert_eq!((status.daily_quota, status.remaining), (50, 40));
}

#[tokio::test]
async fn others_calls_with_the_same_key_leave_a_smaller_quota_of_ours_alone() {
    let stand_in = StandIn::start(200, &answer(0)).await;
    let left = |left| {
        [
            ("x-ratelimit-limit", "1000"),
            ("x-ratelimit-remaining", left),
        ]
    };
    // All of it at once, so that what others used does not put ours off.
    let at_once = "[budget]\nreserve_percent = 0\nburst_percent = 100\nsightings = 1\n";
    let configured = config(&stand_in, 100) + at_once;
    let harness = Harness::start_with(&[("key", "sesame")], &configured).await;
    for (low, said, remaining) in [(1, "500", 99), (2, "499", 98), (3, "7", 7), (4, "6", 6)] {
        stand_in.tell(200, &left(said), &answer(0));
        harness.verdict(&format!("198.18.0.{low}")).await;
        let status = harness.intelligence.providers().swap_remove(0);
        assert_eq!((status.daily_quota, status.remaining), (100, remaining));
    }
    assert_eq!(stand_in.seen().len(), 4);
}

#[tokio::test]
async fn a_provider_that_is_too_slow_is_counted_as_that() {
    let stand_in = StandIn::start(200, &answer(0)).await;
    stand_in.hold();
    let slow = config(&stand_in, 100).replace("\"2s\"", "\"20ms\"");
    let harness = Harness::start_with(&[("key", "sesame")], &slow).await;
    harness.verdict("198.18.0.1").await;
    let line = "portcullis_provider_requests_total{provider=\"abuseipdb\",outcome=\"timeout\"} 1";
    assert!(harness.metrics.encode().unwrap().contains(line));
}

#[tokio::test]
async fn a_daily_limit_closes_the_gate_without_waiting() {
    let stand_in = StandIn::start(200, "").await;
    let error =
        r#"{"errors":[{"detail":"Daily rate limit of 1000 requests exceeded","status":429}]}"#;
    stand_in.tell(
        429,
        &[("retry-after", "30000"), ("x-ratelimit-remaining", "0")],
        error,
    );
    let harness = start(&stand_in).await;
    for low in 1..=5 {
        let verdict = harness.verdict(&format!("198.18.0.{low}")).await;
        assert_eq!((verdict.band, verdict.provisional), (Band::Clean, false));
    }
    assert_eq!(stand_in.seen().len(), 1);
    let status = harness.intelligence.providers().swap_remove(0);
    assert!(!status.available);
    assert!(status.last_error.unwrap().contains("Daily rate limit"));
}

#[tokio::test]
async fn a_refused_key_is_not_used_again_until_it_changes() {
    let stand_in = StandIn::start(401, "{}").await;
    let harness = start(&stand_in).await;
    for low in 1..=5 {
        harness.verdict(&format!("198.18.0.{low}")).await;
    }
    assert_eq!(stand_in.seen().len(), 1);
    stand_in.tell(200, &[], &answer(93));
    harness.write("key", "open sesame");
    assert_eq!(harness.verdict("198.18.0.9").await.score, 93);
}

#[tokio::test]
async fn rubbish_and_failures_are_remembered_for_a_while_and_never_a_score() {
    let stand_in = StandIn::start(200, "<html>").await;
    let harness = start(&stand_in).await;
    for _ in 0..10 {
        let verdict = harness.verdict("198.18.0.1").await;
        assert_eq!((verdict.band, verdict.provisional), (Band::Clean, false));
    }
    assert_eq!(stand_in.seen().len(), 1, "the failure is remembered");
    for low in 2..=9 {
        harness.verdict(&format!("198.18.0.{low}")).await;
    }
    assert_eq!(stand_in.seen().len(), 3, "three failures close the gate");
}

#[tokio::test]
async fn addresses_that_are_not_public_are_never_sent() {
    let stand_in = StandIn::start(200, &answer(93)).await;
    let config = config(&stand_in, 1000).replace("permit_special = true", "");
    let harness = Harness::start_with(&[("key", "sesame")], &config).await;
    harness.published(|_| true).await;
    for address in [
        "127.0.0.1",
        "10.0.0.1",
        "192.0.2.1",
        "::1",
        "fe80::1",
        "fd00::1",
    ] {
        assert_eq!(
            harness.verdict(address).await.action,
            Action::Allow,
            "{address}"
        );
    }
    assert!(stand_in.seen().is_empty());
}

#[tokio::test]
async fn one_visitor_never_decides_for_his_neighbours() {
    let stand_in = StandIn::start(200, &answer(0)).await;
    let config = config(&stand_in, 1000)
        + "[[feed]]\nname = \"hard\"\npath = \"{dir}/hard\"\nformat = \"plain\"\nblock = true\n";
    let files = [("key", "sesame"), ("hard", "2001:db8::bad\n")];
    let harness = Harness::start_with(&files, &config).await;
    harness.published(|_| true).await;
    let bad = harness.verdict("2001:db8::bad").await;
    assert_eq!(
        (bad.action, bad.scope.to_string().as_str()),
        (Action::Deny, "2001:db8::bad/128")
    );
    let neighbour = harness.verdict("2001:db8::1").await;
    assert_eq!(neighbour.action, Action::Allow);
    assert_eq!(neighbour.scope.to_string(), "2001:db8::1/128");
    let elsewhere = harness.verdict("2001:db8:0:1::1").await;
    assert_eq!(elsewhere.scope.to_string(), "2001:db8:0:1::/64");
}

#[tokio::test]
async fn soft_feeds_and_providers_are_weighed_together_and_explained() {
    let stand_in = StandIn::start(200, &answer(70)).await;
    let config = config(&stand_in, 1000).replace("weight = 1.0", "weight = 0.75")
        + "[[feed]]\nname = \"soft\"\npath = \"{dir}/soft\"\nformat = \"plain\"\nscore = 80\n\
           weight = 0.6\n";
    let files = [("key", "sesame"), ("soft", "198.18.0.0/24\n")];
    let harness = Harness::start_with(&files, &config).await;
    harness.published(|_| true).await;
    // 0.6 · 80 alone stays clean, so the provider is asked: 1 − (1 − 0.48)(1 − 0.525) = 0.753.
    let verdict = harness.verdict("198.18.0.7").await;
    assert_eq!((verdict.score, verdict.band), (75, Band::Suspicious));
    let explained = harness
        .intelligence
        .explain("198.18.0.7".parse().unwrap())
        .await;
    assert_eq!(
        (explained.score, explained.decision_id),
        (75, verdict.decision)
    );
    let sources: Vec<_> = explained
        .sources
        .iter()
        .map(|word| word.source.as_str())
        .collect();
    assert_eq!(sources, ["soft", "abuseipdb"]);
    assert_eq!(explained.sources[0].prefix.to_string(), "198.18.0.0/24");
    assert_eq!(explained.rule.unwrap().rank, Rank::Score);
}

#[tokio::test]
async fn a_listed_address_is_explained_by_its_rule_and_the_id_that_it_was_shown() {
    let stand_in = StandIn::start(200, &answer(0)).await;
    let config = config(&stand_in, 1000)
        + "[[feed]]\nname = \"hard\"\npath = \"{dir}/hard\"\nformat = \"plain\"\nblock = true\n";
    let files = [("key", "sesame"), ("hard", "198.18.0.0/24\n")];
    let harness = Harness::start_with(&files, &config).await;
    harness.published(|_| true).await;
    let address = "198.18.0.7".parse().unwrap();
    let explained = harness.intelligence.explain(address).await;
    let rule = explained.rule.unwrap();
    assert_eq!((rule.rank, rule.action), (Rank::HardSource, Action::Deny));
    assert_eq!(rule.prefix.to_string(), "198.18.0.0/24");
    let shown = reputation::DecisionId::for_listing("hard", address);
    assert_eq!(explained.decision_id, Some(shown));
    assert!(stand_in.seen().is_empty(), "explaining asks nobody");
}
