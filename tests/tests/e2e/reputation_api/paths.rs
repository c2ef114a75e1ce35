//! One route leads to the sidecar, however its path is spelled; no spelling leads to another.

use kit::config::Endpoint;
use kit::{Connection, Envoy, RawSidecar, Request};

/// An Envoy whose reputation API asks a sidecar of its own: whatever that one is asked, a client made it.
struct Api {
    envoy: Envoy,
    behind: RawSidecar,
    clients: u16,
}

impl Api {
    async fn start() -> Self {
        let (sidecar, behind) = (
            RawSidecar::start().await.unwrap(),
            RawSidecar::start().await.unwrap(),
        );
        let endpoint = behind.addresses().edge;
        let builder = Envoy::builder()
            .unwrap()
            .sidecar(&sidecar.addresses())
            .unwrap();
        let builder = builder.change(|config| {
            for cluster in ["portcullis_api", "portcullis_probes"] {
                config.set_cluster(cluster, &Endpoint::clone(&endpoint), None)?;
            }
            Ok(())
        });
        let envoy = builder.unwrap().start().await.unwrap();
        Self {
            envoy,
            behind,
            clients: 0,
        }
    }

    /// Sends these bytes on a connection of their own; the status, and what the sidecar was asked for.
    async fn send(&mut self, method: &str, bytes: &[u8]) -> (u16, Vec<String>) {
        let before = self.behind.asked("").len();
        let mut connection = Connection::open(self.envoy.api_address()).await.unwrap();
        connection.write(bytes).await.unwrap();
        let response = connection.receive(method).await.unwrap();
        let asked = self.behind.asked("").split_off(before);
        (
            response.status,
            asked.into_iter().map(|asked| asked.target).collect(),
        )
    }

    /// A request line as it is, from a client that has not asked before.
    async fn get(&mut self, target: &[u8]) -> (u16, Vec<String>) {
        self.clients += 1;
        let client = format!("192.0.{}.{}", self.clients / 200, self.clients % 200);
        let head = format!(" HTTP/1.1\r\nhost: api.test\r\nx-forwarded-for: {client}\r\n\r\n");
        self.send("GET", &[b"GET ", target, head.as_bytes()].concat())
            .await
    }
}

#[tokio::test]
async fn other_spellings_of_the_route_are_the_route() {
    let mut api = Api::start().await;
    for target in [
        "/reputation/8.8.8.8",
        "//reputation///8.8.8.8",
        "/./reputation/./8.8.8.8",
        "/v1/../reputation/8.8.8.8",
        "/v1/%2e%2e/reputation/8.8.8.8",
        "/reputation/%38.8.8.8",
        "http://elsewhere.test/reputation/8.8.8.8",
    ] {
        let (_, asked) = api.get(target.as_bytes()).await;
        assert_eq!(asked, ["/v1/reputation/8.8.8.8"], "{target}");
    }
    let (_, asked) = api.get(b"/reputation/2001:db8::1").await;
    assert_eq!(asked, ["/v1/reputation/2001:db8::1"]);
    let (_, asked) = api.get(b"/health").await;
    assert_eq!(asked, ["/health"]);
}

