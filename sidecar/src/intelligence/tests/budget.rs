//! The budget: whom a call is spent on when there are more addresses than calls.

use std::sync::Arc;
use std::time::Duration;

use reputation::manifest::Askable;
use reputation::{Band, ClientAddress};
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::intelligence::ProviderStatus;
use crate::intelligence::providers::{Acquaintances, Asked};
use crate::intelligence::testing::{Harness, StandIn, until};
use crate::store::redis::tests::server::Server;

const QUOTA: u32 = 1000;
const FEED: &str = "[[feed]]\nname = \"soft\"\npath = \"{dir}/soft\"\nformat = \"plain\"\n\
                    score = 60\nweight = 0.5\n";

fn answer(score: u32) -> String {
    format!("{{\"data\":{{\"abuseConfidenceScore\":{score},\"lastReportedAt\":null}}}}")
}

fn config(stand_in: &StandIn, budget: &str) -> String {
    format!(
        "[guard]\npermit_special = true\n[budget]\n{budget}\n\
         [[provider]]\nkind = \"abuseipdb\"\nbase_url = \"{}\"\nkey = \"secret:key\"\n\
         weight = 1.0\ndaily_quota = {QUOTA}\n\
         [secret.key]\nfrom = \"file\"\nname = \"{{dir}}/key\"\n{FEED}",
        stand_in.url
    )
}

/// At the beginning of a day, with `listed` on a soft feed.
async fn start(stand_in: &StandIn, budget: &str, listed: &str) -> Harness {
    let files = [("key", "sesame"), ("soft", listed)];
    let harness = Harness::start_with(&files, &config(stand_in, budget)).await;
    harness.until_midnight().await;
    harness
}

impl Harness {
    async fn until_midnight(&self) {
        let midnight = self.clock.today().end();
        self.clock.advance(self.clock.now().until(midnight));
        self.published(|now| now.manifest.askable() != Askable::Nobody)
            .await;
    }

    async fn stranger(&self, bits: u32) {
        let address = ClientAddress::V4(bits);
        let verdict = self
            .intelligence
            .verdict(address, 64, Duration::from_secs(20));
        assert_eq!(verdict.await.band, Band::Clean);
    }

    fn status(&self) -> ProviderStatus {
        self.intelligence.providers().swap_remove(0)
    }

    fn skipped(&self, reason: &str) -> u64 {
        let text = self.metrics.encode().unwrap();
        let start = format!(
            "portcullis_provider_skipped_total{{provider=\"abuseipdb\",reason=\"{reason}\"}} "
        );
        let value = text.lines().find_map(|line| line.strip_prefix(&start));
        value.map_or(0, |value| value.parse().unwrap())
    }
}

/// The address number `index` of as many, each in another network.
fn rotating(index: u32) -> u32 {
    0x0b00_0000 + index.wrapping_mul(257)
}

#[tokio::test]
async fn a_million_rotating_addresses_in_an_hour_cost_what_is_released_and_leave_the_reserve() {
    let stand_in = StandIn::start(200, &answer(0)).await;
    let harness = start(&stand_in, "", "").await;
    let gate = harness.intelligence.sources.view().setup.gates[0].clone();
    let acquaintances = Acquaintances::default();
    let ask = async |bits, suspicious| {
        let (address, now) = (ClientAddress::V4(bits), harness.clock.now());
        let candidate = acquaintances.meet(address, address, suspicious, 600, now);
        gate.admits(&candidate) && gate.ask(&candidate).await != Asked::NotAsked
    };
    let (mut strangers, mut returned) = (0, None);
    for index in 0..1_000_000 {
        strangers += u32::from(ask(rotating(index), false).await);
        if index % 278 == 0 {
            harness.clock.advance(1);
        }
        // He begins when strangers have spent what was theirs, and comes every 30 seconds.
        let comes = index > 200_000 && index % (278 * 30) == 0;
        if comes && ask(0xc613_0001, false).await && returned.is_none() {
            returned = Some((index - 200_000) / 278);
        }
    }
    // A hundred at once and a 24th of seven hundred, of which some are left for those who return.
    assert!((50..=129).contains(&strangers), "{strangers} calls");
    let after = returned.expect("he returned and was not looked up");
    assert!(after <= 180, "after {after} s");
    let mut suspicious = 0;
    for index in 0..1000 {
        suspicious += u32::from(ask(!rotating(index), true).await);
    }
    assert!((200..=329).contains(&suspicious), "{suspicious} calls");
    assert!(stand_in.seen().len() <= 330);
    assert!(harness.skipped("seldom_seen") + harness.skipped("pace") > 999_000);
}

