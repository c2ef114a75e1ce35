//! The handle by which everybody counts. Names, helps and labels are `families`'.

mod canary;
mod families;
mod feeds;
mod history;
mod neighbours;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use reputation::mode::ModeOverride;
use reputation::{Action, Decision, UnixSeconds};

use crate::intelligence::words::{self, Strength};
use crate::patrol::CanaryState;
use crate::store::StoreHealth;
use families::{
    CacheLabels, ConcernLabels, DatabaseLabels, DatabaseRefusedLabels, DecisionLabels, Families,
    HttpLabels, ListenerLabels, ModeLabels, ProviderLabels, ProviderOutcomeLabels,
    ProviderReasonLabels, RouteLabels, SecretLabels, ShadowLabels,
};

/// The handle that everybody writes to, shared as `Arc<Metrics>`.
pub struct Metrics {
    registry: Registry,
    families: Families,
    /// The decisions of the store, and those of sources.
    stored: Mutex<DecisionCounts>,
    spoken: Mutex<DecisionCounts>,
    /// When somebody last fetched them.
    fetched: Mutex<Option<Instant>>,
    canary: Mutex<Option<CanaryState>>,
    askers: Askers,
}

pub use history::HistoryLoss;
use neighbours::Askers;
pub use neighbours::{Asker, AskersSeen};

type DecisionCounts = HashMap<DecisionLabels, i64>;

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
            askers: Askers::new(&families),
            families,
            stored: Mutex::default(),
            spoken: Mutex::default(),
            fetched: Mutex::default(),
            canary: Mutex::default(),
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

    /// `source` would have led to `action`.
    pub fn shadow_answer(&self, source: &str, action: Action) {
        let labels = ShadowLabels {
            source: source.to_owned(),
            action: action.name(),
        };
        self.families.shadow_answers.get_or_create(&labels).inc();
    }

    /// How often `source` would have led to `action`.
    pub fn shadow_answers(&self, source: &str, action: Action) -> u64 {
        let labels = ShadowLabels {
            source: source.to_owned(),
            action: action.name(),
        };
        let counter = self.families.shadow_answers.get(&labels);
        counter.map_or(0, |counter| counter.get())
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

    /// The database is configured, and out of date from this age on.
    pub fn database_configured(&self, database: &str, max_age: Duration) {
        let labels = DatabaseLabels {
            database: database.to_owned(),
        };
        let seconds = i64::try_from(max_age.as_secs()).unwrap_or(i64::MAX);
        let families = &self.families;
        families
            .database_max_age
            .get_or_create(&labels)
            .set(seconds);
    }

    pub fn database_taken(&self, database: &str, built: UnixSeconds) {
        let labels = DatabaseLabels {
            database: database.to_owned(),
        };
        let families = &self.families;
        let built = built.0.into();
        families
            .database_build_time
            .get_or_create(&labels)
            .set(built);
    }

    /// `cause` is one of a refusal's fixed words.
    pub fn database_refused(&self, database: &str, cause: &'static str) {
        let labels = DatabaseRefusedLabels {
            database: database.to_owned(),
            cause,
        };
        self.families.database_refused.get_or_create(&labels).inc();
    }

    /// The database is not configured any more; what was counted of it stays.
    pub fn forget_database(&self, database: &str) {
        let labels = DatabaseLabels {
            database: database.to_owned(),
        };
        self.families.database_build_time.remove(&labels);
        self.families.database_max_age.remove(&labels);
    }

    /// Replaces the counts of decisions in the store; those not in `decisions` any more are not exported.
    pub fn set_decisions<'a>(&self, decisions: impl IntoIterator<Item = &'a Decision>) {
        let mut counts = DecisionCounts::new();
        for decision in decisions {
            let labels = DecisionLabels {
                origin: String::from(decision.origin.clone()),
                r#type: decision.kind.name(),
            };
            *counts.entry(labels).or_default() += 1;
        }
        self.replace_decisions(&self.stored, counts);
    }

    /// As [`Self::set_decisions`], for what sources decided.
    pub fn set_words(&self, words: &words::Counts) {
        let count = |((source, strength), count): (&(Arc<str>, Strength), &usize)| {
            let labels = DecisionLabels {
                origin: source.to_string(),
                r#type: strength.kind().name(),
            };
            (labels, i64::try_from(*count).unwrap_or(i64::MAX))
        };
        self.replace_decisions(&self.spoken, words.iter().map(count).collect());
    }

    fn replace_decisions(&self, before: &Mutex<DecisionCounts>, counts: DecisionCounts) {
        let mut before = before.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in before.keys().filter(|labels| !counts.contains_key(labels)) {
            self.families.decisions.remove(gone);
        }
        for (labels, count) in &counts {
            self.families.decisions.get_or_create(labels).set(*count);
        }
        *before = counts;
    }

    /// Replaces what was said of the modes that operators set; those that ended are not exported any more.
    pub fn set_modes<'a>(&self, modes: impl IntoIterator<Item = &'a ModeOverride>) {
        let overrides = &self.families.mode_overrides;
        overrides.clear();
        for order in modes {
            let scope = if order.route.is_some() {
                "route"
            } else {
                "all"
            };
            let mode = order.mode.name();
            overrides.get_or_create(&ModeLabels { mode, scope }).inc();
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

    /// The secret's value expires `at` so many seconds after 1970.
    pub fn secret_expiry(&self, secret: &str, at: i64) {
        let secret = secret.to_owned();
        self.families
            .secret_expiry
            .get_or_create(&SecretLabels { secret })
            .set(at);
    }

    /// The secret is not configured any more, or comes from elsewhere.
    pub fn forget_secret(&self, secret: &str) {
        let secret = secret.to_owned();
        self.families.secret_expiry.remove(&SecretLabels { secret });
    }

    /// A connection was ended at once: its address holds as many as it may.
    pub fn connection_refused(&self, listener: &'static str) {
        let labels = ListenerLabels { listener };
        self.families
            .connections_refused
            .get_or_create(&labels)
            .inc();
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

#[cfg(test)]
pub(super) mod tests;
