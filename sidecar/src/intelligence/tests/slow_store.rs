//! A store that takes longer than whoever asks can wait: he is answered in time, and the next one finds what it
//! said.

use std::time::{Duration, Instant};

use crate::intelligence::testing::{Harness, StandIn, until};
use crate::store::redis::tests::server::Server;

/// How long a look-up waits, as a proxy's that holds its requests for 10 ms.
const WAIT: Duration = Duration::from_millis(8);
/// How long Redis says nothing: less than a look-up of this store would take as well, a fifth of 2 s.
const SILENCE: Duration = Duration::from_millis(300);

fn answer(score: u32) -> String {
    format!("{{\"data\":{{\"abuseConfidenceScore\":{score},\"lastReportedAt\":null}}}}")
}

fn config(stand_in: &StandIn, quota: u32) -> String {
    format!(
        "[guard]\npermit_special = true\n\
         [budget]\nsightings = 1\nreserve_percent = 0\nburst_percent = 100\n\
         [[provider]]\nkind = \"abuseipdb\"\nbase_url = \"{}\"\nkey = \"secret:key\"\n\
         weight = 1.0\ndaily_quota = {quota}\n\
         [secret.key]\nfrom = \"file\"\nname = \"{{dir}}/key\"\n",
        stand_in.url
    )
}

async fn member(redis: &Server, stand_in: &StandIn, quota: u32) -> Harness {
    let config = config(stand_in, quota);
    let harness = Harness::start_beside_with(redis, &[("key", "sesame")], &config).await;
    harness.published(|now| now.manifest.lookups).await;
    harness
}

/// From now on Redis is silent for a while.
async fn silence(redis: &Server) -> Instant {
    let millis = SILENCE.as_millis().to_string();
    redis
        .command::<()>(&["CLIENT", "PAUSE", &millis, "ALL"])
        .await;
    Instant::now()
}

#[tokio::test]
async fn nobody_waits_longer_for_the_store_than_he_can_and_what_it_says_counts_for_the_next() {
    let (redis, stand_in) = (
        Server::start("").await,
        StandIn::start(200, &answer(93)).await,
    );
    let first = member(&redis, &stand_in, 100).await;
    assert_eq!(first.verdict("198.18.0.1").await.score, 93);
    let second = member(&redis, &stand_in, 100).await;
    let begun = silence(&redis).await;
    let verdict = second.verdict_within("198.18.0.1", WAIT).await;
    assert!(verdict.provisional, "the store was waited for");
    assert!(begun.elapsed() < SILENCE);
    let known = || second.intelligence.known("198.18.0.1".parse().unwrap());
    until(|| known().is_some_and(|verdict| verdict.score == 93)).await;
    let verdict = second.verdict_within("198.18.0.1", WAIT).await;
    assert_eq!((verdict.provisional, verdict.score), (false, 93));
    assert_eq!(stand_in.seen().len(), 1);
}

#[tokio::test]
async fn whom_the_store_does_not_know_is_asked_about_although_nobody_waits_any_more() {
    let (redis, stand_in) = (
        Server::start("").await,
        StandIn::start(200, &answer(93)).await,
    );
    let harness = member(&redis, &stand_in, 100).await;
    silence(&redis).await;
    assert!(harness.verdict_within("198.18.0.1", WAIT).await.provisional);
    let known = || harness.intelligence.known("198.18.0.1".parse().unwrap());
    until(|| known().is_some_and(|verdict| verdict.score == 93)).await;
    assert_eq!(stand_in.seen().len(), 1);
}

#[tokio::test]
async fn that_the_store_knows_nothing_is_remembered_for_a_while_and_not_for_long() {
    let (redis, stand_in) = (
        Server::start("").await,
        StandIn::start(200, &answer(0)).await,
    );
    // The only call of the day is spent: nobody is asked about the next one.
    let harness = member(&redis, &stand_in, 1).await;
    harness.verdict("198.18.0.1").await;
    harness.verdict("198.18.0.2").await;
    silence(&redis).await;
    let verdict = harness.verdict_within("198.18.0.2", WAIT).await;
    assert!(!verdict.provisional, "the store was asked again");
    harness.clock.advance(11);
    let verdict = harness.verdict_within("198.18.0.2", WAIT).await;
    assert!(verdict.provisional, "the store was not asked again");
}

#[tokio::test]
async fn what_a_sibling_was_told_since_the_store_was_read_is_not_asked_again() {
    let (redis, stand_in) = (
        Server::start("").await,
        StandIn::start(200, &answer(93)).await,
    );
    let first = member(&redis, &stand_in, 100).await;
    // Without a key it can ask nobody itself.
    let second = Harness::start_beside_with(&redis, &[], &config(&stand_in, 100)).await;
    assert_eq!(second.verdict("198.18.0.1").await.score, 0);
    assert_eq!(first.verdict("198.18.0.1").await.score, 93);
    assert_eq!(second.verdict("198.18.0.1").await.score, 93);
    assert_eq!(stand_in.seen().len(), 1);
}
