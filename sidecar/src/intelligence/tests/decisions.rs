//! Giving decisions, taking them back, and what a snapshot says of them.

use std::time::Duration;

use reputation::manifest::SnapshotVersion;
use reputation::mode::Mode;
use reputation::{Action, Cidr, DecisionKind, Rank};

use crate::intelligence::testing::{Harness, until};
use crate::intelligence::{DecisionError, ModeError, NewDecision, Removal};
use crate::snapshot::canary;

const OPEN: &str = "[guard]\npermit_special = true\n";
const HARD: &str = "[guard]\npermit_special = true\n\
    [[feed]]\nname = \"hard\"\npath = \"{dir}/hard\"\nformat = \"plain\"\nblock = true\n";

fn new(cidr: &str, kind: DecisionKind) -> NewDecision {
    NewDecision {
        cidr: cidr.parse().unwrap(),
        kind,
        reason: "by hand".to_owned(),
        author: "tester".to_owned(),
        ttl: None,
        force: false,
    }
}

fn ban(cidr: &str) -> NewDecision {
    new(cidr, DecisionKind::Ban)
}

#[tokio::test]
async fn a_ban_counts_as_soon_as_it_is_given_and_unban_takes_it_back() {
    let harness = Harness::start(OPEN).await;
    let intelligence = &harness.intelligence;
    let before = harness.published(|_| true).await;

    let decision = intelligence.add_decision(ban("198.18.0.7")).await.unwrap();
    let verdict = harness.verdict("198.18.0.7").await;
    assert_eq!(
        (verdict.action, verdict.decision),
        (Action::Deny, Some(decision.id))
    );
    assert_eq!(verdict.rank, Some(Rank::OperatorBan));
    let banned = harness.published(|_| true).await;
    assert!(banned.manifest.version > before.manifest.version);
    assert_eq!(
        banned.manifest.base, before.manifest.base,
        "only the overlay is new"
    );
    assert_eq!(banned.manifest.generation, before.manifest.generation);

    let removal = Removal::Bans("198.18.0.7".parse().unwrap());
    let removed = intelligence.remove_decisions(removal).await.unwrap();
    assert_eq!(removed.removed, [decision]);
    assert_eq!(removed.still_refused_by, None);
    assert_eq!(harness.verdict("198.18.0.7").await.action, Action::Allow);
    let unbanned = harness.published(|_| true).await;
    assert_ne!(unbanned.manifest.generation, banned.manifest.generation);
}

#[tokio::test]
async fn decisions_survive_a_restart_and_versions_go_on_rising() {
    let harness = Harness::start(OPEN).await;
    harness
        .intelligence
        .add_decision(ban("198.18.0.7"))
        .await
        .unwrap();
    let before = harness.published(|_| true).await.manifest.version;
    let harness = harness.restart(OPEN).await;
    let after = harness.published(|_| true).await;
    assert!(after.manifest.version > before);
    assert_eq!(harness.intelligence.decisions().len(), 1);
    assert_eq!(harness.verdict("198.18.0.7").await.action, Action::Deny);
}

#[tokio::test]
async fn a_ban_in_the_base_is_masked_when_it_is_taken_back() {
    let harness = Harness::start(OPEN).await;
    let decision = harness
        .intelligence
        .add_decision(ban("198.18.0.0/24"))
        .await
        .unwrap();
    let inner = harness
        .intelligence
        .add_decision(ban("198.18.0.9"))
        .await
        .unwrap();
    let harness = harness.restart(OPEN).await;
    let base = harness.published(|_| true).await.manifest.base.digest;

    let removal = Removal::Id(decision.id);
    harness
        .intelligence
        .remove_decisions(removal)
        .await
        .unwrap();
    let now = harness.published(|_| true).await;
    assert_eq!(now.manifest.base.digest, base);
    assert_eq!(harness.verdict("198.18.0.7").await.action, Action::Allow);
    assert_eq!(harness.verdict("198.18.0.9").await.decision, Some(inner.id));
}

#[tokio::test]
async fn unban_names_what_still_refuses() {
    let harness = Harness::start_with(&[("hard", "198.18.0.0/24\n")], HARD).await;
    let removal = Removal::Bans("198.18.0.7".parse().unwrap());
    harness.published(|_| true).await;
    let removed = harness
        .intelligence
        .remove_decisions(removal)
        .await
        .unwrap();
    assert!(removed.removed.is_empty());
    let rule = removed.still_refused_by.unwrap();
    assert_eq!(
        (rule.rank, rule.reason.as_str()),
        (Rank::HardSource, "hard")
    );
    assert_eq!(rule.prefix, "198.18.0.0/24".parse::<Cidr>().unwrap());
}

