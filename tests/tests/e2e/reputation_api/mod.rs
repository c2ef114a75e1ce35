//! The reputation API: what it tells, to whom, how often, and that nothing else is behind it.

mod cors;
mod figures;
mod paths;

use kit::abuseipdb::{AbuseIpDb, KEY};
use kit::{Connection, Envoy, Request, Response, eventually_async};
use serde_json::{Value, json};

use crate::common::{Edge, LIMIT, sidecar_that_blocks};

const ROUTES: &str = "portcullis_http_requests_total";

/// Asks about an address, as a client that has not asked before.
async fn ask_about(envoy: &Envoy, address: &str, client: &str) -> Response {
    let request = Request::get(&format!("/reputation/{address}")).from_client(client);
    request.send(envoy.api_address()).await.unwrap()
}

fn is_problem(response: &Response, status: u16) -> bool {
    let document = response.json();
    response.status == status
        && response.header("content-type").as_deref() == Some("application/problem+json")
        && document["status"] == json!(status)
        && document["title"].is_string()
        && document["request_id"] == json!(response.header("x-request-id"))
}

fn answer(address: &str, known: bool, band: &str, score: u8, action: &str) -> Value {
    json!({"address": address, "known": known, "band": band, "score": score, "action": action})
}

#[tokio::test]
async fn it_tells_what_is_known_of_an_address_and_not_from_whom() {
    let sidecar = sidecar_that_blocks(&["198.51.100.7", "2001:db8:bad::/48"]);
    let sidecar = sidecar
        .list("soft", "score = 90", "plain", "198.51.100.8")
        .unwrap();
    let edge = Edge::start(sidecar).await;
    edge.cli(&["ban", "198.51.100.9", "--reason", "written by hand"])
        .await;
    let refused = answer("198.51.100.9", true, "malicious", 100, "deny");
    let banned = || async {
        ask_about(&edge.envoy, "198.51.100.9", "192.0.2.1")
            .await
            .json()
            == refused
    };
    // Ten tokens are enough: the sidecar knows its own ban at once.
    assert!(banned().await);
    for (asked, expected) in [
        (
            "198.51.100.7",
            answer("198.51.100.7", true, "malicious", 100, "deny"),
        ),
        (
            "2001:db8:bad:1::5",
            answer("2001:db8:bad:1::5", true, "malicious", 100, "deny"),
        ),
        (
            "2001:DB8:BAD:0:0:0:0:5",
            answer("2001:db8:bad::5", true, "malicious", 100, "deny"),
        ),
        (
            "::ffff:198.51.100.7",
            answer("198.51.100.7", true, "malicious", 100, "deny"),
        ),
        (
            "198.51.100.8",
            answer("198.51.100.8", true, "suspicious", 68, "tag"),
        ),
        (
            "203.0.113.1",
            answer("203.0.113.1", false, "clean", 0, "allow"),
        ),
        (
            "2001:db8::1",
            answer("2001:db8::1", false, "clean", 0, "allow"),
        ),
    ] {
        let response = ask_about(&edge.envoy, asked, "192.0.2.2").await;
        assert_eq!(response.status, 200, "{asked}");
        assert_eq!(
            response.header("content-type").as_deref(),
            Some("application/json")
        );
        assert_eq!(response.json(), expected, "{asked}");
        assert_eq!(response.header("vary").as_deref(), Some("origin"));
    }
    let routes = async |route: &str| {
        edge.sidecar
            .metric(ROUTES, &[&format!("route=\"{route}\"")])
            .await
    };
    assert_eq!(routes("reputation").await, 8.0);
    assert_eq!(routes("verdict").await, 0.0);
    // Who asks about whom is nobody's business: the client's address does not reach the sidecar's log.
    assert!(!edge.sidecar.log().contains("192.0.2.2"));
}

