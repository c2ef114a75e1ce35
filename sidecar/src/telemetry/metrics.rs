//! Every metric of the sidecar: name, help, unit and labels in one place. No label ever holds an
//! address; each has as many values as there are feeds, providers or variants below.
//!
//! `prometheus-client` appends `_total` to counters and the unit to the name by itself.

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};
use reputation::decision::Origin;
use reputation::{Decision, DecisionKind, UnixSeconds};

/// The handle that everybody writes to, shared as `Arc<Metrics>`.
pub struct Metrics {
    registry: Registry,
    cache_requests: Family<CacheLabels, Counter>,
    provider_requests: Family<ProviderOutcomeLabels, Counter>,
    provider_duration: Durations<ProviderLabels>,
    provider_quota_limit: Family<ProviderLabels, Gauge>,
    provider_quota_remaining: Family<ProviderLabels, Gauge>,
    feed_entries: Family<FeedLabels, Gauge>,
    feed_last_success: Family<FeedLabels, Gauge>,
    feed_refused: Family<FeedRefusedLabels, Counter>,
    decisions: Family<DecisionLabels, Gauge>,
    config_reload_successful: Gauge,
    http_requests: Family<HttpLabels, Counter>,
    http_duration: Durations<RouteLabels>,
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

type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CacheLabels {
    layer: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProviderLabels {
    provider: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProviderOutcomeLabels {
    provider: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FeedLabels {
    feed: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FeedRefusedLabels {
    feed: String,
    cause: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionLabels {
    origin: String,
    r#type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HttpLabels {
    listener: &'static str,
    route: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    listener: &'static str,
    route: &'static str,
}

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("portcullis");
        let r = &mut registry;
        let seconds = || Some(Unit::Seconds);
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        r.register("build", "Which build of the sidecar runs", build);
        Self {
            cache_requests: add(
                r,
                "cache_requests",
                "Look-ups per cache layer and what came of them",
                None,
            ),
            provider_requests: add(
                r,
                "provider_requests",
                "Calls to providers and what came of them",
                None,
            ),
            provider_duration: add_durations(
                r,
                "provider_duration",
                "How long providers took to answer",
                Speed::Remote,
            ),
            provider_quota_limit: add(
                r,
                "provider_quota_limit",
                "Calls a day that a provider permits",
                None,
            ),
            provider_quota_remaining: add(r, "provider_quota_remaining", "Calls left today", None),
            feed_entries: add(r, "feed_entries", "Entries in force per feed", None),
            feed_last_success: add(
                r,
                "feed_last_success_timestamp",
                "When a feed was last read in full",
                seconds(),
            ),
            feed_refused: add(
                r,
                "feed_refused",
                "Versions of a feed that were not taken",
                None,
            ),
            decisions: add(r, "decisions", "Decisions in force", None),
            config_reload_successful: add(
                r,
                "config_last_reload_successful",
                "Whether the configuration last read was good",
                None,
            ),
            http_requests: add(
                r,
                "http_requests",
                "Requests served, per listener, route and status",
                None,
            ),
            http_duration: add_durations(
                r,
                "http_request_duration",
                "How long requests took, long polls included",
                Speed::Local,
            ),
            registry,
        }
    }

    pub fn cache_request(&self, layer: CacheLayer, result: CacheResult) {
        let (layer, result) = (layer.name(), result.name());
        self.cache_requests
            .get_or_create(&CacheLabels { layer, result })
            .inc();
    }

    /// `outcome` is one of a provider's fixed words, such as `ok`, `timeout` or `quota`.
    pub fn provider_request(&self, provider: &str, outcome: &'static str, took: Duration) {
        let labels = ProviderOutcomeLabels {
            provider: provider.to_owned(),
            outcome,
        };
        self.provider_requests.get_or_create(&labels).inc();
        let labels = ProviderLabels {
            provider: provider.to_owned(),
        };
        self.provider_duration
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }

    pub fn provider_quota(&self, provider: &str, limit: u32, remaining: u32) {
        let labels = ProviderLabels {
            provider: provider.to_owned(),
        };
        self.provider_quota_limit
            .get_or_create(&labels)
            .set(limit.into());
        self.provider_quota_remaining
            .get_or_create(&labels)
            .set(remaining.into());
    }

    pub fn feed_taken(&self, feed: &str, entries: usize, at: UnixSeconds) {
        let labels = FeedLabels {
            feed: feed.to_owned(),
        };
        let entries = i64::try_from(entries).unwrap_or(i64::MAX);
        self.feed_entries.get_or_create(&labels).set(entries);
        self.feed_last_success
            .get_or_create(&labels)
            .set(at.0.into());
    }

    /// A feed was read again and found unchanged.
    pub fn feed_unchanged(&self, feed: &str, at: UnixSeconds) {
        let labels = FeedLabels {
            feed: feed.to_owned(),
        };
        self.feed_last_success
            .get_or_create(&labels)
            .set(at.0.into());
    }

    /// `cause` is one of the guard's or the fetcher's fixed words.
    pub fn feed_refused(&self, feed: &str, cause: &'static str) {
        let labels = FeedRefusedLabels {
            feed: feed.to_owned(),
            cause,
        };
        self.feed_refused.get_or_create(&labels).inc();
    }

    /// Replaces the counts of decisions; those not in `decisions` any more go to zero.
    pub fn set_decisions<'a>(&self, decisions: impl IntoIterator<Item = &'a Decision>) {
        self.decisions.clear();
        for decision in decisions {
            let origin = match &decision.origin {
                Origin::Operator => "operator".to_owned(),
                Origin::Source(source) => source.clone(),
            };
            let labels = DecisionLabels {
                origin,
                r#type: kind_name(decision.kind),
            };
            self.decisions.get_or_create(&labels).inc();
        }
    }

    pub fn config_loaded(&self, good: bool) {
        self.config_reload_successful.set(good.into());
    }

    pub fn http_request(
        &self,
        listener: &'static str,
        route: &'static str,
        status: u16,
        took: Duration,
    ) {
        self.http_requests
            .get_or_create(&HttpLabels {
                listener,
                route,
                status,
            })
            .inc();
        let labels = RouteLabels { listener, route };
        self.http_duration
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

fn add<M>(registry: &mut Registry, name: &str, help: &str, unit: Option<Unit>) -> M
where
    M: Metric + EncodeMetric + Clone + Default,
{
    let metric = M::default();
    match unit {
        Some(unit) => registry.register_with_unit(name, help, unit, metric.clone()),
        None => registry.register(name, help, metric.clone()),
    }
    metric
}

fn add_durations<L>(registry: &mut Registry, name: &str, help: &str, speed: Speed) -> Durations<L>
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_the_public_contract_are_kept() {
        let metrics = Metrics::new();
        let provider = "abuseipdb";
        metrics.cache_request(CacheLayer::Memory, CacheResult::Hit);
        metrics.provider_request(provider, "ok", Duration::from_millis(3));
        metrics.provider_quota(provider, 1000, 999);
        metrics.feed_taken("ipsum", 7, UnixSeconds(1_800_000_000));
        metrics.feed_refused("ipsum", "shrunk");
        metrics.config_loaded(true);
        metrics.http_request("edge", "verdict", 200, Duration::from_micros(90));
        let text = metrics.encode().unwrap();
        for line in [
            "portcullis_build_info{version=\"0.1.0\"} 1",
            "portcullis_cache_requests_total{layer=\"memory\",result=\"hit\"} 1",
            "portcullis_provider_requests_total{provider=\"abuseipdb\",outcome=\"ok\"} 1",
            "portcullis_provider_duration_seconds_count{provider=\"abuseipdb\"} 1",
            "portcullis_provider_quota_limit{provider=\"abuseipdb\"} 1000",
            "portcullis_provider_quota_remaining{provider=\"abuseipdb\"} 999",
            "portcullis_feed_entries{feed=\"ipsum\"} 7",
            "portcullis_feed_last_success_timestamp_seconds{feed=\"ipsum\"} 1800000000",
            "portcullis_feed_refused_total{feed=\"ipsum\",cause=\"shrunk\"} 1",
            "portcullis_config_last_reload_successful 1",
            "portcullis_http_requests_total{listener=\"edge\",route=\"verdict\",status=\"200\"} 1",
            "portcullis_http_request_duration_seconds_count{listener=\"edge\",route=\"verdict\"} 1",
            "# UNIT portcullis_provider_duration_seconds seconds",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is not in\n{text}"
            );
        }
    }

    #[test]
    fn decisions_that_are_gone_are_not_counted_on() {
        let metrics = Metrics::new();
        let ban = Decision {
            id: reputation::DecisionId(1),
            cidr: "203.0.113.7".parse().unwrap(),
            kind: DecisionKind::Ban,
            origin: Origin::Operator,
            reason: String::new(),
            author: String::new(),
            created: UnixSeconds(1),
            expires: None,
        };
        metrics.set_decisions([&ban]);
        let line = "portcullis_decisions{origin=\"operator\",type=\"ban\"} 1";
        assert!(metrics.encode().unwrap().contains(line));
        metrics.set_decisions([]);
        assert!(!metrics.encode().unwrap().contains("portcullis_decisions{"));
    }
}
