//! What Envoy says when it answers by itself: a problem document that names the request and nothing of
//! ours.

use kit::config::{EdgeConfig, Endpoint};
use kit::{Connection, Envoy, KitError, Request, Response, Upstream, ports};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::common::{CANARY, Edge, sidecar_that_blocks};

/// An edge where things go wrong by path, and a place that accepts connections and never answers.
struct Broken {
    envoy: Envoy,
    _upstream: Upstream,
    _silent: TcpListener,
}

/// `/` works, `/silent` is too slow, `/down` does not listen, anything else has no route.
fn routes() -> Value {
    json!([
        {"match": {"path": "/"}, "route": {"cluster": "upstream"}},
        {"match": {"path": "/silent"}, "route": {"cluster": "portcullis_api", "timeout": "0.2s"}},
        {"match": {"path": "/down"}, "route": {"cluster": "portcullis_probes"}},
        {"match": {"path": "/own"}, "direct_response": {
            "status": 404, "body": {"inline_string": "our own page"},
        }},
    ])
}

/// Everyone may ask twice a minute.
fn enforce_a_limit(config: &mut EdgeConfig) -> Result<(), KitError> {
    let filters = config.hcm()?["http_filters"].as_array_mut();
    let mut filters = filters.into_iter().flatten();
    let everyone = filters.find(|filter| filter["name"] == "everyone");
    let everyone = everyone.ok_or_else(|| KitError::Config("filter everyone".to_owned()))?;
    let limit = &mut everyone["typed_config"]["extension_config"]["typed_config"];
    limit["filter_enforced"]["default_value"]["numerator"] = json!(100);
    limit["descriptors"][0]["token_bucket"]["max_tokens"] = json!(2);
    limit["descriptors"][0]["token_bucket"]["tokens_per_fill"] = json!(1);
    Ok(())
}

impl Broken {
    async fn start() -> Self {
        let upstream = Upstream::start().await.unwrap();
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let never = Endpoint::Tcp(silent.local_addr().unwrap());
        let nobody = Endpoint::Tcp(([127, 0, 0, 1], ports::reserve().unwrap()).into());
        let builder = Envoy::builder().unwrap();
        let builder = builder.upstream(upstream.address()).unwrap();
        let builder = builder.change(|config| {
            config.set_cluster("portcullis_api", &never, None)?;
            config.set_cluster("portcullis_probes", &nobody, None)?;
            let manager = config.hcm()?;
            manager["stream_idle_timeout"] = json!("0.5s");
            manager["route_config"]["virtual_hosts"][0]["routes"] = routes();
            enforce_a_limit(config)
        });
        Self {
            envoy: builder.unwrap().start().await.unwrap(),
            _upstream: upstream,
            _silent: silent,
        }
    }

    async fn get(&self, path: &str, client: &str) -> Response {
        let request = Request::get(path).from_client(client);
        self.envoy.send(&request).await.unwrap()
    }

    /// The answer to bytes that no proper client sends.
    async fn raw(&self, bytes: &[u8]) -> Response {
        let mut connection = Connection::open(self.envoy.edge()).await.unwrap();
        connection.write(bytes).await.unwrap();
        connection.receive("GET").await.unwrap()
    }
}

/// The whole document, so that there is no room for anything else.
#[track_caller]
fn assert_problem(answer: &Response, status: u16, title: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    let media_type = answer.header("content-type");
    assert_eq!(media_type.as_deref(), Some("application/problem+json"));
    let mut document = answer.json();
    let id = document["request_id"].take();
    let nameless = json!({
        "type": "about:blank", "title": title, "status": status, "request_id": null,
    });
    assert_eq!(document, nameless, "{}", answer.text());
    assert_eq!(id.as_str(), answer.header("x-request-id").as_deref());
}