#[tokio::test]
async fn a_request_that_is_hidden_in_a_body_stays_a_body() {
    let edge = Edge::start(sidecar_that_blocks(&[])).await;
    let hidden = "GET /v1/verdict/203.0.113.9 HTTP/1.1\r\nhost: a\r\n\r\n";
    let chunk = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
    let visible = |framing: &str, body: &str| {
        format!("GET /reputation/8.8.8.8 HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n{body}")
    };
    let length = format!("content-length: {}", hidden.len());
    let both = format!("{length}\r\ntransfer-encoding: chunked");
    for (request, status) in [
        (visible(&length, hidden), 200),
        (visible("transfer-encoding: chunked", &chunk), 200),
        (visible(&both, &chunk), 400),
        (
            visible("content-length: 3\r\ncontent-length: 40", hidden),
            400,
        ),
        (visible("transfer-encoding: chunked, identity", &chunk), 501),
    ] {
        let mut connection = Connection::open(edge.envoy.api_address()).await.unwrap();
        connection.write(request.as_bytes()).await.unwrap();
        let response = connection.receive("GET").await.unwrap();
        assert_eq!(response.status, status, "{request}");
    }
    let routes = async |route: &str| {
        let label = format!("route=\"{route}\"");
        edge.sidecar
            .metric(ROUTES, &["listener=\"edge\"", &label])
            .await
    };
    assert_eq!(routes("reputation").await, 2.0);
    assert_eq!(routes("verdict").await + routes("none").await, 0.0);
}

#[tokio::test]
async fn it_never_asks_a_provider() {
    let abuseipdb = AbuseIpDb::start().await.unwrap();
    abuseipdb.knows("8.8.4.4", 100);
    let sidecar = sidecar_that_blocks(&[]).toml(&abuseipdb.toml());
    let edge = Edge::start(sidecar.env("ABUSEIPDB_KEY", KEY)).await;
    for host in 1..=5 {
        let address = format!("8.8.4.{host}");
        let told = ask_about(&edge.envoy, &address, "192.0.2.1").await;
        assert_eq!(told.json(), answer(&address, false, "clean", 0, "allow"));
    }
    // What the edge asks for goes out, and then what came back is known here too.
    assert_eq!(edge.envoy.status_for("8.8.4.4").await, 200);
    let known = || async {
        let told = edge.sidecar.edge();
        let told = Request::get("/v1/reputation/8.8.4.4")
            .send(told)
            .await
            .unwrap();
        told.json()["known"] == json!(true)
    };
    assert!(
        eventually_async(LIMIT, known).await,
        "{:?}",
        abuseipdb.asked()
    );
    assert_eq!(abuseipdb.asked(), ["8.8.4.4"]);
    let told = ask_about(&edge.envoy, "8.8.4.4", "192.0.2.2").await.json();
    assert_eq!(told["known"], json!(true), "{told}");
    assert!(!told.to_string().contains("abuseipdb"), "{told}");
}

#[tokio::test]
async fn what_is_no_address_is_answered_with_a_problem() {
    let edge = Edge::start(sidecar_that_blocks(&[])).await;
    for (address, status) in [
        ("8.8.8", 400),
        ("8.8.8.8.8", 400),
        ("256.1.1.1", 400),
        ("08.8.8.8", 400),
        ("abc", 400),
        ("...", 400),
        ("2001:db8::1::2", 400),
        ("fe80::1%25eth0", 404),
        ("example.com", 404),
        ("8.8.8.0%2F24", 400),
        ("", 404),
    ] {
        let response = ask_about(&edge.envoy, address, "192.0.2.1").await;
        assert!(is_problem(&response, status), "{address}: {response:?}");
    }
}

#[tokio::test]
async fn health_is_the_sidecars_and_a_dead_one_is_a_problem() {
    let mut edge = Edge::start(sidecar_that_blocks(&[])).await;
    let envoy = &edge.envoy;
    let health = || async {
        Request::get("/health")
            .send(envoy.api_address())
            .await
            .unwrap()
    };
    // It is for monitors: not limited.
    for _ in 0..30 {
        let response = health().await;
        assert_eq!(response.status, 200);
        assert_eq!(
            response.json()["status"],
            json!("ok"),
            "{}",
            response.text()
        );
    }
    edge.sidecar.kill();
    for response in [
        health().await,
        ask_about(envoy, "8.8.8.8", "192.0.2.1").await,
    ] {
        assert!(is_problem(&response, 503), "{response:?}");
        assert!(!response.text().contains("upstream"), "{}", response.text());
    }
}
