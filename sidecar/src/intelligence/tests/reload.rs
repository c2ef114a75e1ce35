//! Another configuration while everything runs: what changes follows it, what does not keeps all it has.

use std::sync::Arc;
use std::time::Duration;

use reputation::{Action, Band};

use crate::intelligence::providers::Closed;
use crate::intelligence::testing::{Harness, PATIENCE, StandIn, until};

const OPEN: &str = "[guard]\npermit_special = true\n";

fn file(name: &str, role: &str) -> String {
    format!("[[feed]]\nname = \"{name}\"\npath = \"{{dir}}/{name}\"\nformat = \"plain\"\n{role}\n")
}

fn url(name: &str, stand_in: &StandIn, more: &str) -> String {
    let url = &stand_in.url;
    format!(
        "[[feed]]\nname = \"{name}\"\nurl = \"{url}list\"\nformat = \"plain\"\nblock = true\n{more}\n"
    )
}

fn provider(stand_in: &StandIn, more: &str) -> String {
    format!(
        "[[provider]]\nkind = \"abuseipdb\"\nbase_url = \"{}\"\nkey = \"secret:key\"\nweight = 1.0\n\
         {more}\n[secret.key]\nfrom = \"file\"\nname = \"{{dir}}/key\"\n",
        stand_in.url
    )
}

fn answer(score: u32) -> String {
    format!("{{\"data\":{{\"abuseConfidenceScore\":{score},\"lastReportedAt\":null}}}}")
}

/// Open, with these sections.
fn open(sections: &[&str]) -> String {
    format!("{OPEN}{}", sections.concat())
}

/// With some files, and its first snapshot published.
async fn start(toml: &str) -> Harness {
    let files = [
        ("one", "198.18.0.1\n"),
        ("two", "198.18.0.2\n"),
        ("key", "sesame"),
    ];
    let harness = Harness::start_with(&files, toml).await;
    harness.published(|_| true).await;
    harness
}

fn generation(harness: &Harness) -> u32 {
    let current = harness.intelligence.snapshots().borrow().clone();
    current.unwrap().manifest.generation
}

#[tokio::test]
async fn a_list_that_comes_is_in_the_next_snapshot_and_one_that_goes_is_taken_back() {
    let (one, two) = (file("one", "block = true"), file("two", "block = true"));
    let harness = start(&open(&[&one])).await;
    harness.take_over(&open(&[&one, &two])).await;
    assert_eq!(harness.listed("198.18.0.1").as_deref(), Some("one"));
    assert_eq!(harness.listed("198.18.0.2").as_deref(), Some("two"));
    let before = generation(&harness);
    harness.take_over(&open(&[&two])).await;
    assert_eq!(harness.listed("198.18.0.1"), None);
    assert_eq!(harness.listed("198.18.0.2").as_deref(), Some("two"));
    assert!(
        generation(&harness) != before,
        "proxies forget what they kept"
    );
    let metrics = harness.metrics.encode().unwrap();
    assert!(!metrics.contains("feed_entries{feed=\"one\"}"), "{metrics}");
    assert_eq!(harness.intelligence.feeds().len(), 1);
    harness.write("one", "198.18.0.3\n");
    harness.take_over(&open(&[&two, &one])).await;
    assert_eq!(harness.listed("198.18.0.3").as_deref(), Some("one"));
}

#[tokio::test]
async fn nothing_is_published_if_no_snapshot_tells_of_the_change() {
    let one = file("one", "block = true");
    let harness = start(&open(&[&one])).await;
    let version = harness.published(|_| true).await.manifest.version;
    let secret = "[secret.other]\nfrom = \"env\"\nname = \"OTHER\"\n";
    for same in [
        open(&[&one]),
        open(&[&one, "[log]\nlevel = \"debug\"\n"]),
        open(&[&one, secret]),
    ] {
        harness.take_over(&same).await;
    }
    assert_eq!(harness.intelligence.secrets().statuses().len(), 1);
    harness
        .take_over(&open(&[&one, "[policy]\nsuspicious = 40\n"]))
        .await;
    let after = harness
        .published(|now| now.manifest.version > version)
        .await;
    assert_eq!(
        after.manifest.version.version,
        version.version + 2,
        "a preparation, a snapshot"
    );
}

