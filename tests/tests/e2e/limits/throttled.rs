//! Clients whose verdict is `throttle`: 60 requests a minute, told how they stand; nobody else notices.

use std::time::{Duration, Instant};

use kit::envoy::CONNECTIONS;
use kit::{Request, eventually_async};
use serde_json::json;

use super::{
    BURST, CLEAN, CLIENT, ask_as, counted, edge, edge_with, finds_it_empty, has_no_limit_headers,
    refilled, refusal, spend, spend_as,
};
use crate::common::{Edge, LIMIT, between, header_names, sidecar_that_blocks};

#[tokio::test]
async fn a_throttled_client_has_sixty_requests_at_once_and_then_one_a_second() {
    let edge = edge().await;
    let begun = Instant::now();
    let first = ask_as(&edge.envoy, CLIENT).await;
    assert_eq!(first.header("x-ratelimit-limit").as_deref(), Some("60"));
    assert_eq!(first.header("x-ratelimit-remaining").as_deref(), Some("59"));
    assert!(first.header("retry-after").is_none());
    let spent = spend_as(&edge.envoy, CLIENT, 100).await;
    let most = BURST - 1 + refilled(begun);
    assert!((BURST - 1..=most).contains(&spent.passed), "{spent:?}");
    assert_eq!(edge.upstream.served(), spent.passed as u64 + 1);
    let again = || async { edge.envoy.status_for(CLIENT).await == 200 };
    assert!(
        eventually_async(Duration::from_secs(2), again).await,
        "no token came back"
    );
}

#[tokio::test]
async fn who_is_refused_is_told_why_and_when_to_come_back() {
    let edge = edge().await;
    let request = Request::get("/").from_client(CLIENT);
    let refused = refusal(&edge.envoy, &request).await;
    for (name, value) in [
        ("retry-after", "1"),
        ("x-ratelimit-limit", "60"),
        ("x-ratelimit-remaining", "0"),
        ("content-type", "application/problem+json"),
    ] {
        assert_eq!(refused.header(name).as_deref(), Some(value), "{name}");
    }
    // Envoy rounds it down before 1.39 and up since.
    let reset = refused.header("x-ratelimit-reset").unwrap();
    assert!(["0", "1"].contains(&reset.as_str()), "{reset}");
    let problem = refused.json();
    assert_eq!(problem["status"], json!(429), "{problem}");
    assert_eq!(problem["title"], json!("Too Many Requests"), "{problem}");
    assert_eq!(
        problem["request_id"],
        json!(refused.header("x-request-id")),
        "{problem}"
    );
    assert!(!refused.text().contains("local_rate"), "{problem}");
}

#[tokio::test]
async fn a_throttled_grpc_client_is_told_in_its_own_way() {
    let edge = edge().await;
    let call = Request::post("/shop.Cart/Get", vec![0; 5]);
    let call = call
        .header("content-type", "application/grpc")
        .from_client(CLIENT);
    let refused = refusal(&edge.envoy, &call).await;
    assert_eq!(refused.status, 200);
    let resource_exhausted = Some("8");
    assert_eq!(refused.header("grpc-status").as_deref(), resource_exhausted);
    let message = refused.header("grpc-message").unwrap();
    assert!(
        !message.contains("local_rate") && !message.contains('{'),
        "{message}"
    );
}

#[tokio::test]
async fn clients_that_are_not_throttled_do_not_notice_those_that_are() {
    let edge = edge().await;
    for host in 1..=5 {
        spend_as(&edge.envoy, &format!("198.51.100.{host}"), 80).await;
    }
    let limited = counted(&edge.envoy, "throttled", "enabled").await;
    let mut connection = edge.envoy.connect().await.unwrap();
    for _ in 0..200 {
        let request = Request::get("/").from_client(CLEAN);
        let response = connection.send(&request).await.unwrap();
        assert_eq!(response.status, 200);
        assert!(has_no_limit_headers(&response), "{response:?}");
    }
    assert_eq!(counted(&edge.envoy, "throttled", "enabled").await, limited);
}

#[tokio::test]
async fn in_monitor_nobody_is_throttled() {
    let edge = edge_with(|envoy| envoy.plugin(json!({"mode": "monitor"})).unwrap()).await;
    let spent = spend_as(&edge.envoy, CLIENT, 150).await;
    assert_eq!(spent.passed, 150);
    assert!(has_no_limit_headers(&ask_as(&edge.envoy, CLIENT).await));
    assert_eq!(counted(&edge.envoy, "throttled", "enabled").await, 0);
}

