//! What Envoy asks: verdicts, the manifest, parts of images, and the reputation API; and what it tells:
//! whom it refuses. Needs no token, carries no secret, changes nothing that decides.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderName, HeaderValue, ORIGIN};
use hyper::{HeaderMap, Method, Request, StatusCode};
use reputation::digest::Digest;
use reputation::manifest::SnapshotVersion;
use reputation::refusals::{MAX_REPORT_BYTES, ReportError};
use reputation::wire::{HEADER, Wire};
use reputation::{Action, Band, Cidr, ClientAddress, Verdict};
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::problem::{Kind, Problem};
use super::request::{self, Snapshots, check_ready, parameter};
use super::server::{self, Exchange, Handler, JSON, Reply, empty, json, reply};
use crate::intelligence::{Claim, Intelligence};
use crate::refusals::Refusals;
use crate::snapshot::Published;
use crate::telemetry::{Asker, Metrics, Sparing};

pub struct Edge {
    intelligence: Arc<Intelligence>,
    refusals: Arc<Refusals>,
    snapshots: Snapshots,
    metrics: Arc<Metrics>,
    /// Long polls end with it, so that proxies reconnect elsewhere at once.
    shutdown: CancellationToken,
    /// Places for those who wait, fewer than connections: look-ups always find one.
    waiting: Arc<Semaphore>,
    /// Places for reports under way: their bodies are held in memory.
    reporting: Semaphore,
}

/// What the reputation API tells the public: no source, no reason.
#[derive(Serialize)]
struct Reputation {
    address: ClientAddress,
    known: bool,
    band: Band,
    score: u8,
    action: Action,
}

/// Envoy has given up by then; a larger number is a mistake.
const MAX_WAIT_MS: u64 = 10_000;
const MAX_POLL_S: u64 = 60;
const DEFAULT_PREFIX: u8 = 64;
const MAX_WAITING: usize = server::MAX_CONNECTIONS / 2;
const MAX_REPORTING: usize = 64;
static WIRE: HeaderName = HeaderName::from_static(HEADER);
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// A filter that is refused asks again every few seconds.
static REFUSED: Sparing = Sparing::once_a_minute();

impl Handler for Edge {
    const NAME: &'static str = "edge";

    async fn handle(
        &self,
        request: Request<Incoming>,
        exchange: &mut Exchange,
    ) -> Result<Reply, Problem> {
        let path = request.uri().path();
        if path == "/v1/refusals" {
            exchange.route = "refusals";
            no_page(request.headers())?;
            let _wire = self.understand(request.headers())?;
            return self.refusals(request).await;
        }
        let (route, argument) = match path
            .strip_prefix("/v1/")
            .and_then(|rest| rest.split_once('/'))
        {
            Some((route, argument)) => (route, argument),
            None if path == "/v1/manifest" => ("manifest", ""),
            None => return Err(Problem::new(Kind::NotFound)),
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(Problem::new(Kind::WrongMethod("GET, HEAD")));
        }
        // Before anything is refused: the path of what has a route is not logged.
        exchange.route = match route {
            "verdict" => "verdict",
            "manifest" => "manifest",
            "parts" => "part",
            "reputation" => {
                exchange.route = "reputation";
                return self.reputation(argument);
            }
            _ => return Err(Problem::new(Kind::NotFound)),
        };
        no_page(request.headers())?;
        let wire = self.understand(request.headers())?;
        let query = request.uri().query();
        let mut reply = self.tell(argument, query, exchange).await?;
        reply.headers_mut().insert(&WIRE, value(wire));
        Ok(reply)
    }
}