#[tokio::test]
async fn a_list_that_stays_is_not_asked_for_again_and_stays_held() {
    let many: String = (0..100).map(|low| format!("198.18.1.{low}\n")).collect();
    let stand_in = StandIn::start(200, &many).await;
    let held = url("held", &stand_in, "refresh = \"1s\"");
    let harness = start(&open(&[&held])).await;
    until(|| harness.intelligence.feeds()[0].entries == 100).await;
    stand_in.tell(200, &[], "198.18.1.1\n");
    until(|| harness.intelligence.feeds()[0].held).await;
    stand_in.tell(304, &[], "");
    harness
        .take_over(&open(&[
            &held,
            &file("two", "block = true"),
            "[policy]\nsuspicious = 40\n",
        ]))
        .await;
    let status = harness.intelligence.feeds().swap_remove(0);
    assert!(status.held && status.entries == 100, "{status:?}");
    harness.intelligence.release_feed("held").await.unwrap();
    assert_eq!(harness.intelligence.feeds()[0].entries, 1);
}

#[tokio::test]
async fn a_list_whose_url_changes_stays_in_force_until_the_new_one_came() {
    let (old, new) = (
        StandIn::start(200, "198.18.0.1\n").await,
        StandIn::start(200, "198.18.0.2\n").await,
    );
    new.hold();
    let harness = start(&open(&[&url("moved", &old, "")])).await;
    harness
        .published(|now| harness.reason(now, "198.18.0.1").is_some())
        .await;
    harness.take_over(&open(&[&url("moved", &new, "")])).await;
    until(|| !new.seen().is_empty()).await;
    assert_eq!(harness.listed("198.18.0.1").as_deref(), Some("moved"));
    assert_eq!(harness.intelligence.feeds()[0].entries, 1);
    new.let_go();
    let after = harness
        .published(|now| harness.reason(now, "198.18.0.2").is_some())
        .await;
    assert_eq!(harness.reason(&after, "198.18.0.1"), None);
    assert_eq!(old.seen().len(), 1, "nobody asks there any more");
}

#[tokio::test]
async fn a_list_that_moves_and_turns_into_one_of_the_trusted_trusts_nobody_it_used_to_refuse() {
    let (old, gone) = (
        StandIn::start(200, "198.18.0.1\n").await,
        StandIn::start(404, "").await,
    );
    let harness = start(&open(&[&url("moved", &old, "")])).await;
    harness
        .published(|now| harness.reason(now, "198.18.0.1").is_some())
        .await;
    let allow = url("moved", &gone, "").replace("block = true", "allow = true");
    harness.take_over(&open(&[&allow])).await;
    until(|| harness.intelligence.feeds()[0].last_error.is_some()).await;
    assert_eq!(harness.verdict("198.18.0.1").await.action, Action::Deny);
}

#[tokio::test]
async fn a_role_that_changes_counts_at_once_and_without_asking_the_source_anew() {
    let stand_in = StandIn::start(200, "198.18.0.1\n").await;
    let harness = start(&open(&[&url("list", &stand_in, "")])).await;
    harness
        .published(|now| harness.reason(now, "198.18.0.1").is_some())
        .await;
    let scored = url("list", &stand_in, "").replace("block = true", "score = 90");
    harness.take_over(&open(&[&scored])).await;
    let verdict = harness.verdict("198.18.0.1").await;
    assert_eq!((verdict.band, verdict.score), (Band::Suspicious, 68));
    assert_eq!(stand_in.seen().len(), 1);
}

