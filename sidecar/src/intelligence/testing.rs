//! What the tests of this room share: an intelligence on a store of its own under a clock that stands
//! still, and a stand-in for the servers that it asks.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use reputation::{ClientAddress, Decision, UnixSeconds, Verdict};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{DecisionError, Intelligence, NewDecision, Parts, Published};
use crate::clock::{Clock, ManualClock};
use crate::config::{Config, Feed, FeedFormat, FeedRole, FeedSource, Say};
use crate::history::History;
use crate::http::HttpClient;
use crate::secrets::Vault;
use crate::store::embedded::EmbeddedStore;
use crate::store::redis::tests::server::{Server, open_at};
use crate::store::{Store, StoreError};
use crate::telemetry::Metrics;

/// No wait in a test is longer.
pub const PATIENCE: Duration = Duration::from_secs(20);
const START: UnixSeconds = UnixSeconds(1_795_000_000);

/// A plain hard feed from a file.
pub fn file_feed(name: &str, path: &str) -> Feed {
    Feed {
        name: name.to_owned(),
        source: FeedSource::File(path.into()),
        format: FeedFormat::Plain,
        family: name.to_owned(),
        role: FeedRole::Block,
        refresh: Duration::from_secs(3600),
        trial: None,
        say: Say::WHOLE,
        key: None,
    }
}

pub struct Harness {
    pub intelligence: Arc<Intelligence>,
    pub clock: Arc<ManualClock>,
    pub metrics: Arc<Metrics>,
    pub directory: TempDir,
    pub store: Arc<dyn Store>,
    shutdown: DropGuard,
}

impl Harness {
    /// Starts with `toml` as the configuration; `{dir}` in it stands for a directory of its own.
    pub async fn start(toml: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self::start_in(directory, Arc::new(ManualClock::at(START)), toml).await
    }

    /// A directory with these files, not yet started.
    pub fn prepare(files: &[(&str, &str)]) -> TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        directory
    }

    pub async fn start_with(files: &[(&str, &str)], toml: &str) -> Self {
        let clock = Arc::new(ManualClock::at(START));
        Self::start_in(Self::prepare(files), clock, toml).await
    }

    async fn start_in(directory: TempDir, clock: Arc<ManualClock>, toml: &str) -> Self {
        let store = Arc::new(open(directory.path(), clock.now()).await);
        Self::start_on(store, directory, clock, toml).await
    }

    /// Starts on Redis, where others may be.
    pub async fn start_beside(redis: &Server) -> Self {
        Self::start_beside_with(redis, &[], "").await
    }

    pub async fn start_beside_with(redis: &Server, files: &[(&str, &str)], toml: &str) -> Self {
        let (directory, clock) = (Self::prepare(files), Arc::new(ManualClock::at(START)));
        let shown = Arc::clone(&clock) as Arc<dyn Clock>;
        let store = Arc::new(open_at(&redis.config(), directory.path(), shown).await);
        Self::start_on(store, directory, clock, toml).await
    }

    async fn start_on(
        store: Arc<dyn Store>,
        directory: TempDir,
        clock: Arc<ManualClock>,
        toml: &str,
    ) -> Self {
        let config = Config::parse(&complete(directory.path(), toml), std::iter::empty());
        let config = config.unwrap();
        let metrics = Arc::new(Metrics::new());
        let shutdown = CancellationToken::new();
        let parts = Parts {
            store: Arc::clone(&store),
            config: Arc::new(config),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            metrics: Arc::clone(&metrics),
            http: HttpClient::new(),
            vault: Arc::new(Vault::in_memory()),
            history: Arc::new(History::new(Arc::clone(&clock) as _, Arc::clone(&metrics))),
            shutdown: shutdown.clone(),
        };
        Self {
            intelligence: Intelligence::start(parts).await.unwrap(),
            clock,
            metrics,
            directory,
            store,
            shutdown: shutdown.drop_guard(),
        }
    }

    /// Ends this one and starts again on the same store.
    pub async fn restart(self, toml: &str) -> Self {
        drop(self.shutdown);
        self.store.flush().await.unwrap();
        drop(self.store);
        drop(self.intelligence);
        Self::start_in(self.directory, self.clock, toml).await
    }

    /// `toml` as the text of a whole configuration.
    pub fn complete(&self, toml: &str) -> String {
        complete(self.directory.path(), toml)
    }

    /// Goes on with another configuration.
    pub async fn take_over(&self, toml: &str) {
        let config = Config::parse(&self.complete(toml), std::iter::empty());
        self.intelligence.take_over(&config.unwrap()).await;
    }

    /// Asks the current snapshot.
    pub fn listed(&self, address: &str) -> Option<String> {
        let current = self.intelligence.snapshots().borrow().clone()?;
        self.reason(&current, address)
    }

    pub fn write(&self, file: &str, text: &str) {
        // A new inode, as a careful writer makes one.
        let fresh = self.directory.path().join("fresh");
        std::fs::write(&fresh, text).unwrap();
        std::fs::rename(fresh, self.directory.path().join(file)).unwrap();
    }

    /// The first snapshot for which `wanted` holds.
    pub async fn published(&self, wanted: impl Fn(&Published) -> bool) -> Arc<Published> {
        let mut snapshots = self.intelligence.snapshots();
        let wanted = snapshots.wait_for(|now| now.as_ref().is_some_and(|now| wanted(now)));
        let found = tokio::time::timeout(PATIENCE, wanted).await;
        found.unwrap().unwrap().clone().unwrap()
    }

    /// The reason for which `address` is listed in `snapshot`.
    pub fn reason(&self, snapshot: &Published, address: &str) -> Option<String> {
        let found = snapshot.find(address.parse().unwrap(), self.clock.now())?;
        Some(found.reason.to_owned())
    }

    pub async fn verdict(&self, address: &str) -> Verdict {
        self.verdict_within(address, PATIENCE).await
    }

    pub async fn verdict_within(&self, address: &str, wait: Duration) -> Verdict {
        let address: ClientAddress = address.parse().unwrap();
        self.intelligence.verdict(address, 64, wait).await
    }
}