impl Edge {
    pub fn new(
        intelligence: Arc<Intelligence>,
        refusals: Arc<Refusals>,
        metrics: Arc<Metrics>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            snapshots: intelligence.snapshots(),
            intelligence,
            refusals,
            metrics,
            shutdown,
            waiting: Arc::new(Semaphore::new(MAX_WAITING)),
            reporting: Semaphore::new(MAX_REPORTING),
        }
    }

    /// In which version of the wire who asks is answered.
    fn understand(&self, headers: &HeaderMap) -> Result<Wire, Problem> {
        let told = headers.get(HEADER).map(HeaderValue::as_bytes);
        let understood = Wire::told(told).and_then(|asker| Ok((asker, asker.answered_in()?)));
        match understood {
            Ok((asker, wire)) => {
                self.metrics.asked_by(Asker::Understood(asker.neighbour()));
                Ok(wire)
            }
            Err(error) => {
                self.metrics.asked_by(Asker::Refused);
                let why = error.to_string();
                if REFUSED.is_due() {
                    tracing::warn!(error = why, "a filter was refused: docs/upgrading.md");
                }
                Err(Problem::new(Kind::Wire).detail(why))
            }
        }
    }

    /// What filters ask by the route of `exchange`.
    async fn tell(
        &self,
        argument: &str,
        query: Option<&str>,
        exchange: &Exchange,
    ) -> Result<Reply, Problem> {
        match (exchange.route, argument) {
            ("verdict", address) => self.verdict(address, query, exchange).await,
            ("manifest", "") => self.manifest(query).await,
            ("part", digest) => self.part(digest),
            _ => Err(Problem::new(Kind::NotFound)),
        }
    }

    async fn verdict(
        &self,
        address: &str,
        query: Option<&str>,
        exchange: &Exchange,
    ) -> Result<Reply, Problem> {
        let address = request::address(address)?;
        check_ready(&self.snapshots)?;
        let wait = parameter(query, "wait_ms", "from 0 to 10000", |wait| {
            *wait <= MAX_WAIT_MS
        })?;
        let prefix = parameter(query, "prefix", "from 1 to 128", |prefix| {
            (1..=128).contains(prefix)
        })?;
        let wait = Duration::from_millis(wait.unwrap_or(0));
        let prefix = prefix.unwrap_or(DEFAULT_PREFIX);
        let verdict = self.intelligence.verdict(address, prefix, wait).await;
        if tracing::enabled!(tracing::Level::DEBUG) {
            let (client, network) = shown(address, &verdict);
            tracing::debug!(
                request_id = %exchange.id.text(),
                client = client.map(tracing::field::display),
                network = network.map(tracing::field::display),
                verdict = verdict.action.name(),
                band = verdict.band.name(),
                score = verdict.score,
                reason = verdict.reason,
                decision_id = verdict.decision.map(tracing::field::display),
                provisional = verdict.provisional,
                "verdict"
            );
        }
        json(&verdict)
    }

    /// Answers at once if there is something newer than `after`, else when there is.
    async fn manifest(&self, query: Option<&str>) -> Result<Reply, Problem> {
        let expected = "EPOCH.VERSION, such as 1790000000.7";
        let mut after = parameter(query, "after", expected, |_: &SnapshotVersion| true)?;
        let wait = parameter(query, "wait_s", "from 0 to 60", |wait| *wait <= MAX_POLL_S)?;
        let deadline = Instant::now() + Duration::from_secs(wait.unwrap_or(0));
        let mut snapshots = self.snapshots.clone();
        let mut place = None;
        loop {
            let current = snapshots.borrow_and_update().clone();
            if let Some(current) = current {
                after = self.credible(after, &current).await;
                if after.is_none_or(|it| current.manifest.version > it) {
                    return Ok(reply(StatusCode::OK, JSON, current.json.clone()));
                }
            }
            if place.is_none() && wait.is_some_and(|wait| wait > 0) {
                let free = self.waiting.try_acquire();
                place = Some(free.map_err(|_| Problem::new(Kind::Busy))?);
            }
            let changed = tokio::select! {
                changed = snapshots.changed() => changed.is_ok(),
                () = tokio::time::sleep_until(deadline) => false,
                () = self.shutdown.cancelled() => false,
            };
            if !changed {
                check_ready(&self.snapshots)?;
                return Ok(empty(StatusCode::NOT_MODIFIED));
            }
        }
    }

    /// What a proxy says that it holds, unless that cannot be. If it is newer than ours, the proxy was
    /// fed by another store, and ours must go beyond it.
    async fn credible(
        &self,
        after: Option<SnapshotVersion>,
        current: &Published,
    ) -> Option<SnapshotVersion> {
        let after = after?;
        let newer = current.manifest.version < after;
        if newer && self.intelligence.claimed(after).await == Claim::Impossible {
            return None;
        }
        Some(after)
    }

    fn part(&self, digest: &str) -> Result<Reply, Problem> {
        let part: Option<Bytes> = digest.parse::<Digest>().ok().and_then(|digest| {
            let current = self.snapshots.borrow();
            current.as_ref()?.parts.get(&digest).cloned()
        });
        let missing = "no part of a current snapshot has this digest";
        let part = part.ok_or_else(|| Problem::new(Kind::NotFound).detail(missing))?;
        Ok(reply(StatusCode::OK, "application/octet-stream", part))
    }

    /// Takes what a proxy says of those it refuses. Its answer is not read there.
    async fn refusals(&self, request: Request<Incoming>) -> Result<Reply, Problem> {
        if *request.method() != Method::POST {
            return Err(Problem::new(Kind::WrongMethod("POST")));
        }
        let free = self.reporting.try_acquire();
        let _place = free.map_err(|_| Problem::new(Kind::Busy))?;
        let body = request::body(request, MAX_REPORT_BYTES).await?;
        let report = self.refusals.take(&body).map_err(|error| {
            let kind = match error {
                ReportError::Malformed(_) => Kind::BadBody,
                _ => Kind::FaultyValue,
            };
            Problem::new(kind).detail(error.to_string())
        })?;
        self.intelligence.history().note_refusals(&report.clients);
        Ok(empty(StatusCode::NO_CONTENT))
    }

    fn reputation(&self, address: &str) -> Result<Reply, Problem> {
        let address = request::address(address)?;
        check_ready(&self.snapshots)?;
        let known = self.intelligence.known(address);
        json(&Reputation {
            address,
            known: known.is_some(),
            band: known.as_ref().map_or(Band::Clean, |verdict| verdict.band),
            score: known.as_ref().map_or(0, |verdict| verdict.score),
            action: known
                .as_ref()
                .map_or(Action::Allow, |verdict| verdict.action),
        })
    }
}