#[tokio::test]
async fn another_guard_is_applied_to_the_lists_in_force() {
    let list = file("wide", "block = true\nrefresh = \"7d\"");
    let harness = start(&open(&[&list])).await;
    harness.write("wide", "198.18.0.0/16\n198.19.0.1\n");
    harness.take_over(&open(&[&list, "[policy]\n"])).await;
    harness
        .published(|now| harness.reason(now, "198.18.0.7").is_some())
        .await;
    harness
        .take_over(&format!("{OPEN}min_prefix_v4 = 24\n{list}"))
        .await;
    assert_eq!(harness.listed("198.18.0.7"), None);
    assert_eq!(harness.listed("198.19.0.1").as_deref(), Some("wide"));
    assert_eq!(harness.intelligence.feeds()[0].dropped.too_wide, 1);
    harness.take_over(&open(&[&list])).await;
    assert_eq!(harness.listed("198.18.0.7").as_deref(), Some("wide"));
}

#[tokio::test]
async fn a_guard_that_permits_more_lets_in_what_was_held() {
    let many =
        |count: u32| -> String { (0..count).map(|low| format!("198.18.1.{low}\n")).collect() };
    let list = file("grown", "block = true");
    let harness = Harness::start_with(&[("grown", &many(20))], &open(&[&list])).await;
    harness.published(|_| true).await;
    harness.write("grown", &many(100));
    until(|| harness.intelligence.feeds()[0].held).await;
    harness
        .take_over(&format!("{OPEN}max_shrink = 2\n{list}"))
        .await;
    assert!(
        harness.intelligence.feeds()[0].held,
        "that says nothing about growth"
    );
    harness
        .take_over(&format!("{OPEN}max_growth = 10\n{list}"))
        .await;
    let status = harness.intelligence.feeds().swap_remove(0);
    assert!(!status.held && status.entries == 100, "{status:?}");
    assert_eq!(harness.listed("198.18.1.99").as_deref(), Some("grown"));
}

#[tokio::test]
async fn a_threshold_that_moves_changes_the_band_of_what_is_kept_and_asks_nobody() {
    let stand_in = StandIn::start(200, &answer(60)).await;
    let provider = provider(&stand_in, "");
    let harness = start(&open(&[&provider])).await;
    assert_eq!(harness.verdict("198.18.0.9").await.band, Band::Suspicious);
    let before = generation(&harness);
    harness
        .take_over(&open(&[&provider, "[policy]\nmalicious = 55\n"]))
        .await;
    assert_eq!(harness.verdict("198.18.0.9").await.band, Band::Malicious);
    assert!(
        generation(&harness) != before,
        "proxies forget what they kept"
    );
    assert_eq!(stand_in.seen().len(), 1);
}

#[tokio::test]
async fn a_provider_that_comes_is_asked_and_one_that_goes_has_no_say() {
    let stand_in = StandIn::start(200, &answer(93)).await;
    let with = open(&[&provider(&stand_in, "")]);
    let harness = start(OPEN).await;
    assert_eq!(harness.verdict("198.18.0.9").await.band, Band::Clean);
    harness.take_over(&with).await;
    assert!(harness.published(|_| true).await.manifest.lookups);
    assert_eq!(harness.verdict("198.18.0.9").await.band, Band::Malicious);
    harness.take_over(OPEN).await;
    assert!(!harness.published(|_| true).await.manifest.lookups);
    assert_eq!(harness.verdict("198.18.0.9").await.band, Band::Clean);
    assert!(harness.intelligence.providers().is_empty());
    let metrics = harness.metrics.encode().unwrap();
    assert!(!metrics.contains("quota_limit{provider"), "{metrics}");
    harness.take_over(&with).await;
    assert_eq!(harness.verdict("198.18.0.9").await.band, Band::Malicious);
    assert_eq!(
        stand_in.seen().len(),
        1,
        "what it said before is in the store"
    );
}