#[tokio::test]
async fn what_envoy_answers_itself_is_a_problem_document_with_the_requests_id() {
    let edge = Broken::start().await;
    assert_problem(
        &edge.get("/down", "203.0.113.1").await,
        503,
        "Service Unavailable",
    );
    assert_problem(
        &edge.get("/silent", "203.0.113.2").await,
        504,
        "Gateway Timeout",
    );
    assert_problem(&edge.get("/nowhere", "203.0.113.3").await, 404, "Not Found");
    for _ in 0..2 {
        assert_eq!(edge.get("/", "203.0.113.4").await.status, 200);
    }
    let limited = edge.get("/", "203.0.113.4").await;
    assert_problem(&limited, 429, "Too Many Requests");
    assert!(limited.header("retry-after").is_some());
    let stalled =
        b"POST / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 203.0.113.5\r\ncontent-length: 9\r\n\r\n";
    assert_problem(&edge.raw(stalled).await, 408, "Request Timeout");
    for (path, client) in [("/down", "203.0.113.6"), ("/silent", "203.0.113.7")] {
        assert!(
            edge.get(path, client)
                .await
                .header("x-request-id")
                .is_some(),
            "{path}"
        );
    }
}

#[tokio::test]
async fn so_is_what_it_says_to_a_request_that_it_cannot_read() {
    let edge = Broken::start().await;
    let head = |lines: &str| format!("GET / HTTP/1.1\r\nhost: a\r\n{lines}\r\n").into_bytes();
    let many: String = (0..150).map(|number| format!("h{number}: 1\r\n")).collect();
    for (bytes, status, title) in [
        (b"\x16\x03\x01 no HTTP\r\n\r\n".to_vec(), 400, "Bad Request"),
        (head("under_score: 1\r\n"), 400, "Bad Request"),
        (
            b"GET /a%2fb HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
            400,
            "Bad Request",
        ),
        (head("transfer-encoding: other\r\n"), 501, "Not Implemented"),
        (head(&many), 431, "Request Header Fields Too Large"),
        (b"GET / HTTP/1.0\r\n\r\n".to_vec(), 426, "Upgrade Required"),
    ] {
        let answer = edge.raw(&bytes).await;
        assert_eq!(answer.status, status, "{}", String::from_utf8_lossy(&bytes));
        // Older versions write null where there is no id.
        let document = answer.json();
        assert_eq!(
            document["request_id"].as_str(),
            answer.header("x-request-id").as_deref()
        );
        assert_eq!(document["title"], title);
        assert!(!answer.text().contains("error"), "{}", answer.text());
    }
}

#[tokio::test]
async fn grpc_clients_get_their_own_form_of_it() {
    let edge = Broken::start().await;
    for (path, client, status) in [
        ("/down", "203.0.113.1", "14"),
        ("/nowhere", "203.0.113.2", "12"),
    ] {
        let call = Request::post(path, vec![0; 5]).from_client(client);
        let call = call.header("content-type", "application/grpc+proto");
        let answer = edge.envoy.send(&call).await.unwrap();
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(
            answer.header("grpc-status").as_deref(),
            Some(status),
            "{path}"
        );
        let (message, id) = (answer.header("grpc-message"), answer.header("x-request-id"));
        let (message, id) = (message.unwrap(), id.unwrap());
        assert_eq!(
            message,
            format!("refused or not reachable at the edge, request {id}")
        );
    }
}

#[tokio::test]
async fn what_the_operator_and_the_plugin_say_stays() {
    let edge = Broken::start().await;
    let own = edge.get("/own", "203.0.113.1").await;
    assert_eq!((own.status, own.text().as_str()), (404, "our own page"));
    let edge = Edge::start(sidecar_that_blocks(&[])).await;
    let refused = Request::get("/").from_client(CANARY);
    let refused = edge.envoy.send(&refused).await.unwrap();
    assert_eq!(refused.json()["type"], "urn:portcullis:problem:denied");
    let page = Request::get("/")
        .from_client(CANARY)
        .header("accept", "text/html");
    let page = edge.envoy.send(&page).await.unwrap();
    assert!(
        page.text().starts_with("<!doctype html>"),
        "{}",
        page.text()
    );
}
