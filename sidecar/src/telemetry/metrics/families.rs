//! Every metric of the sidecar: name, help, unit and labels in one place. No label ever holds an
//! address; each has as many values as there are feeds, providers or fixed words.
//!
//! `prometheus-client` appends `_total` to counters and the unit to the name by itself.

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

pub struct Families {
    pub cache_requests: Family<CacheLabels, Counter>,
    pub provider_requests: Family<ProviderOutcomeLabels, Counter>,
    pub provider_skipped: Family<ProviderReasonLabels, Counter>,
    pub shadow_answers: Family<ShadowLabels, Counter>,
    pub provider_duration: Durations<ProviderLabels>,
    pub provider_quota_limit: Family<ProviderLabels, Gauge>,
    pub provider_quota_remaining: Family<ProviderLabels, Gauge>,
    pub feed_entries: Family<FeedLabels, Gauge>,
    pub feed_last_success: Family<FeedLabels, Gauge>,
    pub feed_refresh: Family<FeedLabels, Gauge>,
    pub feed_refused: Family<FeedRefusedLabels, Counter>,
    pub database_build_time: Family<DatabaseLabels, Gauge>,
    pub database_max_age: Family<DatabaseLabels, Gauge>,
    pub database_refused: Family<DatabaseRefusedLabels, Counter>,
    pub decisions: Family<DecisionLabels, Gauge>,
    pub mode_overrides: Family<ModeLabels, Gauge>,
    pub canary_last_success: Family<NoLabels, Gauge>,
    pub canary_interval: Family<NoLabels, Gauge>,
    pub canary_state: Family<StateLabels, Gauge>,
    pub store_up: Gauge,
    pub store_concern: Family<ConcernLabels, Gauge>,
    pub history_up: Family<NoLabels, Gauge>,
    pub history_last_success: Family<NoLabels, Gauge>,
    pub history_queue: Family<NoLabels, Gauge>,
    pub history_written: Family<HistoryWrittenLabels, Counter>,
    pub history_dropped: Family<HistoryLossLabels, Counter>,
    pub config_reload_successful: Gauge,
    pub config_reload_time: Gauge,
    pub secret_expiry: Family<SecretLabels, Gauge>,
    pub log_errors: Counter,
    pub edge_questions: Family<WireLabels, Counter>,
    pub connections_refused: Family<ListenerLabels, Counter>,
    pub http_requests: Family<HttpLabels, Counter>,
    pub http_duration: Durations<RouteLabels>,
}

/// Of what is one number, and not exported before it is known.
pub type NoLabels = [(&'static str, &'static str); 0];