#[tokio::test]
async fn a_provider_that_stays_keeps_quota_breaker_and_error_and_one_that_changes_begins_anew() {
    let stand_in = StandIn::start(500, "").await;
    let asked = provider(&stand_in, "daily_quota = 50");
    let harness = start(&open(&[&asked])).await;
    for low in 0..3 {
        harness.verdict(&format!("198.18.0.{low}")).await;
    }
    let status = || harness.intelligence.providers().swap_remove(0);
    assert_eq!(status().closed, Some(Closed::Failing));
    harness
        .take_over(&open(&[
            &asked,
            &file("one", "block = true"),
            "[policy]\nsuspicious = 40\n",
        ]))
        .await;
    let kept = status();
    assert_eq!((kept.closed, kept.remaining), (Some(Closed::Failing), 47));
    assert!(kept.last_error.is_some());
    let changed = provider(&stand_in, "daily_quota = 60");
    harness.take_over(&open(&[&changed])).await;
    let anew = status();
    assert_eq!(
        (anew.closed, anew.daily_quota, anew.remaining),
        (None, 60, 57)
    );
}

#[tokio::test]
async fn a_secret_that_moves_is_found_in_its_new_place() {
    let stand_in = StandIn::start(200, &answer(93)).await;
    let before = provider(&stand_in, "").replace("{dir}/key", "{dir}/nowhere");
    let harness = start(&open(&[&before])).await;
    assert_eq!(harness.verdict("198.18.0.9").await.band, Band::Clean);
    assert_eq!(
        harness.intelligence.providers()[0].closed,
        Some(Closed::Key)
    );
    harness.take_over(&open(&[&provider(&stand_in, "")])).await;
    assert_eq!(harness.verdict("198.18.0.9").await.band, Band::Malicious);
}

#[tokio::test]
async fn a_look_up_that_is_under_way_ends_by_what_it_began_with() {
    let stand_in = StandIn::start(200, &answer(93)).await;
    stand_in.hold();
    let harness = Arc::new(start(&open(&[&provider(&stand_in, "")])).await);
    let asking = Arc::clone(&harness);
    let verdict = tokio::spawn(async move { asking.verdict("198.18.0.9").await });
    until(|| !stand_in.seen().is_empty()).await;
    harness.take_over(OPEN).await;
    stand_in.let_go();
    assert_eq!(verdict.await.unwrap().band, Band::Malicious);
    assert_eq!(harness.verdict("198.18.0.9").await.band, Band::Clean);
}

#[tokio::test]
async fn a_list_that_is_not_there_yet_is_as_at_a_start() {
    let missing = file("missing", "block = true");
    let harness = start(OPEN).await;
    harness.take_over(&open(&[&missing])).await;
    until(|| harness.intelligence.feeds()[0].last_error.is_some()).await;
    harness.write("missing", "198.18.0.4\n");
    let there = harness.published(|now| harness.reason(now, "198.18.0.4").is_some());
    assert!(tokio::time::timeout(PATIENCE, there).await.is_ok());
}

#[tokio::test]
async fn a_hundred_changes_under_look_ups_mix_no_two_configurations() {
    let stand_in = StandIn::start(200, &answer(60)).await;
    let provider = provider(&stand_in, "");
    let strict = open(&[&provider, "[policy]\nmalicious = 55\n"]);
    let mild = OPEN;
    let harness = Arc::new(start(&strict).await);
    let asking = Arc::clone(&harness);
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let looking = tokio::spawn(async move {
        let mut seen = 0_u32;
        while !*stopped.borrow_and_update() {
            let wait = Duration::from_secs(1);
            let verdict = asking.verdict_within("198.18.0.9", wait).await;
            let known = (verdict.band, verdict.score);
            // The provider's 60 under its threshold, or neither.
            let one = [(Band::Malicious, 60), (Band::Clean, 0)];
            assert!(one.contains(&known), "{known:?}");
            seen += 1;
            tokio::task::yield_now().await;
        }
        seen
    });
    for _ in 0..50 {
        harness.take_over(mild).await;
        harness.take_over(&strict).await;
    }
    stop.send_replace(true);
    assert!(looking.await.unwrap() > 0);
}