#[tokio::test]
async fn a_decision_throttles_its_range_until_it_is_taken_back() {
    let edge = Edge::start(sidecar_that_blocks(&[])).await;
    let range = "192.0.2.0/26";
    let order = json!({"cidr": range, "type": "throttle", "reason": "scraping"});
    let order = Request::post("/v1/decisions", order.to_string().into());
    assert_eq!(edge.sidecar.ask_admin(order).await.unwrap().status, 201);
    let marked = |client: &'static str| {
        let envoy = &edge.envoy;
        move || async move { !has_no_limit_headers(&ask_as(envoy, client).await) }
    };
    assert!(eventually_async(LIMIT, marked("192.0.2.63")).await);
    let spent = spend_as(&edge.envoy, "192.0.2.1", 100).await;
    assert!(spent.is_limited_to(BURST), "{spent:?}");
    assert_eq!(spend_as(&edge.envoy, "192.0.2.64", 100).await.passed, 100);

    let lift = Request::new("DELETE", &format!("/v1/decisions?cidr={range}&type=ban"));
    assert_eq!(edge.sidecar.ask_admin(lift).await.unwrap().status, 200);
    // A token that came back would pass as well; who is free is not told of tokens.
    let free = || async { has_no_limit_headers(&ask_as(&edge.envoy, "192.0.2.1").await) };
    assert!(eventually_async(LIMIT, free).await);
    assert_eq!(spend_as(&edge.envoy, "192.0.2.1", 100).await.passed, 100);
}

#[tokio::test]
async fn the_mark_is_ours_alone_whatever_a_client_sends_and_stays_at_the_edge() {
    let edge = edge().await;
    let forged = |client: &str, headers: &[(&str, &str)]| {
        let request = Request::get("/").from_client(client);
        let with = |request: Request, (name, value): &(&str, &str)| request.header(name, value);
        headers.iter().fold(request, with)
    };
    let mut connection = edge.envoy.connect().await.unwrap();
    let forgeries: [&[(&str, &str)]; 6] = [
        &[("x-portcullis-throttle", "1")],
        &[("X-PORTCULLIS-Throttle", "1")],
        &[("x-portcullis-throttle", "0")],
        &[("x-portcullis-throttle", "")],
        &[("x-portcullis-throttle", "1, 0")],
        &[
            ("x-portcullis-throttle", "1"),
            ("x-portcullis-throttle", "0"),
        ],
    ];
    for headers in forgeries {
        for client in [CLEAN, CLIENT] {
            let response = connection.send(&forged(client, headers)).await.unwrap();
            assert_eq!(response.status, 200);
            let reached = header_names(&response.json());
            let shown = reached.iter().any(|name| name.contains("throttle"));
            assert!(!shown, "{headers:?}: {reached:?}");
            // Nobody makes himself throttled, and nobody who is throttled makes himself free.
            let unlimited = has_no_limit_headers(&response);
            assert_eq!(unlimited, client == CLEAN, "{headers:?}: {response:?}");
        }
    }
    for headers in &forgeries[..2] {
        let clean = std::iter::repeat_n(forged(CLEAN, headers), 150);
        assert_eq!(spend(&mut connection, clean).await.passed, 150);
    }
    let throttled = std::iter::repeat_n(forged(CLIENT, forgeries[2]), 100);
    let spent = spend(&mut connection, throttled).await;
    assert!(spent.passed <= BURST + spent.refilled, "{spent:?}");
}

#[tokio::test]
async fn a_change_of_the_plugins_file_fills_no_bucket_and_monitor_frees_at_once() {
    let edge = edge().await;
    let begun = Instant::now();
    spend_as(&edge.envoy, CLIENT, 100).await;
    let harmless = json!({"hold_ms": 11});
    edge.envoy.push_plugin(harmless).await.unwrap();
    assert!(finds_it_empty(&edge.envoy, CLIENT, begun).await);
    let monitor = json!({"mode": "monitor"});
    edge.envoy.push_plugin(monitor).await.unwrap();
    assert_eq!(spend_as(&edge.envoy, CLIENT, 100).await.passed, 100);
}

#[tokio::test]
async fn each_proxy_has_buckets_of_its_own() {
    let edge = edge().await;
    let throttle = json!({"actions": {"suspicious": "throttle"}});
    let other = between(&edge.upstream, &edge.sidecar.addresses());
    let other = other.plugin(throttle).unwrap().start().await.unwrap();
    assert!(other.until_snapshot(LIMIT).await.unwrap());
    for envoy in [&edge.envoy, &other] {
        let spent = spend_as(envoy, CLIENT, 100).await;
        assert!(spent.is_limited_to(BURST), "{spent:?}");
    }
}

#[tokio::test]
async fn all_workers_count_in_one_bucket() {
    let edge = edge_with(|envoy| envoy.concurrency(4)).await;
    let mut passed = 0;
    let begun = Instant::now();
    for _ in 0..CONNECTIONS {
        passed += spend_as(&edge.envoy, CLIENT, 10).await.passed;
    }
    let most = BURST + refilled(begun);
    assert!(
        (BURST..=most).contains(&passed),
        "{passed} of at most {most}"
    );
}
