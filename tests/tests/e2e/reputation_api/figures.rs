//! How often a client may ask: ten times a minute, whatever it calls itself.

use std::time::Instant;

use kit::{Request, Response};
use serde_json::json;

use super::ask_about;
use crate::common::{Edge, sidecar_that_blocks};

const TEN: usize = 10;

/// One token comes back in six seconds.
fn most(since: Instant) -> usize {
    TEN + 1 + usize::try_from(since.elapsed().as_secs() / 6).unwrap()
}

fn passed(responses: &[Response]) -> usize {
    responses.iter().filter(|one| one.status == 200).count()
}

#[tokio::test]
async fn a_client_may_ask_ten_times_and_is_told_when_again() {
    let edge = Edge::start(sidecar_that_blocks(&[])).await;
    let begun = Instant::now();
    let mut answers = Vec::new();
    for number in 0..25 {
        let address = format!("8.8.8.{number}");
        answers.push(ask_about(&edge.envoy, &address, "203.0.113.5").await);
    }
    assert!(
        (TEN..=most(begun)).contains(&passed(&answers)),
        "{}",
        passed(&answers)
    );
    assert_eq!(
        answers[0].header("x-ratelimit-limit").as_deref(),
        Some("10")
    );
    assert_eq!(
        answers[0].header("x-ratelimit-remaining").as_deref(),
        Some("9")
    );
    let refused = answers.iter().find(|one| one.status == 429).unwrap();
    assert_eq!(refused.header("retry-after").as_deref(), Some("6"));
    assert_eq!(
        refused.header("x-ratelimit-remaining").as_deref(),
        Some("0")
    );
    assert_eq!(
        refused.header("content-type").as_deref(),
        Some("application/problem+json")
    );
    assert_eq!(refused.json()["title"], json!("Too Many Requests"));
    let other = ask_about(&edge.envoy, "8.8.8.8", "203.0.113.6").await;
    assert_eq!(other.header("x-ratelimit-remaining").as_deref(), Some("9"));
}

#[tokio::test]
async fn as_shipped_a_client_cannot_name_itself_another() {
    let edge = Edge::start_with(sidecar_that_blocks(&[]), |envoy| {
        envoy.change(|config| config.set_hops(0)).unwrap()
    })
    .await;
    let begun = Instant::now();
    let mut answers = Vec::new();
    for number in 0..25 {
        let another = format!("203.0.113.{number}");
        let request = Request::get("/reputation/8.8.8.8").from_client(&another);
        let request = request.header("x-real-ip", &another);
        let request = request.header("x-envoy-external-address", &another);
        let request = request.header("forwarded", format!("for={another}"));
        answers.push(request.send(edge.envoy.api_address()).await.unwrap());
    }
    assert!(
        (TEN..=most(begun)).contains(&passed(&answers)),
        "{}",
        passed(&answers)
    );
}

#[tokio::test]
async fn addresses_of_one_64_are_one_client_and_mapped_ones_are_not() {
    let edge = Edge::start(sidecar_that_blocks(&[])).await;
    let begun = Instant::now();
    let (mut rotating, mut neighbour, mut mapped) = (Vec::new(), Vec::new(), Vec::new());
    for host in 1..=20 {
        let client = format!("2001:db8:1:1:{host:x}::{host:x}");
        rotating.push(ask_about(&edge.envoy, "8.8.8.8", &client).await);
        mapped.push(ask_about(&edge.envoy, "8.8.8.8", &format!("::ffff:192.0.2.{host}")).await);
    }
    neighbour.push(ask_about(&edge.envoy, "8.8.8.8", "2001:db8:1:2::1").await);
    assert!(
        (TEN..=most(begun)).contains(&passed(&rotating)),
        "{}",
        passed(&rotating)
    );
    assert_eq!((passed(&neighbour), passed(&mapped)), (1, 20));
}

#[tokio::test]
async fn wrong_paths_and_methods_count_too() {
    let edge = Edge::start(sidecar_that_blocks(&[])).await;
    let begun = Instant::now();
    let mut let_through = 0;
    for (method, path) in [
        ("GET", "/v1/manifest"),
        ("POST", "/reputation/8.8.8.8"),
        ("GET", "/"),
    ]
    .iter()
    .cycle()
    .take(30)
    {
        let request = Request::new(method, path).from_client("203.0.113.5");
        let status = request.send(edge.envoy.api_address()).await.unwrap().status;
        assert!([404, 429].contains(&status), "{status}");
        let_through += usize::from(status == 404);
    }
    assert!((TEN..=most(begun)).contains(&let_through), "{let_through}");
}
