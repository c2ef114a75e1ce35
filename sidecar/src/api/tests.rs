//! Real listeners on ports of the system's choice, and the real intelligence without feeds.

mod openapi;

use std::path::Path;
use std::time::Duration;

use hyper::{Method, StatusCode};
use reputation::Verdict;
use reputation::manifest::Manifest;
use reputation::wire::{HEADER, Wire};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::cli::client::{AdminClient, AdminUrl, ClientError};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::http::{Answer, Get, HttpClient};
use crate::intelligence::{Parts, StartError};
use crate::secrets::{Secrets, Vault};
use crate::store::Store;
use crate::store::embedded::EmbeddedStore;

/// A sidecar in this process.
struct Running {
    edge: String,
    metrics: String,
    admin: AdminClient,
    shutdown: CancellationToken,
    serving: tokio::task::JoinHandle<Result<(), StartError>>,
    directory: TempDir,
}

const PATIENCE: Duration = Duration::from_secs(20);

impl Running {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let text = format!(
            "[listen]\nedge = \"127.0.0.1:0\"\nadmin = \"unix:{0}/admin.sock\"\n\
             metrics = \"127.0.0.1:0\"\n[store]\npath = \"{0}\"\n",
            directory.path().display()
        );
        let config = Arc::new(Config::parse(&text, std::iter::empty()).unwrap());
        let (listeners, metrics_of, backing, shutdown) = build(config, directory.path()).await;
        let url = |listener: &Listener| format!("http://{listener}");
        let (edge, metrics) = (url(&listeners.edge), url(&listeners.metrics));
        let admin = AdminClient {
            url: AdminUrl::Unix(directory.path().join("admin.sock")),
            token: token::read_file(&directory.path().join(token::FILE_NAME)).unwrap(),
        };
        let backing = std::future::ready(Ok::<_, StartError>(backing));
        let serving = tokio::spawn(listeners.serve(metrics_of, backing, shutdown.clone()));
        let running = Self {
            edge,
            metrics,
            admin,
            shutdown,
            serving,
            directory,
        };
        running.until_ready().await;
        running
    }

    async fn until_ready(&self) {
        let ready = async {
            while get(&format!("{}/readyz", self.metrics)).await.status != StatusCode::OK {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.unwrap();
    }

    async fn edge(&self, path: &str) -> Answer {
        get(&format!("{}{path}", self.edge)).await
    }

    async fn manifest(&self) -> Manifest {
        Manifest::parse(&self.edge("/v1/manifest").await.body).unwrap()
    }

    async fn admin(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let body = body.map(|body| serde_json::to_vec(&body).unwrap());
        let answer = self.admin.call(method, path, body).await.unwrap();
        serde_json::from_slice(&answer).unwrap()
    }

    /// The title and detail of a refusal.
    async fn refused(&self, method: Method, path: &str, body: &[u8]) -> (String, String) {
        match self
            .admin
            .call(method, path, Some(body.to_vec()))
            .await
            .unwrap_err()
        {
            ClientError::Problem { title, detail } => (title, detail.unwrap_or_default()),
            other => panic!("{other:?}"),
        }
    }

    /// What comes back for these bytes on the admin socket; the token is put in for `TOKEN`.
    async fn admin_raw(&self, request: String) -> String {
        let request = request.replace("TOKEN", self.admin.token.expose_secret());
        let socket = self.directory.path().join("admin.sock");
        let mut stream = tokio::net::UnixStream::connect(socket).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap();
        answer
    }

    /// What comes back for these bytes on the edge.
    async fn edge_raw(&self, request: &str) -> String {
        let address = self.edge.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        // What is refused for its length may be answered by a reset after the answer.
        let _ended = tokio::time::timeout(PATIENCE, read).await.unwrap();
        answer
    }

    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.serving)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }
}