#[tokio::test]
async fn unban_takes_back_bans_inside_the_prefix_and_leaves_allows() {
    let harness = Harness::start(OPEN).await;
    let intelligence = &harness.intelligence;
    let allow = new("198.18.0.1", DecisionKind::Allow);
    let allow = intelligence.add_decision(allow).await.unwrap();
    intelligence
        .add_decision(ban("198.18.0.0/24"))
        .await
        .unwrap();
    intelligence.add_decision(ban("198.18.0.9")).await.unwrap();
    let removal = Removal::Bans("198.18.0.0/24".parse().unwrap());
    let removed = intelligence.remove_decisions(removal).await.unwrap();
    assert_eq!(removed.removed.len(), 2);
    assert_eq!(intelligence.decisions(), [allow]);
}

#[tokio::test]
async fn a_new_ban_replaces_the_old_one_on_the_same_prefix() {
    let harness = Harness::start(OPEN).await;
    let intelligence = &harness.intelligence;
    intelligence.add_decision(ban("198.18.0.7")).await.unwrap();
    let mut short = ban("198.18.0.7");
    short.ttl = Some(Duration::from_secs(60));
    let short = intelligence.add_decision(short).await.unwrap();
    assert_eq!(intelligence.decisions(), [short]);
    harness.clock.advance(61);
    assert_eq!(harness.verdict("198.18.0.7").await.action, Action::Allow);
}

