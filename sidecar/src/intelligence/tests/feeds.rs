//! Feeds from files and URLs: what is taken, refused, held, kept and fetched again.

use reputation::manifest::MAX_PART_BYTES;
use reputation::{Action, Band, Rank, UnixSeconds};

use crate::clock::Clock;
use crate::intelligence::ReleaseError;
use crate::intelligence::testing::{Harness, StandIn, until};

const HARD: &str = "[guard]\npermit_special = true\n\
    [[feed]]\nname = \"hard\"\npath = \"{dir}/hard\"\nformat = \"plain\"\nblock = true\nrefresh = \"1s\"\n";

fn by_url(stand_in: &StandIn) -> String {
    format!(
        "[guard]\npermit_special = true\n[[feed]]\nname = \"hard\"\nurl = \"{}list\"\n\
         format = \"plain\"\nblock = true\nrefresh = \"1s\"\n",
        stand_in.url
    )
}

/// `count` addresses, one a line.
fn list(count: u32) -> String {
    let address = |at| std::net::Ipv4Addr::from(0xc612_0000_u32 + at);
    (0..count).map(|at| format!("{}\n", address(at))).collect()
}

#[tokio::test]
async fn without_any_feed_there_is_a_snapshot_at_once() {
    let harness = Harness::start("").await;
    let first = harness.published(|_| true).await;
    assert!(!first.manifest.lookups);
    assert_eq!(harness.verdict("8.8.8.8").await.band, Band::Clean);
    let local = harness.verdict("127.0.0.1").await;
    assert_eq!(
        (local.rank, local.action),
        (Some(Rank::Trusted), Action::Allow)
    );
}

#[tokio::test]
async fn a_file_is_in_the_first_snapshot_and_its_change_in_a_later_one() {
    let harness = Harness::start_with(&[("hard", "198.18.0.1\n")], HARD).await;
    let first = harness.published(|_| true).await;
    assert_eq!(
        harness.reason(&first, "198.18.0.1").as_deref(),
        Some("hard")
    );
    harness.write("hard", "198.18.0.2\n");
    let later = harness
        .published(|now| harness.reason(now, "198.18.0.2").is_some())
        .await;
    assert_eq!(harness.reason(&later, "198.18.0.1"), None);
    assert_eq!(
        later.manifest.base, first.manifest.base,
        "a small change is an overlay"
    );
    assert_ne!(later.manifest.generation, first.manifest.generation);
}

#[tokio::test]
async fn every_part_of_the_current_and_the_last_snapshot_can_be_fetched() {
    let harness = Harness::start_with(&[("hard", &list(60_000))], HARD).await;
    let first = harness.published(|_| true).await;
    harness.write("hard", &list(59_990));
    let later = harness
        .published(|now| now.manifest.version > first.manifest.version)
        .await;
    assert!(first.manifest.base.parts.len() > 1 || first.manifest.base.length < MAX_PART_BYTES);
    let images = [
        &first.manifest.base,
        &first.manifest.overlay,
        &later.manifest.overlay,
    ];
    for digest in images.iter().flat_map(|image| &image.parts) {
        let part = later.parts.get(digest).unwrap();
        assert_eq!(reputation::digest::Digest::of(part), *digest);
    }
}

#[tokio::test]
async fn a_list_may_be_empty_at_first_and_grow_later_but_not_lose_all_its_entries() {
    let comments = "# nothing is active today\n";
    let harness = Harness::start_with(&[("hard", comments)], HARD).await;
    harness.published(|_| true).await;
    let status = || harness.intelligence.feeds().swap_remove(0);
    assert_eq!((status().entries, status().last_error), (0, None));
    let metric = "portcullis_feed_entries{feed=\"hard\"} 0";
    assert!(harness.metrics.encode().unwrap().contains(metric));

    harness.write("hard", &list(1000));
    until(|| status().entries == 1000).await;
    assert!(!status().held);

    harness.write("hard", comments);
    until(|| status().last_error.is_some()).await;
    assert_eq!(status().entries, 1000);
}

#[tokio::test]
async fn a_list_of_the_trusted_that_holds_everything_trusts_nobody() {
    let config = format!(
        "{HARD}[[feed]]\nname = \"good\"\npath = \"{{dir}}/good\"\nformat = \"plain\"\nallow = true\n"
    );
    let files = [
        ("hard", "9.9.9.9\n"),
        ("good", "0.0.0.0/0\n::/0\n9.8.0.0/16\n"),
    ];
    let harness = Harness::start_with(&files, &config).await;
    harness.published(|_| true).await;
    assert_eq!(harness.verdict("9.9.9.9").await.action, Action::Deny);
    assert_eq!(harness.verdict("9.8.7.6").await.rank, Some(Rank::Trusted));
    assert_eq!(harness.intelligence.feeds()[1].dropped.too_wide, 2);
}

