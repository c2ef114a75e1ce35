//! What providers say of their limits, and what else says it in their place.

use crate::clock::Clock;
use crate::intelligence::ProviderStatus;
use crate::intelligence::testing::{Harness, StandIn, until};

const CLEAN: &str = r#"{"data":{"abuseConfidenceScore":0}}"#;
const PAGE: &str = "<html>away for maintenance</html>";

async fn start(stand_in: &StandIn) -> Harness {
    let config = format!(
        "[guard]\npermit_special = true\n[budget]\nsightings = 1\n\
         [[provider]]\nkind = \"abuseipdb\"\nbase_url = \"{}\"\nkey = \"secret:key\"\n\
         [secret.key]\nfrom = \"file\"\nname = \"{{dir}}/key\"\n",
        stand_in.url
    );
    let harness = Harness::start_with(&[("key", "sesame")], &config).await;
    harness.published(|now| now.manifest.lookups).await;
    harness
}

fn status(harness: &Harness) -> ProviderStatus {
    harness.intelligence.providers().swap_remove(0)
}

#[tokio::test]
async fn a_page_on_the_way_says_nothing_of_the_limits_behind_it() {
    let stand_in = StandIn::start(200, CLEAN).await;
    let harness = start(&stand_in).await;
    for (low, name) in ["x-ratelimit-limit", "x-ratelimit-remaining"]
        .into_iter()
        .enumerate()
    {
        for (high, said) in ["0", "1"].into_iter().enumerate() {
            stand_in.tell(503, &[(name, said)], PAGE);
            harness.verdict(&format!("198.18.{high}.{low}")).await;
            stand_in.tell(200, &[], CLEAN);
            harness.verdict(&format!("198.19.{high}.{low}")).await;
        }
    }
    assert_eq!(stand_in.seen().len(), 8);
    let status = status(&harness);
    assert_eq!((status.daily_quota, status.remaining), (1000, 992));
}

#[tokio::test]
async fn a_limit_of_no_calls_is_no_limit_when_it_comes_with_an_answer() {
    let stand_in = StandIn::start(200, CLEAN).await;
    let none = [("x-ratelimit-limit", "0"), ("x-ratelimit-remaining", "0")];
    stand_in.tell(200, &none, CLEAN);
    let harness = start(&stand_in).await;
    for low in 1..=3 {
        harness.verdict(&format!("198.18.0.{low}")).await;
    }
    assert_eq!(stand_in.seen().len(), 3);
    let status = status(&harness);
    assert_eq!((status.daily_quota, status.remaining), (1000, 997));
}

#[tokio::test]
async fn a_smaller_limit_is_believed_for_its_day_and_not_for_ever() {
    let stand_in = StandIn::start(200, CLEAN).await;
    stand_in.tell(200, &[("x-ratelimit-limit", "50")], CLEAN);
    let harness = start(&stand_in).await;
    harness.verdict("198.18.0.1").await;
    assert_eq!(status(&harness).daily_quota, 50);
    let midnight = harness.clock.today().end();
    harness.clock.advance(harness.clock.now().until(midnight));
    let status = status(&harness);
    assert_eq!((status.daily_quota, status.remaining), (1000, 1000));
}

#[tokio::test]
async fn who_is_refused_again_and_again_asks_ever_more_seldom_whatever_pause_is_said() {
    for said in ["0", "1"] {
        let stand_in = StandIn::start(200, CLEAN).await;
        stand_in.tell(429, &[("retry-after", said)], "");
        let harness = start(&stand_in).await;
        for low in 0..200 {
            harness.verdict(&format!("198.18.{low}.1")).await;
            harness.clock.advance(3);
        }
        // 5, 10, 20, 40, 80, 160 and 320 seconds lie between them.
        assert!((6..=8).contains(&stand_in.seen().len()), "{said}");
    }
}

/// So many seconds before midnight: past the day's last seconds, a call waits until it is let go.
async fn before_midnight(stand_in: &StandIn, seconds: u32) -> Harness {
    let harness = start(stand_in).await;
    let midnight = harness.clock.today().end();
    let left = harness.clock.now().until(midnight);
    harness.clock.advance(left - seconds);
    harness
}

#[tokio::test]
async fn what_was_left_of_yesterday_when_a_call_was_booked_takes_nothing_from_today() {
    for left in ["10", "0"] {
        let stand_in = StandIn::start(200, CLEAN).await;
        let said = [
            ("x-ratelimit-limit", "700"),
            ("x-ratelimit-remaining", left),
        ];
        stand_in.tell(200, &said, CLEAN);
        stand_in.hold();
        let harness = before_midnight(&stand_in, 1).await;
        let asked = harness.verdict("198.18.0.1");
        let midnight = async {
            until(|| stand_in.seen().len() == 1).await;
            harness.clock.advance(1);
            stand_in.let_go();
        };
        tokio::join!(asked, midnight);
        let today = status(&harness);
        assert!(today.available, "{left} left yesterday");
        assert_eq!((today.daily_quota, today.remaining), (1000, 1000));
        harness.clock.advance(600);
        harness.verdict("198.18.0.2").await;
        assert_eq!(stand_in.seen().len(), 2);
    }
}

#[tokio::test]
async fn what_is_left_is_not_believed_while_the_provider_may_still_count_the_last_day() {
    let stand_in = StandIn::start(200, CLEAN).await;
    stand_in.tell(200, &[("x-ratelimit-remaining", "0")], CLEAN);
    let harness = before_midnight(&stand_in, 0).await;
    for low in 1..=3 {
        harness.verdict(&format!("198.18.0.{low}")).await;
        harness.clock.advance(30);
    }
    assert_eq!(stand_in.seen().len(), 3);
    let early = status(&harness);
    assert_eq!((early.available, early.remaining), (true, 997));
    harness.clock.advance(30);
    harness.verdict("198.18.0.4").await;
    let later = status(&harness);
    assert_eq!((later.available, later.remaining), (false, 0));
}

#[tokio::test]
async fn too_many_right_after_midnight_is_a_matter_of_minutes_and_later_of_the_day() {
    let stand_in = StandIn::start(429, "").await;
    let harness = before_midnight(&stand_in, 0).await;
    let closed_for = || {
        let until = status(&harness).closed_until.unwrap();
        harness.clock.now().until(until)
    };
    harness.verdict("198.18.0.1").await;
    assert!((120..=132).contains(&closed_for()), "{}", closed_for());
    harness.clock.advance(140);
    harness.verdict("198.18.0.2").await;
    assert_eq!(stand_in.seen().len(), 2);
    assert!(closed_for() >= 86_400 - 140, "{}", closed_for());
}
