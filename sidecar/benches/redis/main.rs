//! How fast a verdict comes out of Redis, against a bare GET through the same client. `cargo xtask bench
//! --redis` starts what this needs, runs it and makes a table of what it prints.
//!
//! - `fill URL COUNT` puts verdicts on so many addresses there, as the sidecar does.
//! - `bare URL` serves a GET over HTTP, and prints where.
//! - `measure URL SIDECAR ROUNDS` loads all sides in turn, and prints one JSON object a round.
#![expect(clippy::print_stdout, reason = "xtask reads it")]

mod bare;
mod load;

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use reputation::score::Stance;
use reputation::{ClientAddress, UnixSeconds};
use serde_json::json;
use sidecar::clock::{Clock, SystemClock};
use sidecar::config::Config;
use sidecar::secrets::Secrets;
use sidecar::store::{self, Store, StoredVerdict, VerdictKey};
use sidecar::telemetry::Metrics;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

type Anyhow<T> = Result<T, Box<dyn Error + Send + Sync>>;

const PROVIDER: &str = "abuseipdb";
/// The first address that there is a verdict on; the others follow.
const FIRST: Ipv4Addr = Ipv4Addr::new(11, 0, 0, 0);
/// So many verdicts are being written at once.
const AT_ONCE: usize = 256;
/// How long one side is loaded before it is another's turn.
const SLICE: Duration = Duration::from_secs(1);
/// What the bare GET reads: as long as a verdict.
const PLAIN_KEY: &str = "bench:plain";
const PLAIN_VALUE: &[u8] = &[7; 16];

#[tokio::main]
async fn main() -> Anyhow<()> {
    // Cargo adds a flag of its own to what is benched.
    let arguments: Vec<_> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["fill", url, count] => fill(url, count.parse()?).await,
        ["bare", url] => {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            println!("{}", listener.local_addr()?);
            match bare::serve(listener, connect(url).await?).await? {}
        }
        ["measure", url, sidecar, rounds] => measure(url, sidecar.parse()?, rounds.parse()?).await,
        _ => Ok(()),
    }
}

async fn connect(url: &str) -> Anyhow<MultiplexedConnection> {
    let client = redis::Client::open(format!("{url}?protocol=resp3"))?;
    Ok(client.get_multiplexed_async_connection().await?)
}

/// `folder` is for the store's copy.
async fn open(url: &str, folder: &Path) -> Anyhow<Arc<dyn Store>> {
    let text = format!("[store]\nkind = \"redis\"\nurl = {url:?}\npath = {folder:?}\n");
    let config = Config::parse(&text, std::iter::empty()).map_err(|faults| faults.to_string())?;
    let secrets = Arc::new(Secrets::new(config.secrets.clone()));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (metrics, shutdown) = (Arc::new(Metrics::new()), CancellationToken::new());
    Ok(store::open(&config, &secrets, &clock, &metrics, &shutdown).await?)
}

fn address(number: u32) -> ClientAddress {
    ClientAddress::V4(u32::from(FIRST) + number)
}

fn key(number: u32) -> VerdictKey {
    VerdictKey {
        provider: PROVIDER.to_owned(),
        address: address(number),
    }
}

async fn fill(url: &str, count: u32) -> Anyhow<()> {
    let folder = tempfile::tempdir()?;
    let store = open(url, folder.path()).await?;
    let now = SystemClock.now();
    for first in (0..count).step_by(AT_ONCE) {
        let mut writing = JoinSet::new();
        for number in (first..count).take(AT_ONCE) {
            let (store, verdict) = (Arc::clone(&store), verdict(number, now));
            writing.spawn(async move { store.put_verdict(key(number), verdict).await });
        }
        while let Some(written) = writing.join_next().await {
            written??;
        }
    }
    Ok(())
}