#[tokio::test]
async fn a_large_change_is_a_new_base() {
    let harness = Harness::start_with(&[("hard", &list(10_000))], HARD).await;
    let first = harness.published(|_| true).await;
    harness.write("hard", &list(25_000));
    let later = harness
        .published(|now| now.manifest.base != first.manifest.base)
        .await;
    assert!(harness.reason(&later, "198.18.97.167").is_some());
}

#[tokio::test]
async fn a_bad_version_changes_nothing_and_is_told() {
    let harness = Harness::start_with(&[("hard", &list(100))], HARD).await;
    harness.write("hard", "<html>\n<p>gone</p>\n");
    until(|| harness.intelligence.feeds()[0].last_error.is_some()).await;
    let status = harness.intelligence.feeds().swap_remove(0);
    assert_eq!((status.entries, status.held), (100, false));
    assert!(status.last_error.unwrap().contains("2 of 2 lines"));
    let refused = "portcullis_feed_refused_total{feed=\"hard\",cause=\"unreadable\"} 1";
    assert!(harness.metrics.encode().unwrap().contains(refused));
    assert_eq!(harness.verdict("198.18.0.50").await.action, Action::Deny);
}

#[tokio::test]
async fn a_jump_is_held_until_it_is_released() {
    let harness = Harness::start_with(&[("hard", &list(1000))], HARD).await;
    let release = |name: &'static str| harness.intelligence.release_feed(name);
    assert!(matches!(
        release("hard").await,
        Err(ReleaseError::NotHeld(_))
    ));
    assert!(matches!(
        release("none").await,
        Err(ReleaseError::Unknown(_))
    ));
    harness.write("hard", &list(100));
    until(|| harness.intelligence.feeds()[0].held).await;
    let status = harness.intelligence.feeds().swap_remove(0);
    assert_eq!(status.entries, 1000);
    assert!(status.held_because.unwrap().contains("from 1000 to 100"));
    assert_eq!(harness.verdict("198.18.3.0").await.action, Action::Deny);

    release("hard").await.unwrap();
    harness
        .published(|now| harness.reason(now, "198.18.3.0").is_none())
        .await;
    assert_eq!(harness.intelligence.feeds()[0].entries, 100);
}

#[tokio::test]
async fn trust_with_an_end_ends_although_its_list_is_gone_and_many_end_together() {
    let end = "2026-12-01T00:00:00Z";
    let item = |low| format!("{{\"value\":\"198.18.0.{low}\",\"expiration\":\"{end}\"}},");
    let items: String = (0..100).map(item).collect();
    let list = format!("{{\"items\":[{items}{{\"value\":\"198.18.1.1\"}}]}}");
    let config = "[guard]\npermit_special = true\n[[feed]]\nname = \"partners\"\nallow = true\n\
        path = \"{dir}/partners\"\nformat = \"crowdsec-allowlist-json\"\nrefresh = \"1s\"\n";
    let harness = Harness::start_with(&[("partners", &list)], config).await;
    harness
        .published(|now| harness.reason(now, "198.18.0.7").is_some())
        .await;
    std::fs::remove_file(harness.directory.path().join("partners")).unwrap();
    let end = end.parse::<jiff::Timestamp>().unwrap().as_second();
    let left = harness
        .clock
        .now()
        .until(UnixSeconds(u32::try_from(end).unwrap()));
    harness.clock.advance(left);
    let over = harness
        .published(|now| harness.reason(now, "198.18.0.7").is_none())
        .await;
    assert_eq!(
        harness.reason(&over, "198.18.1.1").as_deref(),
        Some("partners")
    );
    let status = harness.intelligence.feeds().remove(0);
    assert_eq!((status.entries, status.held), (1, false));
}

#[tokio::test]
async fn a_version_that_refuses_addresses_served_well_is_held() {
    let harness = Harness::start_with(&[("hard", "198.19.0.1\n")], HARD).await;
    harness.published(|_| true).await;
    harness.serve_well().await;
    harness.write("hard", "198.19.0.1\n198.18.0.0/19\n");
    until(|| harness.intelligence.feeds()[0].held).await;
    let because = harness.intelligence.feeds()[0].held_because.clone();
    assert!(because.unwrap().contains("20 of 20 addresses"));
    assert_eq!(harness.verdict("198.18.3.1").await.action, Action::Allow);
}

impl Harness {
    /// Twenty visitors from as many networks, who come back an hour later.
    async fn serve_well(&self) {
        for pause in [0, 3600] {
            self.clock.advance(pause);
            for network in 0..20 {
                self.verdict(&format!("198.18.{network}.1")).await;
            }
        }
    }
}