#[tokio::test]
async fn who_returns_among_rotating_addresses_is_looked_up_and_who_is_listed_too() {
    let stand_in = StandIn::start(200, &answer(0)).await;
    let harness = start(&stand_in, "", "198.18.7.0/24\n").await;
    for index in 0..20_000 {
        harness.stranger(rotating(index)).await;
    }
    let spent = stand_in.seen().len();
    assert!(spent < 100, "{spent} calls");
    harness.verdict("198.19.0.1").await;
    assert_eq!(stand_in.seen().len(), spent, "a stranger at first sight");
    for _ in 0..3 {
        harness.verdict("198.19.0.1").await;
    }
    assert_eq!(stand_in.seen().len(), spent + 1);
    for low in 0..90 {
        harness.verdict(&format!("198.18.7.{low}")).await;
    }
    assert_eq!(stand_in.seen().len(), spent + 91);
}

#[tokio::test]
async fn one_network_cannot_spend_the_day() {
    let stand_in = StandIn::start(200, &answer(0)).await;
    let harness = start(&stand_in, "network_percent = 2\nsightings = 1", "").await;
    for low in 0..200 {
        harness.verdict(&format!("198.18.0.{low}")).await;
    }
    assert_eq!(stand_in.seen().len(), 20);
    assert_eq!(harness.skipped("network"), 180);
    for low in 0..200 {
        harness.verdict(&format!("2001:db8:7:{low:x}::1")).await;
    }
    assert_eq!(stand_in.seen().len(), 40);
    harness.verdict("198.18.1.1").await;
    assert_eq!(stand_in.seen().len(), 41);
}

#[tokio::test]
async fn what_is_not_released_yet_is_not_spent_by_a_restart_either() {
    let stand_in = StandIn::start(200, &answer(0)).await;
    let harness = start(&stand_in, "sightings = 1", "").await;
    for index in 0..200 {
        harness.stranger(rotating(index)).await;
    }
    assert_eq!(stand_in.seen().len(), 100);
    let status = harness.status();
    assert_eq!((status.released, status.reserved), (0, 200));
    assert_eq!((status.remaining, status.available), (900, true));
    let harness = harness.restart(&config(&stand_in, "sightings = 1")).await;
    for index in 200..300 {
        harness.stranger(rotating(index)).await;
    }
    assert_eq!(stand_in.seen().len(), 100);
    assert_eq!(harness.skipped("pace"), 100);
    harness.clock.advance(3600);
    for index in 300..400 {
        harness.stranger(rotating(index)).await;
    }
    assert_eq!(stand_in.seen().len(), 129);
}

#[tokio::test]
async fn a_thousand_that_ask_at_once_do_not_spend_more_than_is_released() {
    let stand_in = StandIn::start(200, &answer(0)).await;
    stand_in.hold();
    let harness = start(&stand_in, "sightings = 1", "").await;
    let harness = Arc::new(harness);
    let asks: Vec<_> = (0..1000)
        .map(|index| {
            let harness = Arc::clone(&harness);
            tokio::spawn(async move { harness.stranger(rotating(index)).await })
        })
        .collect();
    until(|| harness.skipped("pace") == 900).await;
    stand_in.let_go();
    for ask in asks {
        ask.await.unwrap();
    }
    assert_eq!(stand_in.seen().len(), 100);
    assert_eq!(harness.status().remaining, 900);
}

