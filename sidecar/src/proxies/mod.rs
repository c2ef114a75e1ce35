//! The proxies, as their listeners for statistics tell: read every so often, kept for an hour.
//!
//! Owns the reading, the last values and what was counted per minute, and says in the log what failed in
//! a filter, which cannot say so itself. What a figure means for an operator is for others to judge.

mod counts;
mod faults;
mod history;
mod stats;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::{HeaderMap, StatusCode, Uri};
use reputation::UnixSeconds;
use serde::Serialize;
use thiserror::Error;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::config::Envoy;
use crate::http::{Get, HttpClient, HttpError};
use crate::telemetry::chain;
pub use counts::{Counts, Figure, Holds};
use faults::Faults;
use history::History;
pub use history::{MINUTES, Minute};
pub use stats::Stats;

/// All proxies that are configured.
pub struct Proxies {
    setup: Mutex<Setup>,
    changed: Notify,
    http: HttpClient,
    clock: Arc<dyn Clock>,
}

/// What is known of one proxy.
#[derive(Debug, Clone, Serialize)]
pub struct ProxyStatus {
    pub url: String,
    /// When it last answered.
    pub seen_at: Option<u32>,
    /// Why it did not answer when it was last asked.
    pub fault: Option<String>,
    /// Since its process began; none before it answered for the first time.
    pub counts: Option<Counts>,
    pub holds: Holds,
    /// The minutes of the last hour in which it was read, the oldest first.
    pub minutes: Vec<Minute>,
}

struct Setup {
    every: Duration,
    proxies: Vec<Arc<Proxy>>,
}

struct Proxy {
    url: Uri,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    seen_at: Option<UnixSeconds>,
    fault: Option<String>,
    counts: Option<Counts>,
    holds: Holds,
    history: History,
    faults: Faults,
}

/// Why a proxy told nothing.
#[derive(Debug, Error)]
enum ReadError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("it answered with status {0}")]
    Status(StatusCode),
}

const TIMEOUT: Duration = Duration::from_secs(5);
/// The statistics of a proxy with a thousand clusters are some megabytes.
const MAX_BYTES: usize = 32 * 1024 * 1024;

impl Proxies {
    pub fn new(config: &Envoy, http: HttpClient, clock: Arc<dyn Clock>) -> Self {
        let proxies = Self {
            setup: Mutex::new(Setup {
                every: config.every,
                proxies: Vec::new(),
            }),
            changed: Notify::new(),
            http,
            clock,
        };
        proxies.follow(config);
        proxies
    }

    /// Reads these from now on. What is known of those that stay is kept.
    pub fn follow(&self, config: &Envoy) {
        let mut setup = self.setup();
        let before = std::mem::take(&mut setup.proxies);
        let known = |url: &Uri| before.iter().find(|proxy| proxy.url == *url).cloned();
        let named = config.stats.iter();
        setup.proxies = named
            .map(|url| known(url).unwrap_or_else(|| Proxy::at(url)))
            .collect();
        setup.every = config.every;
        self.changed.notify_one();
    }

    /// In the order of the configuration.
    pub fn statuses(&self) -> Vec<ProxyStatus> {
        let proxies = self.setup().proxies.clone();
        proxies.iter().map(|proxy| proxy.status()).collect()
    }

    /// What all proxies together counted in each minute of the last hour, the oldest first.
    pub fn minutes(&self) -> Vec<Minute> {
        let mut sums = std::collections::BTreeMap::<u32, Counts>::new();
        for minute in self.statuses().iter().flat_map(|proxy| &proxy.minutes) {
            sums.entry(minute.at).or_default().add(&minute.counts);
        }
        let minute = |(at, counts)| Minute { at, counts };
        sums.into_iter().map(minute).collect()
    }

    /// Reads all every so often. Does not end.
    pub async fn keep(&self) {
        loop {
            self.read().await;
            let every = self.setup().every;
            // A changed configuration is followed at once.
            let _elapsed = tokio::time::timeout(every, self.changed.notified()).await;
        }
    }

    /// Reads each once, all at a time.
    pub async fn read(&self) {
        let mut reading = JoinSet::new();
        for proxy in self.setup().proxies.clone() {
            let (http, clock) = (self.http.clone(), Arc::clone(&self.clock));
            reading.spawn(async move {
                let read = proxy.read(&http).await;
                proxy.note(read, clock.now());
            });
        }
        reading.join_all().await;
    }

    fn setup(&self) -> MutexGuard<'_, Setup> {
        self.setup.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Proxy {
    fn at(url: &Uri) -> Arc<Self> {
        Arc::new(Self {
            url: url.clone(),
            state: Mutex::default(),
        })
    }

    async fn read(&self, http: &HttpClient) -> Result<Stats, ReadError> {
        let get = Get {
            uri: self.url.clone(),
            headers: HeaderMap::new(),
            timeout: TIMEOUT,
            max_bytes: MAX_BYTES,
        };
        let answer = http.get(get).await?;
        if !answer.status.is_success() {
            return Err(ReadError::Status(answer.status));
        }
        let text = String::from_utf8_lossy(&answer.body);
        Ok(Stats::chosen(&text, counts::concerns))
    }

    fn note(&self, read: Result<Stats, ReadError>, now: UnixSeconds) {
        let (proxy, mut state) = (&self.url, self.state());
        match read {
            Ok(stats) => {
                let counts = Counts::read(&stats);
                // What was counted before the first reading may be long ago.
                let risen = counts.since(&state.counts.unwrap_or(counts));
                state.faults.tell(proxy, &risen);
                state.history.add(now, &risen);
                state.counts = Some(counts);
                state.holds = Holds::read(&stats);
                state.seen_at = Some(now);
                if state.fault.take().is_some() {
                    tracing::info!(%proxy, "the proxy's statistics can be read again");
                }
            }
            Err(error) => {
                let why = chain(&error);
                if state.fault.is_none() {
                    tracing::warn!(%proxy, error = why, "the proxy's statistics cannot be read");
                }
                state.fault = Some(why);
            }
        }
    }

    fn status(&self) -> ProxyStatus {
        let state = self.state();
        ProxyStatus {
            url: self.url.to_string(),
            seen_at: state.seen_at.map(|at| at.0),
            fault: state.fault.clone(),
            counts: state.counts,
            holds: state.holds,
            minutes: state.history.minutes().copied().collect(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