impl Intelligence {
    /// Gives one decision.
    pub async fn add_decision(&self, new: NewDecision) -> Result<Decision, DecisionError> {
        let mut given = self.give_decisions(vec![new]).await?;
        Ok(given.given.remove(0))
    }
}

fn complete(directory: &Path, toml: &str) -> String {
    let here = directory.display().to_string();
    let toml = toml.replace("{dir}", &here);
    format!("{toml}\n[store]\npath = \"{here}\"\n")
}

/// The tasks of the one before may still be letting go of the store.
async fn open(directory: &Path, now: UnixSeconds) -> EmbeddedStore {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        match EmbeddedStore::open(directory, now).await {
            Ok(store) => return store,
            Err(StoreError::Locked { .. }) if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Waits until `done` holds.
pub async fn until(mut done: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !done() {
        assert!(tokio::time::Instant::now() < deadline, "it never happened");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A server that answers what it is told to.
pub struct StandIn {
    pub url: String,
    shared: Arc<Shared>,
    open: watch::Sender<bool>,
}

struct Shared {
    seen: Mutex<Vec<Asked>>,
    told: Mutex<Told>,
    /// The only value of a header that lets in.
    door: Mutex<Option<(&'static str, String)>>,
}

/// A request that came.
#[derive(Clone)]
pub struct Asked {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What is answered.
#[derive(Clone)]
pub struct Told {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl StandIn {
    pub async fn start(status: u16, body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let (open, gate) = watch::channel(true);
        let told = Told {
            status,
            headers: Vec::new(),
            body: body.to_owned(),
        };
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            told: Mutex::new(told),
            door: Mutex::default(),
        });
        tokio::spawn(serve(listener, Arc::clone(&shared), gate));
        Self { url, shared, open }
    }

    pub fn tell(&self, status: u16, headers: &[(&'static str, &str)], body: &str) {
        let headers = headers
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        *self.shared.told.lock().unwrap() = Told {
            status,
            headers: headers.collect(),
            body: body.to_owned(),
        };
    }

    /// Whoever shows something else in `header` gets 401 from now on.
    pub fn let_in_only(&self, header: &'static str, value: &str) {
        *self.shared.door.lock().unwrap() = Some((header, value.to_owned()));
    }

    /// Requests wait from now on.
    pub fn hold(&self) {
        self.open.send_replace(false);
    }

    pub fn let_go(&self) {
        self.open.send_replace(true);
    }

    pub fn seen(&self) -> Vec<Asked> {
        self.shared.seen.lock().unwrap().clone()
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>, gate: watch::Receiver<bool>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (shared, gate) = (Arc::clone(&shared), gate.clone());
        let service = service_fn(move |request| {
            let (shared, gate) = (Arc::clone(&shared), gate.clone());
            answer(shared, gate, request)
        });
        let server = hyper::server::conn::http1::Builder::new();
        tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(
    shared: Arc<Shared>,
    mut gate: watch::Receiver<bool>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?;
    let door = shared.door.lock().unwrap().clone();
    let is_let_in = door.is_none_or(|(header, value)| {
        let shown = parts.headers.get(header);
        shown.is_some_and(|shown| *shown == value)
    });
    shared.seen.lock().unwrap().push(Asked {
        path: parts.uri.to_string(),
        headers: parts.headers,
        body: body.to_bytes(),
    });
    let told = shared.told.lock().unwrap().clone();
    gate.wait_for(|open| *open)
        .await
        .map_err(std::io::Error::other)?;
    let status = if is_let_in { told.status } else { 401 };
    let mut response = Response::builder().status(status);
    for (name, value) in told.headers {
        response = response.header(name, value);
    }
    response
        .body(Full::new(Bytes::from(told.body)))
        .map_err(std::io::Error::other)
}
