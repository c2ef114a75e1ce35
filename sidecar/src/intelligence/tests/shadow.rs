//! Sources that have no say, or not the whole: what they would do is told and not done.

use reputation::manifest::Askable;
use reputation::{Action, Band, Shadow, Verdict};

use crate::intelligence::testing::{Harness, StandIn, until};

const LIST: &str = "198.18.0.1\n198.18.0.2\n198.18.0.3\n198.18.0.4\n198.18.0.5\n198.18.0.6\n\
                    198.18.0.7\n198.18.0.8\n198.18.1.0/24\n2001:db8::7\n";

fn config(feed: &str) -> String {
    format!(
        "[guard]\npermit_special = true\n\
         [[feed]]\nname = \"new\"\npath = \"{{dir}}/new.txt\"\nformat = \"plain\"\n{feed}\n"
    )
}

async fn start(feed: &str) -> Harness {
    let harness = Harness::start_with(&[("new.txt", LIST)], &config(feed)).await;
    harness.published(|_| true).await;
    harness
}

fn would_deny(verdict: &Verdict) -> bool {
    let denied = Shadow {
        action: Action::Deny,
        band: Band::Malicious,
        reason: "new".to_owned(),
    };
    assert!(verdict.shadow.is_none() || verdict.shadow == Some(denied));
    verdict.shadow.is_some()
}

#[tokio::test]
async fn a_hard_list_in_shadow_refuses_nobody_and_it_is_told_whom_it_would() {
    let harness = start("block = true\nshadow = true").await;
    let snapshot = harness
        .published(|now| now.manifest.askable() == Askable::Shadow)
        .await;
    for address in ["198.18.0.1", "198.18.1.77", "2001:db8::7"] {
        assert_eq!(harness.reason(&snapshot, address), None);
        let verdict = harness.verdict(address).await;
        assert_eq!((verdict.action, verdict.score), (Action::Allow, 0));
        assert!(would_deny(&verdict), "{address}");
    }
    assert!(!would_deny(&harness.verdict("198.18.2.1").await));
    // A neighbour in the same /64 is somebody else.
    assert!(!would_deny(&harness.verdict("2001:db8::8").await));
    assert_eq!(harness.verdict("2001:db8::7").await.scope.len(), 128);
    let told = harness.metrics.encode().unwrap();
    assert!(told.contains("portcullis_shadow_answers_total{source=\"new\",action=\"deny\"} 4"));
    let status = harness.intelligence.feeds().swap_remove(0);
    assert_eq!((status.entries, status.in_shadow), (10, 10));
    let explained = harness
        .intelligence
        .explain("198.18.0.1".parse().unwrap())
        .await;
    assert!(explained.sources[0].in_shadow && explained.rule.is_none());
    assert_eq!(explained.shadow.unwrap().action, Action::Deny);
}

#[tokio::test]
async fn a_ramp_refuses_some_and_always_the_same_and_those_stay_refused_as_it_rises() {
    let addresses: Vec<_> = (1..=8).map(|host| format!("198.18.0.{host}")).collect();
    let harness = start("block = true\nenforce_percent = 30").await;
    let mut refused: Vec<String> = Vec::new();
    for percent in [30, 60, 100] {
        let config = config(&format!("block = true\nenforce_percent = {percent}"));
        harness.take_over(&config).await;
        let mut now = Vec::new();
        for address in &addresses {
            let verdict = harness.verdict(address).await;
            assert_eq!(verdict, harness.verdict(address).await);
            assert_eq!(would_deny(&verdict), verdict.action == Action::Allow);
            if verdict.action == Action::Deny {
                now.push(address.clone());
            }
        }
        assert!(
            refused.iter().all(|address| now.contains(address)),
            "{refused:?} {now:?}"
        );
        assert!(now.len() > refused.len(), "{percent}: {now:?}");
        refused = now;
    }
    assert_eq!(refused, addresses);
    let snapshot = harness
        .published(|now| now.manifest.askable() == Askable::Nobody)
        .await;
    assert_eq!(
        harness.reason(&snapshot, "198.18.1.77").as_deref(),
        Some("new")
    );
}