pub type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CacheLabels {
    pub layer: &'static str,
    pub result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ProviderLabels {
    pub provider: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ProviderOutcomeLabels {
    pub provider: String,
    pub outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ProviderReasonLabels {
    pub provider: String,
    pub reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ShadowLabels {
    pub source: String,
    pub action: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FeedLabels {
    pub feed: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FeedRefusedLabels {
    pub feed: String,
    pub cause: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DatabaseLabels {
    pub database: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DatabaseRefusedLabels {
    pub database: String,
    pub cause: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DecisionLabels {
    pub origin: String,
    pub r#type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ModeLabels {
    pub mode: &'static str,
    pub scope: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StateLabels {
    pub state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ConcernLabels {
    pub concern: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HistoryWrittenLabels {
    pub kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HistoryLossLabels {
    pub cause: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SecretLabels {
    pub secret: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WireLabels {
    pub wire: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ListenerLabels {
    pub listener: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HttpLabels {
    pub listener: &'static str,
    pub route: &'static str,
    pub status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RouteLabels {
    pub listener: &'static str,
    pub route: &'static str,
}

impl Families {
    pub fn register(registry: &mut Registry) -> Self {
        let r = registry;
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        r.register("build", "Which build of the sidecar runs", build);
        let provider_seconds = "How long providers took to answer";
        let feed_time = "When a feed was last read in full";
        let feed_refresh = "How often a feed is looked at";
        let build_time = "When the database in force was built";
        let max_age = "From which age on a database is out of date";
        let not_taken = "Database files that were not taken";
        let canary_time = "When the canary was last refused at the edge, or noted there";
        let history_time = "When the history's database last took or answered something";
        let reload = "Whether the configuration last read was good";
        let reload_time = "When a good configuration was last read";
        let expiry = "When a secret expires, or should be replaced for its age";
        let http_seconds = "How long requests took, long polls included";
        Self {
            cache_requests: add(r, "cache_requests", "Look-ups per layer and result"),
            provider_requests: add(
                r,
                "provider_requests",
                "Calls to providers and their outcome",
            ),
            shadow_answers: add(
                r,
                "shadow_answers",
                "Answers that would be others if every source had a say",
            ),
            provider_skipped: add(r, "provider_skipped", "Addresses not asked about, and why"),
            provider_duration: timed(r, "provider_duration", provider_seconds, Speed::Remote),
            provider_quota_limit: add(r, "provider_quota_limit", "Calls permitted a day"),
            provider_quota_remaining: add(r, "provider_quota_remaining", "Calls left today"),
            feed_entries: add(r, "feed_entries", "Entries in force per feed"),
            feed_last_success: seconds(r, "feed_last_success_timestamp", feed_time),
            feed_refresh: seconds(r, "feed_refresh", feed_refresh),
            feed_refused: add(r, "feed_refused", "Versions of a feed that were not taken"),
            database_build_time: seconds(r, "database_build_timestamp", build_time),
            database_max_age: seconds(r, "database_max_age", max_age),
            database_refused: add(r, "database_refused", not_taken),
            decisions: add(r, "decisions", "Decisions in force"),
            mode_overrides: add(r, "mode_overrides", "Modes that operators set, in force"),
            canary_last_success: seconds(r, "canary_last_success_timestamp", canary_time),
            canary_interval: seconds(r, "canary_interval", "How often the canary is sent"),
            canary_state: add(r, "canary_state", "What became of the last canary"),
            store_up: add(r, "store_up", "Whether the store works"),
            store_concern: add(r, "store_concern", "What may cost decisions"),
            history_up: add(
                r,
                "history_up",
                "Whether the history's database takes what is recorded",
            ),
            history_last_success: seconds(r, "history_last_success_timestamp", history_time),
            history_queue: add(r, "history_queue", "Entries that wait to be recorded"),
            history_written: add(r, "history_written", "Entries that were recorded"),
            history_dropped: add(r, "history_dropped", "Entries that were lost, and why"),
            config_reload_successful: add(r, "config_last_reload_successful", reload),
            config_reload_time: seconds(r, "config_last_reload_timestamp", reload_time),
            secret_expiry: seconds(r, "secret_expiry_timestamp", expiry),
            log_errors: add(r, "log_errors", "Lines at level error in the log"),
            edge_questions: add(
                r,
                "edge_questions",
                "Questions of filters, by how far their version is from ours",
            ),
            connections_refused: add(
                r,
                "connections_refused",
                "Connections for which their address had no place left",
            ),
            http_requests: add(
                r,
                "http_requests",
                "Requests per listener, route and status",
            ),
            http_duration: timed(r, "http_request_duration", http_seconds, Speed::Local),
        }
    }
}

fn add<M>(registry: &mut Registry, name: &str, help: &str) -> M
where
    M: Metric + EncodeMetric + Clone + Default,
{
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

fn seconds<M>(registry: &mut Registry, name: &str, help: &str) -> M
where
    M: Metric + EncodeMetric + Clone + Default,
{
    let metric = M::default();
    registry.register_with_unit(name, help, Unit::Seconds, metric.clone());
    metric
}

fn timed<L>(registry: &mut Registry, name: &str, help: &str, speed: Speed) -> Durations<L>
where
    L: EncodeLabelSet + std::hash::Hash + Eq + Clone + std::fmt::Debug + Send + Sync + 'static,
{
    let make: fn() -> Histogram = match speed {
        Speed::Local => || Histogram::new(exponential_buckets(0.0001, 4.0, 10)),
        Speed::Remote => || Histogram::new(exponential_buckets(0.005, 2.0, 10)),
    };
    let metric = Family::new_with_constructor(make);
    registry.register_with_unit(name, help, Unit::Seconds, metric.clone());
    metric
}

/// Which range of durations a histogram resolves.
enum Speed {
    /// From 0.1 ms to 26 s.
    Local,
    /// From 5 ms to 2.6 s.
    Remote,
}