/// What is for filters is not for pages of the web, which reach this machine's ports through the browser
/// of whoever works at it. The reputation API is for them: Envoy says which may read it.
fn no_page(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.contains_key(ORIGIN) || headers.contains_key(FETCH_SITE) {
        true => Err(Problem::new(Kind::Page)),
        false => Ok(()),
    }
}

fn value(wire: Wire) -> HeaderValue {
    if wire == Wire::OURS {
        return HeaderValue::from_static(Wire::OURS_TEXT);
    }
    HeaderValue::from(wire.number())
}

/// What the log may hold of a client: the address if it is refused or throttled, else its /24 or /48.
fn shown(client: ClientAddress, verdict: &Verdict) -> (Option<ClientAddress>, Option<Cidr>) {
    match verdict.action {
        Action::Deny | Action::Throttle => (Some(client), None),
        Action::Allow | Action::Tag => {
            let length = if client.is_v4() { 24 } else { 48 };
            (None, Cidr::new(client, length))
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::super::listener::Listener;
    use super::*;
    use crate::config::ListenAddress;
    use crate::http::{Get, HttpClient};
    use crate::intelligence::testing::{Harness, PATIENCE};

    fn of(harness: &Harness) -> Edge {
        let refusals = Arc::new(Refusals::new(Arc::clone(&harness.clock) as _));
        let intelligence = Arc::clone(&harness.intelligence);
        Edge::new(
            intelligence,
            refusals,
            Arc::default(),
            CancellationToken::new(),
        )
    }

    #[tokio::test]
    async fn only_so_many_wait_at_once_and_who_does_not_wait_is_answered() {
        let harness = Harness::start("").await;
        let version = harness.published(|_| true).await.manifest.version;
        let edge = Edge {
            waiting: Arc::new(Semaphore::new(1)),
            ..of(&harness)
        };
        let (later, now) = (
            format!("after={version}&wait_s=1"),
            format!("after={version}"),
        );
        let first = edge.manifest(Some(&later));
        let second = async {
            tokio::task::yield_now().await;
            let busy = edge.manifest(Some(&later)).await.unwrap_err();
            (busy, edge.manifest(Some(&now)).await.unwrap().status())
        };
        let (first, (busy, now)) = tokio::join!(biased; first, second);
        assert_eq!(busy, Problem::new(Kind::Busy));
        assert_eq!(now, StatusCode::NOT_MODIFIED);
        assert_eq!(first.unwrap().status(), StatusCode::NOT_MODIFIED);
        assert_eq!(edge.waiting.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_shut_down_ends_long_polls_at_once() {
        let harness = Harness::start("").await;
        let version = harness.published(|_| true).await.manifest.version;
        let edge = of(&harness);
        let (waiting, shutdown) = (Arc::clone(&edge.waiting), edge.shutdown.clone());
        let address = ListenAddress::Tcp(([127, 0, 0, 1], 0).into());
        let listener = Listener::bind("edge", &address).await.unwrap();
        let path = format!("http://{listener}/v1/manifest?after={version}&wait_s=60");
        let serving = server::serve(listener, edge, Arc::default(), shutdown.clone());
        let serving = tokio::spawn(serving);
        let get = Get {
            uri: path.parse().unwrap(),
            headers: HeaderMap::new(),
            timeout: PATIENCE,
            max_bytes: 1024,
        };
        let poll = tokio::spawn(async move { HttpClient::new().get(get).await.unwrap().status });
        let under_way = async {
            while waiting.available_permits() == MAX_WAITING {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, under_way).await.unwrap();
        shutdown.cancel();
        let at_once = Duration::from_secs(3);
        let status = tokio::time::timeout(at_once, poll).await.unwrap();
        assert_eq!(status.unwrap(), StatusCode::NOT_MODIFIED);
        tokio::time::timeout(PATIENCE, serving)
            .await
            .unwrap()
            .unwrap();
    }

    #[tokio::test]
    async fn before_the_first_snapshot_nobody_is_called_clean() {
        let harness = Harness::start("").await;
        let (_publisher, snapshots) = watch::channel(None);
        let edge = Edge {
            snapshots,
            ..of(&harness)
        };
        let id = super::super::request::RequestId::Own(1);
        let exchange = Exchange {
            id,
            trace: None,
            peer: super::super::listener::Peer::Socket,
            route: "verdict",
            notable: false,
        };
        let verdict = edge.verdict("198.51.100.7", None, &exchange).await;
        let manifest = edge.manifest(None).await;
        for answer in [verdict, manifest, edge.reputation("198.51.100.7")] {
            assert_eq!(answer.unwrap_err(), Problem::new(Kind::NotReady));
        }
    }
}