#[tokio::test]
async fn a_lapsed_decision_stops_counting_and_is_cleared_away() {
    let harness = Harness::start(OPEN).await;
    let mut short = ban("198.18.0.7");
    short.ttl = Some(Duration::from_secs(60));
    harness.intelligence.add_decision(short).await.unwrap();
    assert_eq!(harness.verdict("198.18.0.7").await.ttl_s, 60);
    harness.clock.advance(60);
    assert_eq!(harness.verdict("198.18.0.7").await.action, Action::Allow);
    assert!(harness.intelligence.decisions().is_empty());
    let gauge = "portcullis_decisions{origin=\"operator\",type=\"ban\"} 1";
    until(|| !harness.metrics.encode().unwrap().contains(gauge)).await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_ahead_by_less_than_an_hour_deletes_nothing_for_all() {
    let harness = Harness::start(OPEN).await;
    let mut short = ban("198.18.0.7");
    short.ttl = Some(Duration::from_secs(60));
    harness.intelligence.add_decision(short).await.unwrap();
    let kept = async || harness.store.decisions().await.unwrap().len();
    harness.clock.advance(60 + 3599);
    assert!(harness.intelligence.decisions().is_empty());
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(kept().await, 1);
    let unban = Removal::Bans("198.18.0.7".parse().unwrap());
    harness.clock.advance(1);
    for _ in 0..600 {
        if kept().await == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(kept().await, 0);
    let removed = harness.intelligence.remove_decisions(unban).await.unwrap();
    assert!(removed.removed.is_empty());
}

#[tokio::test]
async fn what_lapsed_is_not_said_to_be_taken_back() {
    let harness = Harness::start(OPEN).await;
    let mut short = ban("198.18.0.7");
    short.ttl = Some(Duration::from_secs(60));
    harness.intelligence.add_decision(short).await.unwrap();
    harness.clock.advance(61);
    let unban = Removal::Bans("198.18.0.7".parse().unwrap());
    let removed = harness.intelligence.remove_decisions(unban).await.unwrap();
    assert!(removed.removed.is_empty());
    assert!(harness.store.decisions().await.unwrap().is_empty());
}

#[tokio::test]
async fn very_wide_bans_tell_what_they_would_hit_and_need_force() {
    let harness = Harness::start(OPEN).await;
    let intelligence = &harness.intelligence;
    for clean in ["198.18.0.1", "198.19.0.1", "192.0.2.1"] {
        harness.verdict(clean).await;
    }
    let refused = intelligence.add_decision(ban("198.18.0.0/15")).await;
    let Err(DecisionError::TooWide { hits, .. }) = refused else {
        panic!("a /15 was banned");
    };
    assert_eq!((hits.address_bits, hits.recently_clean), (17, 2));
    assert!(
        intelligence
            .add_decision(ban("2001:d00::/24"))
            .await
            .is_err()
    );
    let everything = NewDecision {
        force: true,
        ..ban("0.0.0.0/0")
    };
    assert!(intelligence.add_decision(everything).await.is_err());

    let forced = NewDecision {
        force: true,
        ..ban("198.18.0.0/15")
    };
    intelligence.add_decision(forced).await.unwrap();
    assert!(
        intelligence
            .add_decision(ban("198.18.0.0/16"))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_very_wide_allow_needs_force_too_since_it_switches_protection_off() {
    let harness = Harness::start(OPEN).await;
    let intelligence = &harness.intelligence;
    for wide in ["198.18.0.0/15", "2001:d00::/24", "0.0.0.0/0"] {
        let allow = new(wide, DecisionKind::Allow);
        let refused = intelligence.add_decision(allow.clone()).await;
        assert!(
            matches!(refused, Err(DecisionError::TooWide { .. })),
            "{wide}: {refused:?}"
        );
        let forced = NewDecision {
            force: true,
            ..allow
        };
        assert!(intelligence.add_decision(forced).await.is_ok(), "{wide}");
    }
    let narrow = new("198.18.0.0/16", DecisionKind::Allow);
    assert!(intelligence.add_decision(narrow).await.is_ok());
}

#[tokio::test]
async fn the_canary_is_always_refused_and_only_an_operators_allow_hides_it() {
    for guard in ["", OPEN] {
        let harness = Harness::start(guard).await;
        harness.published(|_| true).await;
        for canary in canary::addresses() {
            let verdict = harness.verdict(&canary.to_string()).await;
            assert_eq!(
                (verdict.action, verdict.reason.as_str()),
                (Action::Deny, "canary")
            );
            let rule = harness.intelligence.explain(canary).await.rule.unwrap();
            assert_eq!(
                (rule.rank, rule.reason.as_str()),
                (Rank::OperatorBan, "canary")
            );
        }
        let neighbour = harness.verdict("192.0.2.89").await;
        assert_eq!(neighbour.action, Action::Allow);
        let allow = new("192.0.2.0/24", DecisionKind::Allow);
        harness.intelligence.add_decision(allow).await.unwrap();
        let hidden = harness.intelligence.explain(canary::NAMED.into()).await;
        assert_eq!(hidden.rule.unwrap().rank, Rank::OperatorAllow);
    }
}

#[tokio::test]
async fn a_reason_is_one_line() {
    let harness = Harness::start(OPEN).await;
    let mut two = ban("198.18.0.7");
    two.reason = "one\r\nx-injected: two".to_owned();
    let refused = harness.intelligence.add_decision(two).await;
    assert!(matches!(
        refused,
        Err(DecisionError::Text { what: "reason" })
    ));
}

#[tokio::test]
async fn modes_are_in_the_manifest_and_survive_a_restart() {
    let harness = Harness::start(OPEN).await;
    let hour = Some(Duration::from_secs(3600));
    harness
        .intelligence
        .set_mode(Mode::Monitor, None, None)
        .await
        .unwrap();
    let route = Some("checkout*".to_owned());
    harness
        .intelligence
        .set_mode(Mode::Off, route, hour)
        .await
        .unwrap();
    let harness = harness.restart(OPEN).await;
    assert_eq!(harness.published(|_| true).await.manifest.modes.len(), 2);
    harness
        .intelligence
        .clear_modes(Some("checkout*"))
        .await
        .unwrap();
    let left = harness.published(|_| true).await.manifest.modes.clone();
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].mode, &left[0].route), (Mode::Monitor, &None));
    harness.intelligence.clear_modes(None).await.unwrap();
    assert!(harness.intelligence.modes().is_empty());
}

#[tokio::test]
async fn a_ban_holds_although_whoever_gave_it_went_away_in_the_midst() {
    let harness = Harness::start(OPEN).await;
    harness.published(|_| true).await;
    let ban = harness.intelligence.add_decision(ban("198.18.0.1"));
    let left = tokio::time::timeout(Duration::ZERO, ban).await;
    assert!(left.is_err(), "it takes longer than that");
    harness
        .published(|now| harness.reason(now, "198.18.0.1").is_some())
        .await;
}

#[tokio::test]
async fn a_reason_shows_what_it_says_wherever_it_is_read() {
    let harness = Harness::start(OPEN).await;
    for reason in [
        "a\r\nx-evil: 1",
        "\u{1b}[31m",
        "a\u{2028}b",
        "\u{202e}gnp.exe",
        "\0",
    ] {
        let deceptive = NewDecision {
            reason: reason.to_owned(),
            ..ban("198.18.0.1")
        };
        let refused = harness.intelligence.add_decision(deceptive).await;
        let refused = refused.unwrap_err();
        assert!(matches!(refused, DecisionError::Text { .. }), "{reason:?}");
    }
}

#[tokio::test]
async fn modes_are_bounded_in_number_and_name_a_route() {
    let harness = Harness::start("").await;
    let set = |route: String| harness.intelligence.set_mode(Mode::Off, Some(route), None);
    for faulty in ["", "a\nb", &"x".repeat(257)] {
        let refused = set(faulty.to_owned()).await;
        assert!(matches!(refused, Err(ModeError::Route)), "{faulty:?}");
    }
    for at in 0..256 {
        set(format!("route-{at}")).await.unwrap();
    }
    set("route-0".to_owned()).await.unwrap();
    let more = set("one more".to_owned()).await;
    assert!(matches!(more, Err(ModeError::TooMany)));
}

#[tokio::test]
async fn something_newer_elsewhere_opens_a_higher_epoch() {
    let harness = Harness::start(OPEN).await;
    let ours = harness.published(|_| true).await.manifest.version;
    let older = SnapshotVersion {
        epoch: ours.epoch,
        version: 0,
    };
    harness.intelligence.claimed(older).await;
    let now = harness.published(|_| true).await.manifest.version;
    assert_eq!(now.epoch, ours.epoch);

    let theirs = SnapshotVersion {
        epoch: ours.epoch + 7,
        version: 9,
    };
    harness.intelligence.claimed(theirs).await;
    harness.published(|now| now.manifest.version > theirs).await;
}
