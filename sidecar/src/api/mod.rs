//! What the sidecar answers: `edge` to Envoy, `admin` to operators, `metrics` to probes and scrapers.
//! Shared below them: `listener` (sockets), `server` (connections, log), `places` and `patience` (what one
//! client may take of it), `request` and `problem`.

pub mod admin;
pub mod attempts;
pub mod door;
pub mod edge;
pub mod files;
pub mod listener;
pub mod metrics;
pub mod patience;
pub mod places;
pub mod problem;
pub mod request;
pub mod server;
pub mod token;

use std::sync::Arc;

use door::Door;
use listener::{BindError, Listener};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::Listen;
use crate::console::{Console, Needs};
use crate::doctor::{Examined, Examiner};
use crate::intelligence::Intelligence;
use crate::orders::{Orders, Trail};
use crate::proxies::Proxies;
use crate::refusals::Refusals;
use crate::reload::Watch;
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::telemetry::level::Level;
use crate::trials::Trials;

/// The three listeners, bound but not served yet.
pub struct Listeners {
    pub edge: Listener,
    pub admin: Listener,
    pub metrics: Listener,
}

/// What the answers are made of.
pub struct Backing {
    pub intelligence: Arc<Intelligence>,
    pub token: token::AdminToken,
    pub watch: Arc<Watch>,
    pub store: Arc<dyn Store>,
    pub proxies: Arc<Proxies>,
    pub level: Arc<Level>,
    pub trail: Trail,
    pub clock: Arc<dyn Clock>,
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

    /// Serves until `shutdown` and a while longer for what is under way. Probes are answered while
    /// `backing` is still on its way, so that a long start is not taken for a dead process.
    pub async fn serve<E>(
        self,
        metrics: Arc<Metrics>,
        backing: impl Future<Output = Result<Backing, E>>,
        shutdown: CancellationToken,
    ) -> Result<(), E> {
        let probes = metrics::Probes::new(Arc::clone(&metrics));
        let snapshots = probes.snapshots();
        let mut serving = JoinSet::new();
        let (counting, told) = (Arc::clone(&metrics), shutdown.clone());
        serving.spawn(server::serve(self.metrics, probes, counting, told));
        let Some(backing) = shutdown.run_until_cancelled(backing).await else {
            return Ok(());
        };
        let backing = backing?;
        // Only here is it set.
        let _first = snapshots.set(backing.intelligence.snapshots());
        let refusals = Arc::new(Refusals::new(Arc::clone(&backing.clock)));
        let edge = backing.edge(&refusals, &metrics, &shutdown);
        let admin = backing.admin(refusals, &metrics);
        let (counting, told) = (Arc::clone(&metrics), shutdown.clone());
        serving.spawn(server::serve(self.edge, edge, counting, told));
        serving.spawn(server::serve(self.admin, admin, metrics, shutdown));
        serving.join_all().await;
        Ok(())
    }
}

impl Backing {
    /// What Envoy asks.
    fn edge(
        &self,
        refusals: &Arc<Refusals>,
        metrics: &Arc<Metrics>,
        shutdown: &CancellationToken,
    ) -> edge::Edge {
        edge::Edge::new(
            Arc::clone(&self.intelligence),
            Arc::clone(refusals),
            Arc::clone(metrics),
            shutdown.clone(),
        )
    }

    /// What operators ask and order, by program or by browser.
    fn admin(self, refusals: Arc<Refusals>, metrics: &Arc<Metrics>) -> admin::Admin {
        let orders = Arc::new(Orders::new(Arc::clone(&self.intelligence), self.trail));
        let door = Arc::new(Door::new(self.token));
        let console = Console::new(Needs {
            intelligence: Arc::clone(&self.intelligence),
            orders: Arc::clone(&orders),
            door: Arc::clone(&door),
            proxies: self.proxies,
            refusals: Arc::clone(&refusals),
            metrics: Arc::clone(metrics),
            clock: Arc::clone(&self.clock),
        });
        let trials = Trials::new(Arc::clone(&self.intelligence), Arc::clone(&self.watch));
        let examiner = Examiner::new(Examined {
            intelligence: Arc::clone(&self.intelligence),
            metrics: Arc::clone(metrics),
            watch: self.watch,
            store: self.store,
            clock: Arc::clone(&self.clock),
        });
        admin::Admin {
            intelligence: self.intelligence,
            orders,
            door,
            examiner,
            trials,
            refusals,
            level: self.level,
            clock: self.clock,
            console,
        }
    }
}

#[cfg(test)]
mod tests;