async fn build(
    config: Arc<Config>,
    directory: &Path,
) -> (Listeners, Arc<Metrics>, Backing, CancellationToken) {
    let clock: Arc<dyn crate::clock::Clock> = Arc::new(SystemClock);
    let store = EmbeddedStore::open(directory, clock.now()).await.unwrap();
    let store: Arc<dyn Store> = Arc::new(store);
    let secrets = Arc::new(Secrets::new(config.secrets.clone()));
    let metrics = Arc::new(Metrics::new());
    let shutdown = CancellationToken::new();
    let token = token::AdminToken::prepare(&config, &secrets).unwrap();
    let listeners = Listeners::bind(&config.listen).await.unwrap();
    let proxies = Proxies::new(&config.envoy, HttpClient::new(), Arc::clone(&clock));
    let watch = Watch::new(Path::new(""), Arc::clone(&config), &clock, &metrics);
    let level = Level::new(&config.log, false, |_| {});
    let parts = Parts {
        config,
        store: Arc::clone(&store),
        clock: Arc::clone(&clock),
        metrics: Arc::clone(&metrics),
        http: HttpClient::new(),
        vault: Arc::new(Vault::in_memory()),
        shutdown: shutdown.clone(),
    };
    let intelligence = Intelligence::start(parts).await.unwrap();
    let backing = Backing {
        intelligence,
        token,
        watch: Arc::new(watch),
        store,
        proxies: Arc::new(proxies),
        level,
        trail: Trail::open(directory, Arc::clone(&clock)),
        clock,
    };
    (listeners, metrics, backing, shutdown)
}

/// A request with a body, after which the connection ends.
fn post(path: &str, body: &[u8]) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer TOKEN\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{}",
        body.len(),
        String::from_utf8_lossy(body)
    )
}

async fn get(url: &str) -> Answer {
    get_with(url, &[]).await
}

async fn get_with(url: &str, headers: &[(&'static str, &'static str)]) -> Answer {
    let headers = headers
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    let get = Get {
        uri: url.parse().unwrap(),
        headers: headers.collect(),
        timeout: PATIENCE,
        max_bytes: 1 << 20,
    };
    HttpClient::new().get(get).await.unwrap()
}

fn document(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test]
async fn filters_are_answered_in_their_version_or_refused_by_name() {
    let sidecar = Running::start().await;
    let ask = async |wire: Option<&'static str>| {
        let path = "/v1/verdict/203.0.113.7?wait_ms=150&prefix=64";
        let headers: Vec<_> = wire.map(|wire| (HEADER, wire)).into_iter().collect();
        get_with(&format!("{}{path}", sidecar.edge), &headers).await
    };
    for (asker, answer) in [
        (None, "0"),
        (Some("0"), "0"),
        (Some("1"), "1"),
        (Some("7"), "1"),
    ] {
        let answered = ask(asker).await;
        assert_eq!(answered.status, StatusCode::OK, "{asker:?}");
        assert_eq!(answered.headers[HEADER], answer, "{asker:?}");
        Verdict::parse(&answered.body).unwrap();
    }
    let refused = ask(Some("one")).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert_eq!(refused.headers[HEADER], Wire::OURS_TEXT);
    let problem: Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!(problem["type"], "urn:portcullis:problem:wire");
    let public = sidecar.edge("/v1/reputation/203.0.113.7").await;
    assert!(!public.headers.contains_key(HEADER), "{:?}", public.headers);
    sidecar.stop().await;
}

