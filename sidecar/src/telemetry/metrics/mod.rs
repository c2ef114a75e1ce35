//! The handle by which everybody counts. Names, helps and labels are `families`'.

mod families;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use reputation::decision::Origin;
use reputation::{Decision, DecisionKind, UnixSeconds};

use crate::store::StoreHealth;
use families::{
    CacheLabels, ConcernLabels, DecisionLabels, Families, FeedLabels, FeedRefusedLabels,
    HttpLabels, ProviderLabels, ProviderOutcomeLabels, ProviderReasonLabels, RouteLabels,
};

/// The handle that everybody writes to, shared as `Arc<Metrics>`.
pub struct Metrics {
    registry: Registry,
    families: Families,
    /// When somebody last fetched them.
    fetched: Mutex<Option<Instant>>,
}

/// Where an answer about an address was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheLayer {
    Memory,
    Store,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheResult {
    Hit,
    /// Found, but to be asked again.
    Stale,
    Miss,
}

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("portcullis");
        let families = Families::register(&mut registry);
        Self {
            registry,
            families,
            fetched: Mutex::default(),
        }
    }

    pub fn cache_request(&self, layer: CacheLayer, result: CacheResult) {
        let (layer, result) = (layer.name(), result.name());
        self.families
            .cache_requests
            .get_or_create(&CacheLabels { layer, result })
            .inc();
    }

    /// How many questions about an address there were, and how many found an answer, stale or not.
    pub fn cache_totals(&self) -> (u64, u64) {
        let total = |layer: CacheLayer, results: &[CacheResult]| {
            let count = |result: &CacheResult| {
                let (layer, result) = (layer.name(), result.name());
                let labels = CacheLabels { layer, result };
                let counter = self.families.cache_requests.get(&labels);
                counter.map_or(0, |counter| counter.get())
            };
            results.iter().map(count).sum::<u64>()
        };
        let found = [CacheResult::Hit, CacheResult::Stale];
        let in_memory = total(CacheLayer::Memory, &found);
        let asked = in_memory + total(CacheLayer::Memory, &[CacheResult::Miss]);
        (asked, in_memory + total(CacheLayer::Store, &found))
    }

    pub fn error_logged(&self) {
        self.families.log_errors.inc();
    }

    pub fn errors_logged(&self) -> u64 {
        self.families.log_errors.get()
    }

    /// Somebody fetches the metrics now.
    pub fn note_fetch(&self) {
        let mut fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        *fetched = Some(Instant::now());
    }

    /// How long ago somebody last fetched them.
    pub fn fetched_ago(&self) -> Option<Duration> {
        let fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        fetched.map(|at| at.elapsed())
    }

    /// `outcome` is one of a provider's fixed words, such as `ok`, `timeout` or `quota`.
    pub fn provider_request(&self, provider: &str, outcome: &'static str, took: Duration) {
        let labels = ProviderOutcomeLabels {
            provider: provider.to_owned(),
            outcome,
        };
        self.families.provider_requests.get_or_create(&labels).inc();
        let labels = ProviderLabels {
            provider: provider.to_owned(),
        };
        self.families
            .provider_duration
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }

    /// `reason` is one of the gate's fixed words.
    pub fn provider_skipped(&self, provider: &str, reason: &'static str) {
        let labels = ProviderReasonLabels {
            provider: provider.to_owned(),
            reason,
        };
        self.families.provider_skipped.get_or_create(&labels).inc();
    }

    pub fn provider_quota(&self, provider: &str, limit: u32, remaining: u32) {
        let labels = ProviderLabels {
            provider: provider.to_owned(),
        };
        self.families
            .provider_quota_limit
            .get_or_create(&labels)
            .set(limit.into());
        self.families
            .provider_quota_remaining
            .get_or_create(&labels)
            .set(remaining.into());
    }

    /// The provider is not configured any more; what was counted of it stays.
    pub fn forget_provider(&self, provider: &str) {
        let labels = ProviderLabels {
            provider: provider.to_owned(),
        };
        self.families.provider_quota_limit.remove(&labels);
        self.families.provider_quota_remaining.remove(&labels);
    }

    pub fn feed_taken(&self, feed: &str, entries: usize, at: UnixSeconds) {
        self.feed_entries(feed, entries);
        self.feed_unchanged(feed, at);
    }

    pub fn feed_entries(&self, feed: &str, entries: usize) {
        let labels = FeedLabels {
            feed: feed.to_owned(),
        };
        let entries = i64::try_from(entries).unwrap_or(i64::MAX);
        self.families
            .feed_entries
            .get_or_create(&labels)
            .set(entries);
    }

    /// The feed is not configured any more; what was counted of it stays.
    pub fn forget_feed(&self, feed: &str) {
        let labels = FeedLabels {
            feed: feed.to_owned(),
        };
        self.families.feed_entries.remove(&labels);
        self.families.feed_last_success.remove(&labels);
    }

    /// A feed was read again and found unchanged.
    pub fn feed_unchanged(&self, feed: &str, at: UnixSeconds) {
        let labels = FeedLabels {
            feed: feed.to_owned(),
        };
        self.families
            .feed_last_success
            .get_or_create(&labels)
            .set(at.0.into());
    }

    /// `cause` is one of the guard's or the fetcher's fixed words.
    pub fn feed_refused(&self, feed: &str, cause: &'static str) {
        let labels = FeedRefusedLabels {
            feed: feed.to_owned(),
            cause,
        };
        self.families.feed_refused.get_or_create(&labels).inc();
    }

    /// Replaces the counts of decisions; those not in `decisions` any more go to zero.
    pub fn set_decisions<'a>(&self, decisions: impl IntoIterator<Item = &'a Decision>) {
        self.families.decisions.clear();
        for decision in decisions {
            let origin = match &decision.origin {
                Origin::Operator => "operator".to_owned(),
                Origin::Source(source) => source.clone(),
            };
            let labels = DecisionLabels {
                origin,
                r#type: kind_name(decision.kind),
            };
            self.families.decisions.get_or_create(&labels).inc();
        }
    }

    /// Replaces what was said of the store; a concern that is gone is not exported any more.
    pub fn store_health(&self, health: &StoreHealth) {
        self.families.store_up.set(health.fault.is_none().into());
        self.families.store_concern.clear();
        for concern in &health.concerns {
            let concern = concern.name();
            let labels = ConcernLabels { concern };
            self.families.store_concern.get_or_create(&labels).set(1);
        }
    }

    /// What was last read of the configuration is good, and in force since `at`.
    pub fn config_loaded(&self, at: UnixSeconds) {
        self.families.config_reload_successful.set(1);
        self.families.config_reload_time.set(at.0.into());
    }

    /// What was last read of the configuration is faulty.
    pub fn config_refused(&self) {
        self.families.config_reload_successful.set(0);
    }

    pub fn http_request(
        &self,
        listener: &'static str,
        route: &'static str,
        status: u16,
        took: Duration,
    ) {
        self.families
            .http_requests
            .get_or_create(&HttpLabels {
                listener,
                route,
                status,
            })
            .inc();
        let labels = RouteLabels { listener, route };
        self.families
            .http_duration
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }

    /// The exposition in OpenMetrics text.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl CacheLayer {
    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Store => "store",
        }
    }
}

impl CacheResult {
    fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Miss => "miss",
        }
    }
}

fn kind_name(kind: DecisionKind) -> &'static str {
    match kind {
        DecisionKind::Ban => "ban",
        DecisionKind::Throttle => "throttle",
        DecisionKind::Allow => "allow",
    }
}

#[cfg(test)]
pub(super) mod tests;