#[tokio::test]
async fn sidecars_that_share_a_redis_do_not_spend_more_than_is_released_together() {
    let redis = Server::start("").await;
    let stand_in = StandIn::start(200, &answer(0)).await;
    let files = [("key", "sesame"), ("soft", "")];
    let mut asks = JoinSet::new();
    let mut fleet = Vec::new();
    for _ in 0..3 {
        let config = config(&stand_in, "sightings = 1");
        let harness = Harness::start_beside_with(&redis, &files, &config).await;
        harness.until_midnight().await;
        fleet.push(Arc::new(harness));
    }
    // Each has counted nothing yet, so each believes that a hundred are its own.
    for (member, harness) in (0..).zip(&fleet) {
        for index in 0..90 {
            let harness = Arc::clone(harness);
            asks.spawn(async move { harness.stranger(rotating(1000 * member + index)).await });
        }
    }
    asks.join_all().await;
    assert_eq!(stand_in.seen().len(), 100);
    let skipped: u64 = fleet.iter().map(|harness| harness.skipped("pace")).sum();
    assert_eq!(skipped, 170);
}

#[tokio::test]
async fn two_bad_answers_make_their_network_suspicious() {
    let stand_in = StandIn::start(200, &answer(93)).await;
    let harness = start(&stand_in, "", "").await;
    harness.verdict("198.18.0.1").await;
    harness.verdict("198.18.0.2").await;
    stand_in.tell(200, &[], &answer(0));
    for index in 0..5_000 {
        harness.stranger(rotating(index)).await;
    }
    let before = stand_in.seen().len();
    harness.verdict("198.18.1.3").await;
    assert_eq!(stand_in.seen().len(), before, "a stranger at first sight");
    harness.verdict("198.18.0.3").await;
    assert_eq!(stand_in.seen().len(), before + 1);
}

#[tokio::test]
async fn the_words_of_a_provider_in_shadow_make_nobody_suspicious() {
    let stand_in = StandIn::start(200, &answer(93)).await;
    let files = [("key", "sesame"), ("soft", "")];
    let in_shadow = config(&stand_in, "").replace("weight = 1.0", "shadow = true");
    let harness = Harness::start_with(&files, &in_shadow).await;
    harness.until_midnight().await;
    harness.verdict("198.18.0.1").await;
    harness.verdict("198.18.0.2").await;
    stand_in.tell(200, &[], &answer(0));
    let skipped = || harness.skipped("seldom_seen") + harness.skipped("pace");
    // A neighbour of both, and a day later one whose bad answer is stale.
    for (address, pause) in [("198.18.0.3", 0), ("198.18.0.1", 27 * 3600)] {
        harness.clock.advance(pause);
        for index in 0..5_000 {
            harness.stranger(rotating(index)).await;
        }
        let before = skipped();
        harness.verdict(address).await;
        assert_eq!(skipped(), before + 1, "{address}");
    }
}

#[tokio::test]
async fn another_budget_counts_at_once_and_what_was_learnt_stays() {
    let stand_in = StandIn::start(200, &answer(0)).await;
    let harness = start(&stand_in, "sightings = 1", "").await;
    for index in 0..150 {
        harness.stranger(rotating(index)).await;
    }
    let wider = config(
        &stand_in,
        "sightings = 1\nburst_percent = 50\nreserve_percent = 0",
    );
    harness.take_over(&wider).await;
    let status = harness.status();
    assert_eq!(
        (status.released, status.reserved, status.remaining),
        (400, 0, 900)
    );
    assert_eq!(harness.verdict("198.18.0.1").await.band, Band::Clean);
    assert_eq!(stand_in.seen().len(), 101);
}

#[tokio::test]
async fn a_clean_answer_that_is_stale_is_no_reason_to_spend_the_reserve() {
    let stand_in = StandIn::start(200, &answer(0)).await;
    let harness = start(&stand_in, "", "").await;
    let (clean, bad) = ("198.18.0.1", "198.18.1.1");
    harness.verdict(clean).await;
    stand_in.tell(200, &[], &answer(30));
    harness.verdict(bad).await;
    harness.clock.advance(86_400 + 3 * 3600);
    stand_in.tell(200, &[], &answer(0));
    // Spends all that is released.
    for index in 0..5_000 {
        harness.stranger(rotating(index)).await;
    }
    let before = stand_in.seen().len();
    harness.verdict(clean).await;
    assert_eq!(stand_in.seen().len(), before);
    harness.verdict(bad).await;
    until(|| stand_in.seen().len() == before + 1).await;
}