#[tokio::test]
async fn a_ban_shows_in_verdict_reputation_and_manifest_and_unban_lifts_it() {
    let sidecar = Running::start().await;
    assert_eq!(
        document(&sidecar.edge("/v1/verdict/198.51.101.7?wait_ms=5").await)["action"],
        "allow"
    );
    let before = sidecar.manifest().await.version;
    let ban =
        json!({"cidr": "198.51.101.0/24", "type": "ban", "reason": "scanner", "duration": "1h"});
    let decision = sidecar
        .admin(Method::POST, "/v1/decisions", Some(ban))
        .await;
    assert_eq!(decision["type"], "ban");
    assert!(decision["expires"].as_u64() > decision["created"].as_u64());
    let verdict = document(&sidecar.edge("/v1/verdict/198.51.101.7").await);
    assert_eq!(verdict["action"], "deny");
    assert_eq!(verdict["decision"], decision["id"]);
    let reputation = document(&sidecar.edge("/v1/reputation/198.51.101.7").await);
    assert_eq!(
        (&reputation["action"], &reputation["known"]),
        (&json!("deny"), &json!(true))
    );
    assert_eq!(reputation.get("reason"), None);
    assert!(sidecar.manifest().await.version > before);
    let listed = sidecar.admin(Method::GET, "/v1/decisions", None).await;
    assert_eq!(listed["decisions"], json!([decision]));
    let path = "/v1/decisions?cidr=198.51.101.0%2F24&type=ban";
    let removed = sidecar.admin(Method::DELETE, path, None).await;
    assert_eq!(removed["removed"], json!([decision]));
    assert_eq!(
        document(&sidecar.edge("/v1/verdict/198.51.101.7").await)["action"],
        "allow"
    );
    sidecar.stop().await;
}

#[tokio::test]
async fn a_long_poll_ends_with_the_next_version_and_not_before() {
    let sidecar = Running::start().await;
    let version = sidecar.manifest().await.version;
    let nothing = sidecar
        .edge(&format!("/v1/manifest?after={version}&wait_s=0"))
        .await;
    assert_eq!(nothing.status, StatusCode::NOT_MODIFIED);
    let path = format!("/v1/manifest?after={version}&wait_s=30");
    let change = async {
        let mode = json!({"mode": "monitor", "route": "checkout*", "duration": "1h"});
        sidecar.admin(Method::PUT, "/v1/mode", Some(mode)).await
    };
    let (answer, modes) = tokio::join!(sidecar.edge(&path), change);
    assert_eq!(modes["modes"][0]["mode"], "monitor");
    let manifest = Manifest::parse(&answer.body).unwrap();
    assert!(manifest.version > version);
    assert_eq!(manifest.modes[0].route.as_deref(), Some("checkout*"));
    let modes = sidecar.admin(Method::DELETE, "/v1/mode", None).await;
    assert_eq!(modes, json!({"modes": []}));
    sidecar.stop().await;
}

#[tokio::test]
async fn a_proxy_that_holds_something_newer_opens_a_higher_epoch() {
    let sidecar = Running::start().await;
    let ours = sidecar.manifest().await.version;
    let theirs = format!("{}.{}", ours.epoch + 5, 9);
    let answer = sidecar
        .edge(&format!("/v1/manifest?after={theirs}&wait_s=20"))
        .await;
    let manifest = Manifest::parse(&answer.body).unwrap();
    assert!(
        manifest.version > theirs.parse().unwrap(),
        "{}",
        manifest.version
    );
    sidecar.stop().await;
}

#[tokio::test]
async fn a_proxy_that_claims_the_impossible_is_offered_ours_at_once() {
    let sidecar = Running::start().await;
    let ours = sidecar.manifest().await.version;
    for after in ["18446744073709551615.18446744073709551615", "99999999999.1"] {
        let path = format!("/v1/manifest?after={after}&wait_s=20");
        let manifest = Manifest::parse(&sidecar.edge(&path).await.body).unwrap();
        assert_eq!(manifest.version, ours);
    }
    sidecar.stop().await;
}