/// As AbuseIPDB's are: every fourth address has been reported at some time.
fn verdict(number: u32, now: UnixSeconds) -> StoredVerdict {
    let reported = number.is_multiple_of(4);
    StoredVerdict {
        score: if reported { 30 } else { 0 },
        stance: Stance::Rated,
        categories: Vec::new(),
        observed: reported.then_some(UnixSeconds(now.0 - number % 2_000_000)),
        fetched: now,
        expires: now.plus(86_400),
    }
}

async fn measure(url: &str, sidecar: SocketAddr, rounds: u32) -> Anyhow<()> {
    let folder = tempfile::tempdir()?;
    let (store, plain) = (open(url, folder.path()).await?, connect(url).await?);
    let () = plain.clone().set(PLAIN_KEY, PLAIN_VALUE).await?;
    let http = Client::builder(TokioExecutor::new()).build_http();
    let bare = Bare::start(url)?;
    // Every address is asked for once: the second time the sidecar would know it by itself.
    let next = Arc::new(AtomicU32::new(0));
    // The first round warms up.
    for round in 0..=rounds {
        let stored = p99_of_store(&store).await;
        let get = p99_of_get(&plain).await;
        let answered = p99_of_sidecar(&http, sidecar, &next).await;
        let bare = p99_of_bare(&http, bare.address).await;
        if round > 0 {
            let line = json!({"store": stored, "get": get, "sidecar": answered, "bare": bare});
            println!("{line}");
        }
    }
    Ok(())
}

async fn p99_of_store(store: &Arc<dyn Store>) -> f64 {
    let store = Arc::clone(store);
    load::p99(SLICE, move |number| {
        let store = Arc::clone(&store);
        // On a machine that stands still for longer than the store waits, it says so instead of a
        // verdict. The time until there is one counts.
        async move { while !finds(&store, number).await {} }
    })
    .await
}

async fn finds(store: &Arc<dyn Store>, number: u32) -> bool {
    let found = store.verdicts(&[key(number)]).await;
    let finds = found.is_ok_and(|found| matches!(found.as_slice(), [Some(_)]));
    if !finds {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    finds
}

async fn p99_of_get(redis: &MultiplexedConnection) -> f64 {
    let redis = redis.clone();
    load::p99(SLICE, move |_| {
        let mut redis = redis.clone();
        async move {
            let found: Result<Vec<u8>, _> = redis.get(PLAIN_KEY).await;
            assert!(found.is_ok_and(|value| value == PLAIN_VALUE));
        }
    })
    .await
}

type Http = Client<HttpConnector, Empty<Bytes>>;

async fn p99_of_sidecar(http: &Http, sidecar: SocketAddr, next: &Arc<AtomicU32>) -> f64 {
    let (http, next) = (http.clone(), Arc::clone(next));
    load::p99(SLICE, move |_| {
        let address = address(next.fetch_add(1, Ordering::Relaxed));
        get(
            http.clone(),
            format!("http://{sidecar}/v1/verdict/{address}?wait_ms=100"),
        )
    })
    .await
}

async fn p99_of_bare(http: &Http, bare: SocketAddr) -> f64 {
    let http = http.clone();
    load::p99(SLICE, move |_| {
        get(http.clone(), format!("http://{bare}/{PLAIN_KEY}"))
    })
    .await
}

async fn get(http: Http, url: String) {
    let uri: Uri = url.parse().unwrap_or_default();
    let answer = http.get(uri).await;
    assert!(
        answer
            .as_ref()
            .is_ok_and(|answer| answer.status() == StatusCode::OK),
        "{url}: {answer:?}"
    );
    if let Ok(answer) = answer {
        // Its end is part of what it takes.
        let _body = answer.into_body().collect().await;
    }
}

/// The server to compare with, in a process of its own as the sidecar is.
struct Bare {
    process: Child,
    address: SocketAddr,
}

impl Bare {
    fn start(url: &str) -> Anyhow<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut process = command.args(["bare", url]).stdout(Stdio::piped()).spawn()?;
        let output = process.stdout.take().ok_or("it has no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().parse()?;
        Ok(Self { process, address })
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