#[tokio::test]
async fn no_other_path_reaches_the_sidecar() {
    let mut api = Api::start().await;
    let long = format!("/reputation/{}", "1".repeat(20_000));
    for target in [
        "/",
        "/reputation",
        "/reputation/",
        "/Reputation/8.8.8.8",
        "/REPUTATION/8.8.8.8",
        "/reputation/8.8.8.8/",
        "/reputation/8.8.8.8?wait_ms=9",
        "/reputation/8.8.8.8?",
        "/reputation/8.8.8.8#part",
        "/reputation/8.8.8.8;wait_ms=9",
        "/reputation;a=b/8.8.8.8",
        "/reputation/8.8.8.8%3fwait_ms=9",
        "/reputation/8.8.8.8%00",
        "/reputation/8.8.8.8%0d%0ax:%20y",
        "/reputation/8.8.8.8%20",
        "/reputation/../v1/manifest",
        "/reputation/%2e%2e/v1/manifest",
        "/reputation/.%2e/v1/manifest",
        "/reputation/%252e%252e/v1/manifest",
        "/reputation/..%2fmanifest",
        "/reputation/..%2Fmanifest",
        "/reputation/..%5cmanifest",
        "/reputation/..\\manifest",
        "/reputation/..;/manifest",
        "/reputation/8.8.8.8/../../v1/manifest",
        "/reputation/8.8.8.8/..",
        "//v1/manifest",
        "/v1/manifest",
        "/v1/verdict/8.8.8.8",
        "/v1/reputation/8.8.8.8",
        "/v1/parts/00",
        "/v1/decisions",
        "/metrics",
        "/livez",
        "/readyz",
        "/health/",
        "/health?",
        "/health/../metrics",
        "/health%2f..%2fmetrics",
        "/healthz",
        "/Health",
        "http://elsewhere.test/v1/manifest",
        "https://8.8.8.8",
        "*",
        "reputation/8.8.8.8",
        "/reputation/\u{e9}",
        long.as_str(),
    ] {
        let (status, asked) = api.get(target.as_bytes()).await;
        let shown = target.get(..60).unwrap_or(target);
        assert!([400, 404, 431].contains(&status), "{shown}: {status}");
        assert!(asked.is_empty(), "{shown}: {asked:?}");
    }
    for target in [
        b"/reputation/8.8.8.8\0".as_slice(),
        b"/reputation/8.8.8.8\xff",
        b"/reputation/\x7f",
    ] {
        let (status, asked) = api.get(target).await;
        assert!(status == 400 || status == 404, "{target:?}: {status}");
        assert!(asked.is_empty(), "{target:?}: {asked:?}");
    }
}

#[tokio::test]
async fn only_reading_is_possible() {
    let mut api = Api::start().await;
    for method in [
        "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "QUERY", "get",
    ] {
        for path in ["/reputation/8.8.8.8", "/health", "/v1/manifest"] {
            let head = format!(
                "{method} {path} HTTP/1.1\r\nhost: api.test\r\ncontent-length: 0\r\nx-forwarded-for: 192.0.2.{}\r\n\r\n",
                method.len()
            );
            let (status, asked) = api.send(method, head.as_bytes()).await;
            assert!(
                [400, 403, 404, 405, 429].contains(&status),
                "{method} {path}: {status}"
            );
            assert!(asked.is_empty(), "{method} {path}: {asked:?}");
        }
    }
    for connect in [
        "CONNECT 127.0.0.1:8971 HTTP/1.1\r\nhost: 127.0.0.1:8971\r\n\r\n",
        "CONNECT /reputation/8.8.8.8 HTTP/1.1\r\nhost: api.test\r\n\r\n",
        "GET /reputation/8.8.8.8 HTTP/1.1\r\nhost: api.test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    ] {
        let (status, asked) = api.send("CONNECT", connect.as_bytes()).await;
        assert!(
            [400, 403, 404, 405].contains(&status),
            "{connect}: {status}"
        );
        assert!(asked.is_empty(), "{connect}: {asked:?}");
    }
}

#[tokio::test]
async fn the_sidecar_learns_the_path_and_the_requests_id_and_nothing_else_of_a_client() {
    let api = Api::start().await;
    let request = Request::get("/reputation/8.8.8.8").from_client("192.0.2.1");
    let request = request
        .header("host", "internal.test")
        .header("cookie", "session=1");
    let request = request
        .header("authorization", "Bearer stolen")
        .header("x-request-id", "chosen");
    let request = request
        .header("x-real-ip", "192.0.2.1")
        .header("user-agent", "curl");
    let response = request.send(api.envoy.api_address()).await.unwrap();
    let asked = api.behind.asked("");
    let header = |name| asked[0].header(name);
    assert_eq!(header("host"), Some("portcullis"));
    assert_eq!(
        header("x-request-id"),
        response.header("x-request-id").as_deref()
    );
    assert_ne!(header("x-request-id"), Some("chosen"));
    for name in [
        "cookie",
        "authorization",
        "x-forwarded-for",
        "x-real-ip",
        "user-agent",
        "x-envoy-external-address",
    ] {
        assert_eq!(header(name), None, "{name}");
    }
}