#[tokio::test]
async fn every_part_of_the_manifest_is_there_and_no_other() {
    let sidecar = Running::start().await;
    let manifest = sidecar.manifest().await;
    for digest in manifest.base.parts.iter().chain(&manifest.overlay.parts) {
        let part = sidecar.edge(&format!("/v1/parts/{digest}")).await;
        assert_eq!(part.status, StatusCode::OK);
        assert_eq!(reputation::digest::Digest::of(&part.body), *digest);
    }
    for missing in ["0".repeat(64).as_str(), "x", "..%2fetc"] {
        let answer = sidecar.edge(&format!("/v1/parts/{missing}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{missing}");
    }
    sidecar.stop().await;
}

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong_under_their_request_id() {
    let sidecar = Running::start().await;
    let url = format!("{}/v1/verdict/203.0.113.007", sidecar.edge);
    let answer = get_with(&url, &[("x-request-id", "id-7")]).await;
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    let problem = document(&answer);
    assert_eq!(
        (answer.status.as_u16(), &problem["request_id"]),
        (400, &json!("id-7"))
    );
    assert!(
        problem["detail"].as_str().unwrap().contains("leading zero"),
        "{problem}"
    );
    assert_eq!(problem["instance"], "/v1/verdict/203.0.113.007");
    for (path, status) in [
        ("/v1/verdict/203.0.113.7?wait_ms=soon", 400),
        ("/v1/verdict/203.0.113.7?prefix=129", 400),
        ("/v1/manifest?after=7", 400),
        ("/v1/manifest?wait_s=61", 400),
        ("/v1/reputation/nobody", 400),
        ("/v1/decisions", 404),
        ("/v1/verdict", 404),
        ("/", 404),
    ] {
        assert_eq!(sidecar.edge(path).await.status.as_u16(), status, "{path}");
    }
    sidecar.stop().await;
}

#[tokio::test]
async fn the_admin_api_admits_nobody_without_the_token() {
    let sidecar = Running::start().await;
    let stranger = AdminClient {
        url: sidecar.admin.url.clone(),
        token: "guess".into(),
    };
    for (method, path) in [
        (Method::GET, "/v1/decisions"),
        (Method::POST, "/v1/decisions"),
        (Method::PUT, "/v1/mode"),
        (Method::GET, "/v1/secrets"),
        (Method::GET, "/nothing"),
    ] {
        let error = stranger
            .call(method, path, None)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("token is missing or wrong"), "{error}");
    }
    sidecar.stop().await;
}

#[tokio::test]
async fn wrong_tokens_are_slowed_and_the_right_one_is_not() {
    let sidecar = Running::start().await;
    let stranger = AdminClient {
        url: sidecar.admin.url.clone(),
        token: "guess".into(),
    };
    let guess = || stranger.call(Method::GET, "/v1/decisions", None);
    for _ in 0..6 {
        guess().await.unwrap_err();
    }
    let began = std::time::Instant::now();
    guess().await.unwrap_err();
    assert!(began.elapsed() >= Duration::from_millis(200));
    let (_wrong, decisions) = tokio::join!(guess(), async {
        let began = std::time::Instant::now();
        let decisions = sidecar.admin(Method::GET, "/v1/decisions", None).await;
        assert!(began.elapsed() < Duration::from_millis(300));
        decisions
    });
    assert_eq!(decisions, json!({"decisions": []}));
    sidecar.stop().await;
}

