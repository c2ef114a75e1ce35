//! What goes on by itself beside the sources: decisions that lapse, what siblings changed, old answers in
//! the store, and a new day's quota.

use std::sync::Arc;
use std::time::Duration;

use reputation::UnixSeconds;
use tokio_util::sync::CancellationToken;

use super::Intelligence;
use super::answers;
use super::siblings::Siblings;
use super::sources::Sources;
use crate::clock::Clock;
use crate::store::Store;
use crate::telemetry::chain;

/// How often the providers' quota is counted anew: a new day shows within it.
const RECOUNT: Duration = Duration::from_secs(60);
/// How often answers that count no more are cleared from the store.
const PRUNE: Duration = Duration::from_secs(3600);

impl Intelligence {
    pub(super) fn keep_tidy(self: &Arc<Self>, shutdown: &CancellationToken) {
        let (decisions, ended) = (Arc::clone(&self.decisions), shutdown.clone());
        tokio::spawn(async move {
            ended.run_until_cancelled(decisions.sweep()).await;
        });
        let siblings = Siblings {
            decisions: Arc::clone(&self.decisions),
            modes: Arc::clone(&self.modes),
            store: Arc::clone(&self.store),
            publisher: self.publisher.clone(),
        };
        let ended = shutdown.clone();
        tokio::spawn(async move {
            ended.run_until_cancelled(siblings.follow()).await;
        });
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
        let ended = shutdown.clone();
        tokio::spawn(async move {
            ended.run_until_cancelled(prune(store, clock)).await;
        });
        let (sources, ended) = (Arc::clone(&self.sources), shutdown.clone());
        tokio::spawn(async move {
            ended.run_until_cancelled(recount(sources)).await;
        });
    }
}

async fn recount(sources: Arc<Sources>) {
    loop {
        tokio::time::sleep(RECOUNT).await;
        for gate in &sources.view().setup.gates {
            gate.recount().await;
        }
    }
}

async fn prune(store: Arc<dyn Store>, clock: Arc<dyn Clock>) {
    let mut ticks = tokio::time::interval(PRUNE);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let before = UnixSeconds(clock.now().0.saturating_sub(answers::STALE_FOR));
        match store.prune_verdicts(before).await {
            Ok(pruned) => tracing::debug!(pruned, "old answers cleared from the store"),
            Err(error) => tracing::warn!(error = chain(&error), "old answers stay in the store"),
        }
    }
}
