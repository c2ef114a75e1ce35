//! Answers that are in use: asked for anew a little early, once in a fleet, and never lost by asking.

use reputation::UnixSeconds;
use reputation::score::Stance;

use crate::clock::Clock;
use crate::intelligence::testing::{Harness, StandIn, until};
use crate::store::{StoredVerdict, VerdictKey};

const DAY: u32 = 86_400;
const CLIENT: &str = "198.18.0.1";

fn answer(score: u32) -> String {
    format!("{{\"data\":{{\"abuseConfidenceScore\":{score},\"lastReportedAt\":null}}}}")
}

async fn start(stand_in: &StandIn) -> Harness {
    let config = format!(
        "[guard]\npermit_special = true\n\
         [[provider]]\nkind = \"abuseipdb\"\nbase_url = \"{}\"\nkey = \"secret:key\"\nweight = 1.0\n\
         [secret.key]\nfrom = \"file\"\nname = \"{{dir}}/key\"\n",
        stand_in.url
    );
    let harness = Harness::start_with(&[("key", "sesame")], &config).await;
    harness.published(|now| now.manifest.lookups).await;
    harness
}

fn key() -> VerdictKey {
    VerdictKey {
        provider: "abuseipdb".to_owned(),
        address: CLIENT.parse().unwrap(),
    }
}

/// When the kept answer is to be asked for again.
async fn expiry(harness: &Harness) -> UnixSeconds {
    let kept = harness.intelligence.store.verdicts(&[key()]).await.unwrap();
    kept[0].clone().unwrap().expires
}

/// As a sibling would that shares the store.
async fn write(harness: &Harness, score: u8) {
    let now = harness.clock.now();
    let said = StoredVerdict {
        score,
        stance: Stance::Rated,
        categories: Vec::new(),
        observed: None,
        fetched: now,
        expires: now.plus(DAY),
    };
    let store = &harness.intelligence.store;
    store.put_verdict(key(), said).await.unwrap();
}

#[tokio::test]
async fn what_a_sibling_was_told_is_not_asked_for_again() {
    let stand_in = StandIn::start(200, &answer(93)).await;
    let harness = start(&stand_in).await;
    harness.verdict(CLIENT).await;
    harness.clock.advance(30 * 3600);
    write(&harness, 55).await;
    assert_eq!(
        harness.verdict(CLIENT).await.score,
        93,
        "stale, while it is renewed"
    );
    let known = || harness.intelligence.known(CLIENT.parse().unwrap());
    until(|| known().is_some_and(|verdict| verdict.score == 55)).await;
    assert_eq!(stand_in.seen().len(), 1);
}

#[tokio::test]
async fn an_answer_in_use_is_renewed_before_its_end_and_not_long_before() {
    let stand_in = StandIn::start(200, &answer(0)).await;
    let harness = start(&stand_in).await;
    harness.verdict(CLIENT).await;
    let end = expiry(&harness).await;
    for _ in 0..20 {
        harness.verdict(CLIENT).await;
    }
    assert_eq!(stand_in.seen().len(), 1, "a day before its end nobody asks");
    // One second before the end all but one of 600 ask; then its end is far again.
    harness.clock.advance(harness.clock.now().until(end) - 1);
    for _ in 0..10 {
        harness.verdict(CLIENT).await;
    }
    until(|| stand_in.seen().len() == 2).await;
}

#[tokio::test]
async fn a_renewal_that_fails_does_not_shorten_what_is_there() {
    let stand_in = StandIn::start(200, &answer(93)).await;
    let harness = start(&stand_in).await;
    harness.verdict(CLIENT).await;
    let end = expiry(&harness).await;
    harness.clock.advance(harness.clock.now().until(end) - 1);
    stand_in.tell(500, &[], "");
    for _ in 0..10 {
        assert_eq!(harness.verdict(CLIENT).await.score, 93);
    }
    let failed =
        "portcullis_provider_requests_total{provider=\"abuseipdb\",outcome=\"unavailable\"}";
    until(|| harness.metrics.encode().unwrap().contains(failed)).await;
    // It serves on after its end, and the failure is not tried again at once: whatever was asked for
    // would have arrived before the question about somebody else is answered.
    for pause in [0, 10] {
        harness.clock.advance(pause);
        for _ in 0..10 {
            assert_eq!(harness.verdict(CLIENT).await.score, 93);
        }
    }
    stand_in.tell(200, &[], &answer(0));
    harness.verdict("198.18.0.2").await;
    let about_him = || {
        stand_in
            .seen()
            .iter()
            .filter(|it| it.path.contains(CLIENT))
            .count()
    };
    assert_eq!(about_him(), 2);
    harness.clock.advance(60);
    assert_eq!(harness.verdict(CLIENT).await.score, 93);
    until(|| about_him() == 3).await;
}