#[tokio::test]
async fn faulty_bodies_are_refused_and_nothing_is_changed() {
    let sidecar = Running::start().await;
    for (body, title, detail) in [
        (
            r#"{"cidr": "10.0.0.1/8", "type": "ban"}"#,
            "Faulty value",
            "the network is 10.0.0.0/8",
        ),
        (
            r#"{"cidr": "x", "type": "ban"}"#,
            "Faulty value",
            "not an IPv4 or IPv6 address",
        ),
        (
            r#"{"cidr": "203.0.113.7", "type": "bann"}"#,
            "Faulty value",
            "write ban, throttle or allow",
        ),
        (
            r#"{"cidr": "203.0.113.7", "type": "ban", "duration": "1 h"}"#,
            "Faulty value",
            "not a duration",
        ),
        (
            r#"{"cidr": "203.0.113.7", "type": "ban", "reason": "a\nb"}"#,
            "Faulty value",
            "one line",
        ),
        (
            r#"{"cidr": "203.0.113.7", "type": "ban", "forse": true}"#,
            "Faulty value",
            "unknown field",
        ),
        (
            r#"{"cidr": "203.0.113.7"}"#,
            "Faulty value",
            "missing field `type`",
        ),
        ("{", "Body cannot be read", "EOF"),
    ] {
        let (found, why) = sidecar
            .refused(Method::POST, "/v1/decisions", body.as_bytes())
            .await;
        assert!(
            found.starts_with(title) && why.contains(detail),
            "{body}: {found}: {why}"
        );
    }
    let long = vec![b' '; 20_000];
    let (title, _) = sidecar.refused(Method::POST, "/v1/decisions", &long).await;
    assert_eq!(title, "Body is too large");
    let wide = br#"{"cidr": "8.0.0.0/7", "type": "ban"}"#;
    let (title, detail) = sidecar.refused(Method::POST, "/v1/decisions", wide).await;
    assert!(
        title.contains("wide") && detail.ends_with("add --force if that is meant"),
        "{title}: {detail}"
    );
    let raw = sidecar.admin_raw(post("/v1/decisions", wide)).await;
    assert!(
        raw.contains(r#"send \"force\": true"#) && !raw.contains("--"),
        "{raw}"
    );
    let (title, _) = sidecar
        .refused(Method::PUT, "/v1/mode", br#"{"mode": "on"}"#)
        .await;
    assert!(title.starts_with("Faulty value"), "{title}");
    let (title, _) = sidecar
        .refused(Method::POST, "/v1/feeds/none/release", b"")
        .await;
    assert_eq!(title, "There is nothing here");
    let (title, _) = sidecar.refused(Method::PATCH, "/v1/decisions", b"").await;
    assert_eq!(title, "Not with this method");
    let decisions = sidecar.admin(Method::GET, "/v1/decisions", None).await;
    assert_eq!(decisions, json!({"decisions": []}));
    sidecar.stop().await;
}

#[tokio::test]
async fn probes_and_metrics_answer() {
    let sidecar = Running::start().await;
    sidecar.edge("/v1/verdict/198.51.101.7").await;
    assert_eq!(
        get(&format!("{}/livez", sidecar.metrics)).await.status,
        StatusCode::OK
    );
    assert_eq!(
        document(&get(&format!("{}/health", sidecar.metrics)).await)["status"],
        "ok"
    );
    let text = get(&format!("{}/metrics", sidecar.metrics)).await;
    let text = std::str::from_utf8(&text.body).unwrap();
    let line =
        "portcullis_http_requests_total{listener=\"edge\",route=\"verdict\",status=\"200\"} 1";
    assert!(text.contains(line), "{text}");
    sidecar.stop().await;
}

#[tokio::test]
async fn probes_answer_during_a_long_start_and_a_shut_down_ends_it() {
    let text =
        "[listen]\nedge = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\n";
    let config = Config::parse(text, std::iter::empty()).unwrap();
    let listeners = Listeners::bind(&config.listen).await.unwrap();
    let url = format!("http://{}", listeners.metrics);
    let (never, shutdown) = (std::future::pending(), CancellationToken::new());
    let serving = listeners.serve::<StartError>(Arc::default(), never, shutdown.clone());
    let serving = tokio::spawn(serving);
    let status = async |path| get(&format!("{url}{path}")).await.status.as_u16();
    assert_eq!(
        (status("/livez").await, status("/readyz").await),
        (200, 503)
    );
    assert_eq!(
        (status("/health").await, status("/metrics").await),
        (503, 200)
    );
    shutdown.cancel();
    let ended = tokio::time::timeout(PATIENCE, serving).await.unwrap();
    ended.unwrap().unwrap();
}

#[tokio::test]
async fn a_shut_down_removes_the_socket() {
    let sidecar = Running::start().await;
    let socket = sidecar.directory.path().join("admin.sock");
    assert!(socket.exists());
    sidecar.shutdown.cancel();
    tokio::time::timeout(PATIENCE, sidecar.serving)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(!socket.exists());
}

#[tokio::test]
async fn pages_of_the_web_are_told_a_reputation_and_nothing_else() {
    let sidecar = Running::start().await;
    let from_page = [
        ("origin", "https://elsewhere.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "none"),
    ];
    for header in from_page {
        for path in [
            "/v1/manifest?after=9999999999.1",
            "/v1/verdict/198.51.100.7",
            "/v1/parts/00",
        ] {
            let asked = get_with(&format!("{}{path}", sidecar.edge), &[header]).await;
            assert_eq!(asked.status, StatusCode::FORBIDDEN, "{header:?} {path}");
            assert_eq!(document(&asked)["type"], "urn:portcullis:problem:page");
        }
        let url = format!("{}/v1/reputation/198.51.100.7", sidecar.edge);
        assert_eq!(get_with(&url, &[header]).await.status, StatusCode::OK);
        let (name, value) = header;
        let report = post("/v1/refusals", br#"{"left_out":1,"clients":[]}"#);
        let report = report.replacen("host: x", &format!("host: x\r\n{name}: {value}"), 1);
        let told = sidecar.edge_raw(&report).await;
        assert!(told.starts_with("HTTP/1.1 403"), "{told}");
    }
    let blocked = sidecar.admin(Method::GET, "/v1/blocked", None).await;
    assert_eq!(blocked["left_out"], 0);
    sidecar.stop().await;
}

/// Answers with more than any connection holds.
struct Much;

impl server::Handler for Much {
    const NAME: &'static str = "edge";

    async fn handle(
        &self,
        _request: hyper::Request<hyper::body::Incoming>,
        _exchange: &mut server::Exchange,
    ) -> Result<server::Reply, problem::Problem> {
        let body = vec![0; 64 * 1024 * 1024];
        Ok(server::reply(StatusCode::OK, "x/y", body.into()))
    }
}

#[tokio::test]
async fn who_takes_no_answer_loses_his_place_and_what_has_none_is_ended_at_once() {
    let address = crate::config::ListenAddress::Tcp(([127, 0, 0, 1], 0).into());
    let listener = Listener::bind("edge", &address).await.unwrap();
    let address = listener.to_string();
    let limits = server::Limits {
        connections: 1,
        patience: Duration::from_secs(1),
    };
    let (metrics, shutdown) = (Arc::new(Metrics::new()), CancellationToken::new());
    let serving = server::serve_within(
        limits,
        listener,
        Much,
        Arc::clone(&metrics),
        shutdown.clone(),
    );
    let serving = tokio::spawn(serving);
    let request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut idle = TcpStream::connect(&address).await.unwrap();
    idle.write_all(request).await.unwrap();
    idle.readable().await.unwrap();
    // There is one place, and it is taken.
    let mut refused = TcpStream::connect(&address).await.unwrap();
    let ended = tokio::time::timeout(PATIENCE, refused.read(&mut [0])).await;
    assert_eq!(ended.unwrap().unwrap(), 0);
    let line = "portcullis_connections_refused_total{listener=\"edge\"} 1";
    assert!(metrics.encode().unwrap().contains(line));
    // It is free again when its holder was waited for in vain.
    let served = async {
        loop {
            let mut next = TcpStream::connect(&address).await.unwrap();
            let _gone = next.write_all(request).await;
            if next.read(&mut [0]).await.is_ok_and(|bytes| bytes == 1) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, served).await.unwrap();
    drop(idle);
    shutdown.cancel();
    serving.await.unwrap();
}

#[tokio::test]
async fn garbage_and_half_a_request_end_a_connection_and_nothing_else() {
    let sidecar = Running::start().await;
    let address = sidecar.edge.trim_start_matches("http://").to_owned();
    for garbage in [
        b"\x16\x03\x01\x00\xff\xff\r\n\r\n".as_slice(),
        b"GET /\xff HTTP/9.9\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        // The peer may reset the connection, which ends it as well.
        let _ended = tokio::time::timeout(PATIENCE, read).await.unwrap();
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    }
    let half = TcpStream::connect(&address).await.unwrap();
    assert_eq!(
        sidecar.edge("/v1/verdict/198.51.101.7").await.status,
        StatusCode::OK
    );
    drop(half);
    sidecar.stop().await;
}

#[tokio::test]
async fn the_doctor_tells_what_the_sidecar_sees_of_itself() {
    let sidecar = Running::start().await;
    let states = |answer: Value| {
        let examination: crate::doctor::Examination = serde_json::from_value(answer).unwrap();
        assert!(examination.snapshot.is_some());
        let short = examination.findings.into_iter();
        // No log is set up here.
        let short = short.filter(|finding| finding.check != crate::doctor::Check::SidecarErrors);
        let short = short.filter(|finding| finding.state.falls_short());
        short.map(|finding| finding.check).collect::<Vec<_>>()
    };
    let answer = sidecar.admin(Method::GET, "/v1/doctor", None).await;
    assert_eq!(states(answer), [crate::doctor::Check::SidecarScraped]);
    get(&format!("{}/metrics", sidecar.metrics)).await;
    let answer = sidecar.admin(Method::GET, "/v1/doctor", None).await;
    assert_eq!(states(answer), []);
    sidecar.stop().await;
}

#[tokio::test]
async fn what_a_proxy_tells_of_refusals_is_shown_and_nonsense_changes_nothing() {
    let sidecar = Running::start().await;
    let refused = json!({
        "client": "203.0.113.7", "action": "deny", "mode": "enforce", "reason": "ipsum",
        "decision": "0d8a70cfa95060ac", "count": 3, "first_s": 2, "last_s": 0,
    });
    let report = |clients: Vec<Value>| json!({"left_out": 0, "clients": clients}).to_string();
    let good = report(vec![refused.clone()]);
    let told = sidecar
        .edge_raw(&post("/v1/refusals", good.as_bytes()))
        .await;
    assert!(told.starts_with("HTTP/1.1 204"));
    let before = sidecar.admin(Method::GET, "/v1/blocked", None).await;
    assert_eq!(
        (
            &before["clients"][0]["client"],
            &before["clients"][0]["last_hour"]
        ),
        (&json!("203.0.113.7"), &json!(3))
    );

    let mut impossible = refused.clone();
    impossible["count"] = 0.into();
    let too_long = vec![b' '; 40 * 1024];
    for (body, status) in [
        (
            report(vec![refused.clone(), impossible]).into_bytes(),
            "422",
        ),
        (report(vec![refused; 65]).into_bytes(), "422"),
        (b"<html>".to_vec(), "400"),
        (too_long, "413"),
    ] {
        let answer = sidecar.edge_raw(&post("/v1/refusals", &body)).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
        assert!(answer.contains("application/problem+json"), "{answer}");
    }
    let asked = sidecar.edge("/v1/refusals").await;
    assert_eq!(asked.status, StatusCode::METHOD_NOT_ALLOWED);
    let mut after = sidecar.admin(Method::GET, "/v1/blocked?most=5", None).await;
    after["reported_at"] = before["reported_at"].clone();
    assert_eq!(after, before);
    sidecar.stop().await;
}

#[tokio::test]
async fn the_level_of_the_log_is_ordered_shown_and_taken_back() {
    let sidecar = Running::start().await;
    let path = "/v1/log-level";
    let usual = json!({"configured": "info", "by_environment": false});
    assert_eq!(sidecar.admin(Method::GET, path, None).await, usual);
    let wanted = json!({"level": "debug", "duration": "1h"});
    let ordered = sidecar.admin(Method::PUT, path, Some(wanted)).await;
    assert_eq!(ordered["ordered"], "debug");
    assert!(ordered["until"].as_u64() > Some(3600), "{ordered}");
    let (title, detail) = sidecar
        .refused(Method::PUT, path, br#"{"level":"loud"}"#)
        .await;
    assert_eq!(title, "Faulty value in the body");
    assert!(detail.contains("\"loud\" is not known"), "{detail}");
    assert_eq!(sidecar.admin(Method::GET, path, None).await, ordered);
    assert_eq!(sidecar.admin(Method::DELETE, path, None).await, usual);
    sidecar.stop().await;
}
