use reputation::UnixSeconds;

use super::*;
use crate::clock::ManualClock;
use crate::config::Config;
use crate::intelligence::testing::StandIn;

const NOW: UnixSeconds = UnixSeconds(1_790_000_040);

fn statistics(denied: u64, reloads: u64) -> String {
    format!(
        "portcullis_verdicts_total{{action=\"deny\",source=\"snapshot\",mode=\"enforce\"}} {denied}\n\
         envoy_wasm_portcullis_vm_reload_success{{}} {reloads}\nportcullis_vms{{}} 3\n"
    )
}

fn config(urls: &[&str]) -> Envoy {
    let toml = format!("[envoy]\nstats = {urls:?}");
    Config::parse(&toml, std::iter::empty()).unwrap().envoy
}

fn reading(urls: &[&str]) -> (Proxies, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(NOW));
    let proxies = Proxies::new(&config(urls), HttpClient::new(), clock.clone());
    (proxies, clock)
}

#[tokio::test]
async fn what_was_counted_since_the_last_reading_stands_in_its_minute() {
    let edge = StandIn::start(200, &statistics(100, 0)).await;
    let other = StandIn::start(200, &statistics(7, 0)).await;
    let (proxies, clock) = reading(&[edge.url.as_str(), other.url.as_str()]);
    proxies.read().await;
    // What was counted before is no rate of now.
    assert_eq!(proxies.minutes()[0].counts.get(Figure::Denied), 0);
    edge.tell(200, &[], &statistics(130, 0));
    other.tell(200, &[], &statistics(9, 0));
    clock.advance(60);
    proxies.read().await;
    let minutes = proxies.minutes();
    let denied: Vec<_> = minutes
        .iter()
        .map(|minute| (minute.at, minute.counts.get(Figure::Denied)))
        .collect();
    assert_eq!(denied, [(1_790_000_040, 0), (1_790_000_100, 32)]);
    let statuses = proxies.statuses();
    let [first, _] = statuses.as_slice() else {
        panic!("{statuses:?}")
    };
    assert_eq!(first.counts.unwrap().get(Figure::Denied), 130);
    assert_eq!((first.holds.vms, first.seen_at), (3, Some(1_790_000_100)));
}

#[tokio::test]
async fn a_proxy_that_does_not_answer_keeps_what_it_said_and_is_named() {
    let edge = StandIn::start(200, &statistics(5, 0)).await;
    let (proxies, _) = reading(&[edge.url.as_str()]);
    proxies.read().await;
    edge.tell(503, &[], "");
    proxies.read().await;
    let status = proxies.statuses().remove(0);
    assert_eq!(status.counts.unwrap().get(Figure::Denied), 5);
    assert_eq!(
        status.fault.as_deref(),
        Some("it answered with status 503 Service Unavailable")
    );
    edge.tell(200, &[], &statistics(6, 0));
    proxies.read().await;
    assert_eq!(proxies.statuses().remove(0).fault, None);
}

#[tokio::test]
async fn statistics_without_an_end_are_not_read_into_memory() {
    let endless = "x{} 1\n".repeat(MAX_BYTES / 6 + 2);
    let edge = StandIn::start(200, &endless).await;
    let (proxies, _) = reading(&[edge.url.as_str()]);
    proxies.read().await;
    let status = proxies.statuses().remove(0);
    assert!(status.fault.unwrap().contains("larger than"));
}

#[tokio::test]
async fn a_changed_configuration_keeps_what_is_known_of_those_that_stay() {
    let edge = StandIn::start(200, &statistics(5, 0)).await;
    let (proxies, _) = reading(&[edge.url.as_str()]);
    proxies.read().await;
    proxies.follow(&config(&["http://127.0.0.1:1", edge.url.as_str()]));
    let seen: Vec<_> = proxies
        .statuses()
        .into_iter()
        .map(|proxy| (proxy.url, proxy.counts.is_some()))
        .collect();
    let added = "http://127.0.0.1:1/stats/prometheus".to_owned();
    let kept = format!("{}stats/prometheus", edge.url);
    assert_eq!(seen, [(added, false), (kept, true)]);
}
