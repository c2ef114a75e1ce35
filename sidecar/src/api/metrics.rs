//! Probes and metrics, for whoever runs the sidecar.
//!
//! - `/livez` — the process answers.
//! - `/readyz` — a snapshot is published: proxies that ask now get one.
//! - `/health` — both, as JSON, with the snapshot's version and age.
//! - `/metrics` — OpenMetrics text.

use std::sync::{Arc, OnceLock};

use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, StatusCode};
use serde::Serialize;
use tokio::sync::watch;

use super::problem::{Kind, Problem};
use super::server::{Exchange, Handler, Reply, json_with, reply};
use crate::clock::{Clock, SystemClock};
use crate::snapshot::Published;
use crate::telemetry::Metrics;

pub struct Probes {
    metrics: Arc<Metrics>,
    snapshots: Arc<OnceLock<Snapshots>>,
}

type Snapshots = watch::Receiver<Option<Arc<Published>>>;

#[derive(Serialize)]
struct Health {
    status: &'static str,
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<Snapshot>,
}

#[derive(Serialize)]
struct Snapshot {
    version: String,
    built_at: reputation::UnixSeconds,
}

const TEXT: &str = "text/plain; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl Probes {
    pub fn new(metrics: Arc<Metrics>) -> Self {
        let snapshots = Arc::default();
        Self { metrics, snapshots }
    }

    /// Where to put the source of snapshots once it exists; nothing is ready before.
    pub fn snapshots(&self) -> Arc<OnceLock<Snapshots>> {
        Arc::clone(&self.snapshots)
    }

    fn current(&self) -> Option<Arc<Published>> {
        self.snapshots.get()?.borrow().clone()
    }

    fn health(&self) -> Result<Reply, Problem> {
        let snapshot = self.current().map(|published| Snapshot {
            version: published.manifest.version.to_string(),
            built_at: published.manifest.built_at,
        });
        let (status, word) = match snapshot {
            Some(_) => (StatusCode::OK, "ok"),
            None => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        };
        let health = Health {
            status: word,
            version: env!("CARGO_PKG_VERSION"),
            snapshot,
        };
        json_with(status, &health)
    }

    fn metrics(&self) -> Result<Reply, Problem> {
        self.metrics.note_fetch();
        if let Some(published) = self.current() {
            // Modes end by themselves, so what is in force is counted when somebody looks.
            let now = SystemClock.now();
            let modes = published.manifest.modes.iter();
            self.metrics
                .set_modes(modes.filter(|mode| mode.in_force(now)));
        }
        match self.metrics.encode() {
            Ok(text) => Ok(reply(StatusCode::OK, OPEN_METRICS, text.into())),
            Err(error) => {
                tracing::error!(%error, "the metrics cannot be written");
                Err(Problem::new(Kind::Internal))
            }
        }
    }
}

impl Handler for Probes {
    const NAME: &'static str = "metrics";

    async fn handle(
        &self,
        request: Request<Incoming>,
        exchange: &mut Exchange,
    ) -> Result<Reply, Problem> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(Problem::new(Kind::WrongMethod("GET, HEAD")));
        }
        exchange.route = "probe";
        match request.uri().path() {
            "/livez" => Ok(reply(StatusCode::OK, TEXT, Bytes::from_static(b"ok\n"))),
            "/readyz" if self.current().is_none() => Err(Problem::new(Kind::NotReady)),
            "/readyz" => Ok(reply(StatusCode::OK, TEXT, Bytes::from_static(b"ready\n"))),
            "/health" => self.health(),
            "/metrics" => {
                exchange.route = "metrics";
                self.metrics()
            }
            _ => {
                exchange.route = "none";
                Err(Problem::new(Kind::NotFound))
            }
        }
    }
}
