//! Real listeners on ports of the system's choice, and the real intelligence without feeds.

mod admin;
mod connections;
mod edge;
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
use crate::history::History;
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
        history: Arc::new(History::new(Arc::clone(&clock), Arc::clone(&metrics))),
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
