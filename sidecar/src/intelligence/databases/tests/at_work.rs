//! A database among the other sources: what it leads to, and how its file is replaced.

use super::*;

/// The same, with its file in the harness's directory.
fn config_at(harness: &Harness, lines: &str) -> Database {
    let mut config = config(lines);
    config.path = harness.directory.path().join("db.mmdb");
    config
}

/// A harness with this database at its place.
async fn started(database: &Mmdb, lines: &str) -> Harness {
    let harness = Harness::start("").await;
    put(&harness, &database.bytes());
    harness.take_over(&toml(lines)).await;
    until(|| status(&harness).in_force.is_some()).await;
    harness
}

#[tokio::test]
async fn whom_a_database_speaks_against_may_use_the_reserve_of_calls() {
    let stand_in = StandIn::start(200, r#"{"score":0}"#).await;
    let asking = format!(
        "[budget]\nreserve_percent = 90\n[[provider]]\nkind = \"http-json\"\nname = \"asked\"\n\
         url = \"{}of/{{ip}}\"\nscore = \"/score\"\ndaily_quota = 100\n",
        stand_in.url
    );
    let known = "45.1.2.4";
    for (say, more) in [("shadow = true", 0), ("", 1)] {
        let lines = format!("flags = {{ hosting = 30 }}\n{say}\n{asking}");
        let harness = started(&anonymous(), &lines).await;
        until(|| status(&harness).in_force.is_some()).await;
        for high in 0..20 {
            let stranger = address(&format!("45.77.{high}.1"));
            for _ in 0..4 {
                let asked = harness.intelligence.verdict(stranger, 64, PATIENCE);
                asked.await;
            }
        }
        let before = stand_in.seen().len();
        harness.verdict(known).await;
        assert_eq!(stand_in.seen().len(), before + more, "{say}");
    }
}

/// As geoipupdate does it: written beside, then put in place.
fn put(harness: &Harness, bytes: &[u8]) {
    let fresh = harness.directory.path().join("fresh.mmdb");
    std::fs::write(&fresh, bytes).unwrap();
    std::fs::rename(fresh, harness.directory.path().join("db.mmdb")).unwrap();
}

fn status(harness: &Harness) -> DatabaseStatus {
    harness.intelligence.databases().remove(0)
}

async fn explain(harness: &Harness, text: &str) -> Explanation {
    harness.intelligence.explain(address(text)).await
}

fn lookups(harness: &Harness) -> bool {
    let current = harness.intelligence.snapshots().borrow().clone().unwrap();
    current.manifest.lookups
}

#[tokio::test]
async fn without_scores_a_database_only_explains_and_nobody_asks_for_it() {
    let harness = started(&asn(), "").await;
    assert!(!lookups(&harness));
    let explanation = explain(&harness, "45.1.2.3").await;
    assert_eq!((explanation.coverage.asked, explanation.score), (0, 0));
    let word = &explanation.sources[0];
    let context = word.context.clone().unwrap();
    assert_eq!(context.asn.as_deref(), Some("AS64500"));
    assert_eq!(context.organisation.as_deref(), Some("Example Net"));
    assert_eq!((word.prefix, word.weight), (cidr("45.1.0.0/16"), None));
    assert!(explain(&harness, "9.9.9.9").await.sources.is_empty());
    assert!(!status(&harness).in_force.unwrap().scores);
}

#[tokio::test]
async fn a_scoring_database_is_asked_about_strangers_and_never_refuses_as_shipped() {
    let harness = started(&anonymous(), "").await;
    // The proxies are to ask.
    harness.published(|now| now.manifest.lookups).await;
    let verdict = harness.verdict("45.1.2.3").await;
    assert_eq!(
        (verdict.band, verdict.score),
        (Band::Clean, 18),
        "60 of 0.3"
    );
    let explanation = explain(&harness, "45.1.2.3").await;
    assert_eq!(
        (explanation.coverage.answered, explanation.coverage.asked),
        (1, 1)
    );
    assert_eq!(explanation.sources[0].categories, ["anonymous", "tor"]);

    harness
        .take_over(&toml("flags = {}\nweight = 1.0\nasn = { AS1 = 1 }"))
        .await;
    assert_eq!(harness.verdict("45.1.2.3").await.score, 0);
    harness
        .take_over(&toml("flags = { tor = 90 }\nweight = 1.0"))
        .await;
    let verdict = harness.verdict("45.1.2.3").await;
    assert_eq!((verdict.band, &*verdict.reason), (Band::Malicious, "db"));
    // The neighbour in the /64 is another, so the verdict is not his.
    let verdict = harness.verdict("2a00:1:2:3:8000::1").await;
    assert_eq!(verdict.scope, cidr("2a00:1:2:3:8000::1/128"));
    harness.take_over("").await;
    assert!(!lookups(&harness));
    assert_eq!(harness.verdict("45.1.2.3").await.score, 0);
}

#[tokio::test]
async fn in_shadow_it_is_shown_what_a_database_would_lead_to_and_nothing_follows() {
    let harness = started(
        &anonymous(),
        "flags = { tor = 90 }\nweight = 1.0\nshadow = true",
    )
    .await;
    let snapshot = harness.intelligence.snapshots().borrow().clone().unwrap();
    assert_eq!(snapshot.manifest.askable(), Askable::Shadow);
    let verdict = harness.verdict("45.1.2.3").await;
    assert_eq!((verdict.band, verdict.score), (Band::Clean, 0));
    assert_eq!(verdict.shadow.unwrap().band, Band::Malicious);
    assert!(explain(&harness, "45.1.2.3").await.sources[0].in_shadow);
}

#[tokio::test]
async fn a_file_that_is_replaced_counts_and_what_is_not_good_never_does() {
    let ago = |seconds| asn().built(u64::from(NOW.0) - seconds);
    let harness = started(&ago(3600), "").await;
    let first = status(&harness).in_force.unwrap().built;
    let older = ago(7200).bytes();
    let newest = Mmdb::new("GeoLite2-ASN").record(cidr("45.1.0.0/16"), &system(64999, "New"));
    let whole = newest.bytes();
    let (cut, _) = whole.split_at(whole.len() - 10);
    for (bytes, why, cause) in [
        (cut, "no whole database", "faulty"),
        (&b"maintenance"[..], "no whole database", "faulty"),
        (
            &anonymous().bytes()[..],
            "of the kind \"anonymous\"",
            "foreign",
        ),
        (&older[..], "before the one in force", "older"),
    ] {
        put(&harness, bytes);
        let told = || status(&harness).last_error.unwrap_or_default();
        until(|| told().contains(why)).await;
        assert!(told().contains("db.mmdb"), "{}", told());
        assert_eq!(status(&harness).in_force.unwrap().built, first);
        let asn = explain(&harness, "45.1.2.3").await.sources[0]
            .context
            .clone();
        assert_eq!(asn.unwrap().asn.as_deref(), Some("AS64500"));
        let metrics = harness.metrics.encode().unwrap();
        let counted = format!("cause=\"{cause}\"");
        assert!(
            metrics
                .lines()
                .any(|line| line.contains("database_refused") && line.contains(&counted))
        );
    }
    put(&harness, &whole);
    until(|| status(&harness).last_error.is_none()).await;
    let asn = explain(&harness, "45.1.2.3").await.sources[0]
        .context
        .clone();
    assert_eq!(asn.unwrap().asn.as_deref(), Some("AS64999"));
}

#[tokio::test]
async fn a_file_that_was_ahead_of_our_clock_counts_once_the_clock_is_right() {
    let ahead = asn().built(u64::from(NOW.0) + 100_000);
    let harness = Harness::start("").await;
    put(&harness, &ahead.bytes());
    harness.take_over(&toml("")).await;
    let told = || status(&harness).last_error.unwrap_or_default();
    until(|| told().contains("is the clock right?")).await;
    assert!(status(&harness).in_force.is_none());
    harness.clock.advance(100_000);
    until(|| status(&harness).in_force.is_some()).await;
    assert_eq!(status(&harness).last_error, None);
}

#[tokio::test]
async fn a_link_that_is_swapped_counts_and_a_file_that_comes_late_is_found() {
    let harness = Harness::start("").await;
    let here = harness.directory.path().to_owned();
    let link = here.join("db.mmdb");
    harness.take_over(&toml("asn = { AS64500 = 90 }")).await;
    let told = || status(&harness).last_error.unwrap_or_default();
    until(|| told().contains("cannot be read")).await;
    assert!(!lookups(&harness));
    std::fs::write(here.join("one.mmdb"), asn().bytes()).unwrap();
    std::os::unix::fs::symlink(here.join("one.mmdb"), &link).unwrap();
    harness
        .published(|published| published.manifest.lookups)
        .await;
    assert_eq!(harness.verdict("45.1.2.3").await.score, 27, "90 of 0.3");

    let two = Mmdb::new("GeoLite2-ASN").record(cidr("45.1.0.0/16"), &system(64501, "Other"));
    std::fs::write(here.join("two.mmdb"), two.bytes()).unwrap();
    std::os::unix::fs::symlink(here.join("two.mmdb"), here.join("swapped")).unwrap();
    std::fs::rename(here.join("swapped"), &link).unwrap();
    let system = || {
        let databases = &harness.intelligence.sources.view().setup.databases;
        databases.words(address("45.1.2.3"))[0].1.facts.asn
    };
    until(|| system() == Some(Asn(64501))).await;
}

#[tokio::test]
async fn nobody_waits_for_a_database_that_is_new_and_a_change_of_one_leaves_no_gap() {
    let harness = Harness::start("").await;
    put(&harness, &asn().bytes());
    let keeper = &harness.intelligence.databases;
    let (none, configs) = (Databases::default(), [config_at(&harness, "")]);
    let begun = keeper.places(&configs, &none).await;
    let first = || begun.statuses(NOW).remove(0);
    assert!(first().is_being_read());
    // What comes before it was read reads it itself.
    let again = [config_at(&harness, "weight = 0.2")];
    let early = keeper.places(&again, &begun).await;
    keeper.change(&none, &begun);
    until(|| first().in_force.is_some()).await;
    assert!(early.statuses(NOW).remove(0).is_being_read());
    keeper.change(&begun, &early);
    until(|| early.statuses(NOW).remove(0).in_force.is_some()).await;

    let elsewhere = harness.directory.path().join("other.mmdb");
    std::fs::write(&elsewhere, asn().bytes()).unwrap();
    let mut moved = config_at(&harness, "");
    moved.path = elsewhere;
    let moved = keeper.places(&[moved], &begun).await;
    assert!(moved.statuses(NOW).remove(0).in_force.is_some());
}

#[tokio::test]
async fn a_changed_configuration_keeps_what_was_read_even_if_the_file_is_gone() {
    let harness = started(&asn(), "").await;
    std::fs::remove_file(harness.directory.path().join("db.mmdb")).unwrap();
    harness
        .take_over(&toml("asn = { AS64500 = 50 }\nweight = 1.0"))
        .await;
    assert_eq!(harness.verdict("45.1.2.3").await.score, 50);
    assert!(
        status(&harness)
            .last_error
            .unwrap()
            .contains("cannot be read")
    );
}