#[tokio::test]
async fn attackers_with_many_addresses_do_not_hold_the_list_that_names_them() {
    let harness = Harness::start_with(&[("hard", "198.19.0.1\n")], HARD).await;
    harness.published(|_| true).await;
    harness.serve_well().await;
    let attacker = |index: u32| std::net::Ipv4Addr::from(0x0b00_0000 + index * 257);
    for index in 0..5000 {
        harness.verdict(&attacker(index).to_string()).await;
    }
    // The last sixty are more than a hundredth of everybody who was seen lately.
    let named: String = (4940..5000)
        .map(|index| format!("{}\n", attacker(index)))
        .collect();
    let named = format!("198.19.0.1\n{named}");
    harness.write("hard", &named);
    until(|| harness.intelligence.feeds()[0].entries == 61).await;
    let last = attacker(4999).to_string();
    harness
        .published(|now| harness.reason(now, &last).is_some())
        .await;
    // Those who were served well before the attack still count.
    harness.write("hard", &format!("{named}198.18.0.0/19\n"));
    until(|| harness.intelligence.feeds()[0].held).await;
    let because = harness.intelligence.feeds()[0].held_because.clone();
    assert!(because.unwrap().contains("20 of 20 addresses"));
}

#[tokio::test]
async fn a_feed_cannot_list_what_is_protected_nor_special_space() {
    let config = HARD.replace("permit_special = true", "protect = [\"9.9.0.0/16\"]");
    let files = [(
        "hard",
        "9.0.0.0/8\n9.9.9.9\n10.0.0.0/8\n0.0.0.0/0\n8.0.0.0/6\n",
    )];
    let harness = Harness::start_with(&files, &config).await;
    harness.published(|_| true).await;
    assert_eq!(harness.verdict("9.1.0.1").await.action, Action::Deny);
    assert_eq!(harness.verdict("9.9.9.9").await.reason, "protected");
    assert_eq!(harness.verdict("10.1.2.3").await.reason, "special-purpose");
    let dropped = harness.intelligence.feeds()[0].dropped;
    assert_eq!(
        (dropped.protected, dropped.special, dropped.too_wide),
        (1, 1, 2)
    );
}

#[tokio::test]
async fn a_url_is_fetched_with_conditions_and_kept_through_a_restart() {
    let stand_in = StandIn::start(200, "198.18.0.1\n").await;
    stand_in.tell(200, &[("etag", "\"one\"")], "198.18.0.1\n");
    let config = by_url(&stand_in);
    let harness = Harness::start(&config).await;
    harness
        .published(|now| harness.reason(now, "198.18.0.1").is_some())
        .await;
    let agent = &stand_in.seen()[0].headers["user-agent"];
    assert!(agent.to_str().unwrap().starts_with("portcullis/"));

    stand_in.tell(304, &[], "");
    let conditional = || {
        let seen = stand_in.seen();
        seen.iter().any(|asked| {
            asked
                .headers
                .get("if-none-match")
                .is_some_and(|tag| tag == "\"one\"")
        })
    };
    until(conditional).await;

    stand_in.tell(500, &[], "");
    until(|| harness.directory.path().join("feeds/hard.list").exists()).await;
    let harness = harness.restart(&config).await;
    let first = harness.published(|_| true).await;
    assert_eq!(
        harness.reason(&first, "198.18.0.1").as_deref(),
        Some("hard")
    );
    until(|| harness.intelligence.feeds()[0].last_error.is_some()).await;
    let status = harness.intelligence.feeds().swap_remove(0);
    assert!(status.last_error.unwrap().contains("500"));
    assert_eq!(status.entries, 1);
}

#[tokio::test]
async fn a_redirect_is_an_error_and_is_not_followed() {
    let stand_in = StandIn::start(302, "").await;
    stand_in.tell(302, &[("location", "http://127.0.0.1:1/")], "");
    let harness = Harness::start(&by_url(&stand_in)).await;
    until(|| harness.intelligence.feeds()[0].last_error.is_some()).await;
    let error = harness.intelligence.feeds()[0].last_error.clone();
    assert!(error.unwrap().contains("redirects"));
}

#[tokio::test]
async fn not_modified_without_anything_to_compare_with_is_an_error_of_its_own() {
    let stand_in = StandIn::start(304, "").await;
    let harness = Harness::start(&by_url(&stand_in)).await;
    until(|| harness.intelligence.feeds()[0].last_error.is_some()).await;
    let error = harness.intelligence.feeds()[0].last_error.clone();
    assert!(error.unwrap().contains("answered 304"));
}