#[tokio::test]
async fn what_outranks_a_source_in_shadow_is_not_told_to_be_otherwise() {
    let friends = "[[feed]]\nname = \"friends\"\npath = \"{dir}/friends.txt\"\nformat = \"plain\"\n\
                   allow = true";
    let harness = start(&format!("block = true\nshadow = true\n{friends}")).await;
    harness.write("friends.txt", "198.18.0.1\n");
    harness
        .take_over(&config(&format!(
            "block = true\nshadow = true\n{friends}\nrefresh = \"1s\""
        )))
        .await;
    harness
        .published(|now| harness.reason(now, "198.18.0.1").is_some())
        .await;
    assert!(!would_deny(&harness.verdict("198.18.0.1").await));
    assert!(would_deny(&harness.verdict("198.18.0.2").await));
}

#[tokio::test]
async fn a_soft_list_in_shadow_joins_the_arithmetic_only_in_what_is_told() {
    let stand_in = StandIn::start(200, r#"{"score":80}"#).await;
    let provider = format!(
        "[[provider]]\nkind = \"http-json\"\nname = \"asked\"\nurl = \"{}of/{{ip}}\"\n\
         score = \"/score\"\n",
        stand_in.url
    );
    let harness = start(&format!("score = 90\nshadow = true\n{provider}")).await;
    let verdict = harness.verdict("198.18.0.1").await;
    assert_eq!((verdict.action, verdict.score), (Action::Tag, 60));
    assert!(would_deny(&verdict));
    let explained = harness
        .intelligence
        .explain("198.18.0.1".parse().unwrap())
        .await;
    assert_eq!((explained.combined, explained.coverage.asked), (60, 1));
}

#[tokio::test]
async fn a_provider_in_shadow_is_asked_and_has_no_say() {
    let stand_in = StandIn::start(200, r#"{"score":100}"#).await;
    let provider = |say: &str| {
        format!(
            "[guard]\npermit_special = true\n[[provider]]\nkind = \"http-json\"\nname = \"new\"\n\
             url = \"{}of/{{ip}}\"\nscore = \"/score\"\nweight = 1\n{say}\n",
            stand_in.url
        )
    };
    let harness = Harness::start(&provider("shadow = true")).await;
    harness
        .published(|now| now.manifest.askable() == Askable::Shadow)
        .await;
    let say = || {
        harness.intelligence.providers()[0]
            .enforce_percent
            .in_words()
    };
    assert_eq!(say().unwrap(), "in shadow");
    let verdict = harness.verdict("198.18.0.1").await;
    assert_eq!((verdict.action, verdict.score), (Action::Allow, 0));
    assert!(would_deny(&verdict));
    harness.take_over(&provider("enforce_percent = 1")).await;
    assert_eq!(say().unwrap(), "has a say on 1 % of clients");
    harness
        .published(|now| now.manifest.askable() == Askable::Sources)
        .await;
    harness.take_over(&provider("")).await;
    assert_eq!(say(), None);
    let verdict = harness.verdict("198.18.0.1").await;
    assert_eq!((verdict.action, verdict.shadow), (Action::Deny, None));
    assert_eq!(stand_in.seen().len(), 1);
}

#[tokio::test]
async fn what_a_shadow_would_do_is_counted_when_the_answer_is_final() {
    let stand_in = StandIn::start(200, r#"{"score":0}"#).await;
    stand_in.hold();
    let provider = format!(
        "[[provider]]\nkind = \"http-json\"\nname = \"asked\"\nurl = \"{}of/{{ip}}\"\n\
         score = \"/score\"\n",
        stand_in.url
    );
    let harness = start(&format!("block = true\nshadow = true\n{provider}")).await;
    let counted = || {
        let text = harness.metrics.encode().unwrap();
        let line = "portcullis_shadow_answers_total{source=\"new\",action=\"deny\"} ";
        let value = text.lines().find_map(|found| found.strip_prefix(line));
        value.map_or(0, |value| value.parse::<u32>().unwrap())
    };
    let soon = std::time::Duration::from_millis(5);
    let first = harness.verdict_within("198.18.0.1", soon).await;
    assert!(first.provisional && would_deny(&first));
    assert_eq!(counted(), 0);
    stand_in.let_go();
    let last = harness.verdict("198.18.0.1").await;
    assert!(!last.provisional && would_deny(&last));
    assert_eq!(counted(), 1);
}

fn on_trial(harness: &Harness) -> bool {
    harness.intelligence.feeds()[0].trial_until.is_some()
}

/// A list of one entry, and a second version that adds `added`, on trial by now.
async fn try_version(added: &str) -> Harness {
    let feed = config("block = true\ntrial = \"10m\"\nrefresh = \"1s\"");
    let harness = Harness::start_with(&[("new.txt", "198.18.0.1\n198.18.0.2\n")], &feed).await;
    harness
        .published(|now| harness.reason(now, "198.18.0.1").is_some())
        .await;
    assert!(!on_trial(&harness));
    harness.write("new.txt", &format!("198.18.0.1\n{added}"));
    until(|| on_trial(&harness)).await;
    harness
        .published(|now| now.manifest.askable() == Askable::Shadow)
        .await;
    harness
}

#[tokio::test]
async fn what_a_new_version_adds_is_in_shadow_until_its_trial_is_over() {
    let harness = try_version("198.18.1.0/24\n").await;
    for old in ["198.18.0.1", "198.18.0.2"] {
        assert_eq!(harness.verdict(old).await.action, Action::Deny);
    }
    let added = harness.verdict("198.18.1.7").await;
    assert!(added.action == Action::Allow && would_deny(&added));
    harness.clock.advance(601);
    let snapshot = harness
        .published(|now| harness.reason(now, "198.18.1.7").is_some())
        .await;
    assert_eq!(harness.reason(&snapshot, "198.18.0.2"), None);
    assert!(!on_trial(&harness) && snapshot.manifest.askable() == Askable::Nobody);
}

#[tokio::test]
async fn a_version_on_trial_is_a_success_of_its_source_from_its_arrival_on() {
    let feed = config("block = true\ntrial = \"10m\"\nrefresh = \"1s\"");
    let harness = Harness::start_with(&[("new.txt", "198.18.0.1\n")], &feed).await;
    harness.published(|_| true).await;
    harness.clock.advance(3600);
    harness.write("new.txt", "198.18.0.1\n198.18.0.2\n");
    until(|| on_trial(&harness)).await;
    let status = harness.intelligence.feeds().swap_remove(0);
    assert_eq!(status.age_s, Some(0));
    let metrics = harness.metrics.encode().unwrap();
    let gauge = "portcullis_feed_last_success_timestamp_seconds{feed=\"new\"}";
    let expected = format!("{gauge} {}", status.last_success.unwrap().0);
    assert!(metrics.lines().any(|line| line == expected), "{metrics}");
}

#[tokio::test]
async fn a_version_that_would_refuse_whom_its_trial_saw_served_well_is_held() {
    let harness = try_version("198.18.1.0/24\n198.18.2.0/24\n").await;
    for host in 1..=4 {
        harness.verdict(&format!("198.18.1.{host}")).await;
        harness.verdict(&format!("198.18.2.{host}")).await;
    }
    harness.clock.advance(601);
    until(|| harness.intelligence.feeds()[0].held).await;
    let status = harness.intelligence.feeds().swap_remove(0);
    assert!(status.held_because.unwrap().contains("8 of 8"));
    assert_eq!(status.in_shadow, 0);
    let snapshot = harness
        .published(|now| now.manifest.askable() == Askable::Nobody)
        .await;
    assert_eq!(harness.reason(&snapshot, "198.18.1.7"), None);
    assert_eq!(
        harness.reason(&snapshot, "198.18.0.2").as_deref(),
        Some("new")
    );
    harness.intelligence.release_feed("new").await.unwrap();
    assert_eq!(harness.listed("198.18.1.7").as_deref(), Some("new"));
}

#[tokio::test]
async fn a_person_may_end_a_trial_early_and_a_version_that_adds_nothing_has_none() {
    let harness = try_version("198.18.1.0/24\n").await;
    harness.intelligence.release_feed("new").await.unwrap();
    assert!(!on_trial(&harness));
    assert_eq!(harness.listed("198.18.1.7").as_deref(), Some("new"));
    harness.write("new.txt", "198.18.0.1\n");
    harness
        .published(|now| harness.reason(now, "198.18.1.7").is_none())
        .await;
    assert!(!on_trial(&harness));
}
