//! What the sidecar answers: `edge` to Envoy, `admin` to operators, `metrics` to probes and scrapers.
//! Shared below them: `listener` (sockets), `server` (connections, limits, log), `request` and
//! `problem`.

pub mod admin;
pub mod edge;
pub mod listener;
pub mod metrics;
pub mod problem;
pub mod request;
pub mod server;
pub mod token;

use std::sync::Arc;

use listener::{BindError, Listener};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Listen;
use crate::intelligence::Intelligence;
use crate::secrets::Secrets;
use crate::telemetry::Metrics;

/// The three listeners, bound but not served yet.
pub struct Listeners {
    pub edge: Listener,
    pub admin: Listener,
    pub metrics: Listener,
}

/// What the answers are made of.
pub struct Backing {
    pub intelligence: Arc<Intelligence>,
    pub secrets: Arc<Secrets>,
    pub metrics: Arc<Metrics>,
    pub token: token::AdminToken,
}

impl Listeners {
    pub async fn bind(listen: &Listen) -> Result<Self, BindError> {
        Ok(Self {
            edge: Listener::bind("edge", &listen.edge).await?,
            admin: Listener::bind("admin", &listen.admin).await?,
            metrics: Listener::bind("metrics", &listen.metrics).await?,
        })
    }

    /// One line per listener with the address that is really bound.
    pub fn log(&self) {
        let Self {
            edge,
            admin,
            metrics,
        } = self;
        for (listener, bound) in [("edge", edge), ("admin", admin), ("metrics", metrics)] {
            tracing::info!(listener, address = %bound, "listening");
        }
    }

    /// Serves all three until `shutdown` and a while longer for what is under way.
    pub async fn serve(self, backing: Backing, shutdown: CancellationToken) {
        let Backing {
            intelligence,
            secrets,
            metrics,
            token,
        } = backing;
        let snapshots = intelligence.snapshots();
        let edge = edge::Edge::new(Arc::clone(&intelligence), shutdown.clone());
        let admin = admin::Admin::new(intelligence, secrets, token);
        let probes = metrics::Probes::new(Arc::clone(&metrics), snapshots);
        let mut serving = JoinSet::new();
        serving.spawn(server::serve(
            self.edge,
            edge,
            Arc::clone(&metrics),
            shutdown.clone(),
        ));
        serving.spawn(server::serve(
            self.admin,
            admin,
            Arc::clone(&metrics),
            shutdown.clone(),
        ));
        serving.spawn(server::serve(self.metrics, probes, metrics, shutdown));
        serving.join_all().await;
    }
}

#[cfg(test)]
mod tests;
