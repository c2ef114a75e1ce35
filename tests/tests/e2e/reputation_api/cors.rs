//! Which web pages may read the answers: of no origin as shipped, else of exactly the one that is named.

use kit::config::EdgeConfig;
use kit::{Envoy, KitError, RawSidecar, Request, Response};
use serde_json::{Value, json};

const NAMED: &str = "https://example.com";
const FOREIGN: [&str; 16] = [
    "https://example.com.evil.net",
    "https://evilexample.com",
    "https://example.com@evil.net",
    "https://sub.example.com",
    "https://example.comx",
    "https://example.co",
    "http://example.com",
    "https://example.com:8443",
    "https://example.com:443",
    "https://example.com/",
    "https://example.com, https://evil.net",
    "https://EXAMPLE.COM",
    "HTTPS://example.com",
    "https://example.com.",
    "null",
    "*",
];

fn allow_named(config: &mut EdgeConfig) -> Result<(), KitError> {
    let policy = "/route_config/virtual_hosts/0/typed_per_filter_config/envoy.filters.http.cors";
    let manager = config.manager("reputation_api")?;
    let policy = manager.pointer_mut(policy);
    let policy = policy.ok_or_else(|| KitError::Config("CORS policy".to_owned()))?;
    policy["allow_origin_string_match"] = json!([{"exact": NAMED}]);
    Ok(())
}

struct Api {
    envoy: Envoy,
    sidecar: RawSidecar,
    clients: u8,
}

impl Api {
    async fn start(change: impl FnOnce(&mut EdgeConfig) -> Result<(), KitError>) -> Self {
        let sidecar = RawSidecar::start().await.unwrap();
        let builder = Envoy::builder()
            .unwrap()
            .sidecar(&sidecar.addresses())
            .unwrap();
        let envoy = builder.change(change).unwrap().start().await.unwrap();
        Self {
            envoy,
            sidecar,
            clients: 0,
        }
    }

    async fn send(&mut self, method: &str, headers: &[(&str, &str)]) -> Response {
        self.clients += 1;
        let request = Request::new(method, "/reputation/8.8.8.8");
        let request = request.from_client(&format!("192.0.2.{}", self.clients));
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(name, value)
        });
        request.send(self.envoy.api_address()).await.unwrap()
    }

    async fn simple(&mut self, origin: &str) -> Response {
        self.send("GET", &[("origin", origin)]).await
    }

    async fn preflight(&mut self, origin: &str) -> Response {
        self.send(
            "OPTIONS",
            &[("origin", origin), ("access-control-request-method", "GET")],
        )
        .await
    }
}

fn permits_nothing(response: &Response) -> bool {
    [
        "allow-origin",
        "allow-credentials",
        "allow-methods",
        "allow-headers",
        "expose-headers",
        "max-age",
        "allow-private-network",
    ]
    .iter()
    .all(|name| response.header(&format!("access-control-{name}")).is_none())
}

#[tokio::test]
async fn as_shipped_no_page_may_read_the_answers() {
    let mut api = Api::start(|_| Ok(())).await;
    for origin in FOREIGN.into_iter().chain([NAMED, "http://localhost", ""]) {
        for response in [api.simple(origin).await, api.preflight(origin).await] {
            assert!(permits_nothing(&response), "{origin}: {response:?}");
        }
    }
}

#[tokio::test]
async fn a_page_of_the_named_origin_may_read_the_answers() {
    let mut api = Api::start(allow_named).await;
    let response = api.simple(NAMED).await;
    assert_eq!(
        response.header("access-control-allow-origin").as_deref(),
        Some(NAMED)
    );
    assert_eq!(response.header("access-control-allow-credentials"), None);
    assert_eq!(response.header("vary").as_deref(), Some("origin"));
    let exposed = response.header("access-control-expose-headers").unwrap();
    assert!(exposed.contains("retry-after") && exposed.contains("x-ratelimit-remaining"));
    let asked = api.sidecar.asked("/v1/reputation").len();

    let response = api.preflight(NAMED).await;
    assert_eq!(response.status, 200);
    for (name, value) in [
        ("allow-origin", NAMED),
        ("allow-methods", "GET, HEAD"),
        ("max-age", "600"),
    ] {
        let header = response.header(&format!("access-control-{name}"));
        assert_eq!(header.as_deref(), Some(value), "{name}");
    }
    assert_eq!(api.sidecar.asked("/v1/reputation").len(), asked);
}

#[tokio::test]
async fn origins_that_look_like_the_named_one_are_others() {
    let mut api = Api::start(allow_named).await;
    for origin in FOREIGN {
        let response = api.simple(origin).await;
        assert!(permits_nothing(&response), "{origin}: {response:?}");
        let asked = api
            .sidecar
            .asked("")
            .iter()
            .filter(|asked| asked.path().contains("reputation"))
            .count();
        let response = api.preflight(origin).await;
        assert_eq!(response.status, 403, "{origin}");
        assert!(permits_nothing(&response), "{origin}: {response:?}");
        let asked_since = api
            .sidecar
            .asked("")
            .iter()
            .filter(|asked| asked.path().contains("reputation"))
            .count();
        assert_eq!(asked, asked_since, "{origin}");
    }
    for (origin, and) in [(NAMED, "https://evil.net"), ("https://evil.net", NAMED)] {
        let response = api
            .send("GET", &[("origin", origin), ("origin", and)])
            .await;
        assert!(
            permits_nothing(&response),
            "{origin} and {and}: {response:?}"
        );
    }
}

#[tokio::test]
async fn a_page_may_read_that_it_asked_too_often_and_its_preflights_do_not_count() {
    let api = Api::start(allow_named).await;
    let send = async |method: &str| {
        let request = Request::new(method, "/reputation/8.8.8.8").from_client("192.0.2.1");
        let request = request
            .header("origin", NAMED)
            .header("access-control-request-method", "GET");
        request.send(api.envoy.api_address()).await.unwrap()
    };
    for _ in 0..30 {
        assert_eq!(send("OPTIONS").await.status, 200);
    }
    let first = send("GET").await;
    assert_eq!(first.header("x-ratelimit-remaining").as_deref(), Some("9"));
    let mut refused = send("GET").await;
    while refused.status != 429 {
        refused = send("GET").await;
    }
    assert_eq!(
        refused.header("access-control-allow-origin").as_deref(),
        Some(NAMED)
    );
    assert_ne!(refused.json(), Value::Null);
}

#[tokio::test]
async fn preflights_of_others_count() {
    let api = Api::start(allow_named).await;
    let mut refused = 0;
    for _ in 0..30 {
        let request = Request::new("OPTIONS", "/reputation/8.8.8.8").from_client("192.0.2.1");
        let request = request.header("origin", "https://evil.net");
        let request = request.header("access-control-request-method", "GET");
        let status = request.send(api.envoy.api_address()).await.unwrap().status;
        refused += usize::from(status == 429);
    }
    assert!(refused > 15, "{refused}");
}
