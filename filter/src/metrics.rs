//! The plugin's metrics: every family, its labels and its names, in one place.
//!
//! Labels stand in the name between dots, so that `stats_tags` can cut them out. Counters are summed in
//! the VM and handed over on the tick: a host call per request would cost more than the decision.
//! Metrics are process-wide in Envoy: all VMs add to one counter, and of a gauge the last writer's value
//! stays, so gauges hold only what every VM would say alike.

use reputation::Action;
use reputation::mode::Mode;

use crate::client::AddressKind;
use crate::config::Failure;
use crate::host::{Host, MetricId, MetricKind};
use crate::verdict::Source;

/// How a look-up ended, or why there was none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookupOutcome {
    Ok,
    /// An answer while a provider is still being asked.
    Provisional,
    Timeout,
    Unavailable,
    Rubbish,
    /// Answered in a version of the wire that this build does not read.
    Wire,
    /// Too many look-ups under way: not asked.
    Limited,
    /// Too many requests held: asked, but this one did not wait.
    Unheld,
}

/// Why a verdict could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureCause {
    /// The client has no address, as the peer of a Unix socket.
    Address,
    Timeout,
    Unavailable,
    Rubbish,
    /// The sidecar speaks a version of the wire that this build does not read.
    Wire,
    /// The sidecar failed too often: it is not being asked.
    Breaker,
}

/// Why a snapshot was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Malformed,
    /// It is told in a version of the wire, or has a form, that this build does not read.
    Wire,
    Parts,
    Digest,
    /// Not newer than what is there.
    Older,
    /// Past its `valid_until`.
    Expired,
    /// An image in a format that this build does not read.
    Format,
    /// An image that is not one, or is out of order.
    Image,
    /// The overlay is not for this base.
    Base,
    /// Other VMs were trying it when they ended.
    Poison,
}

/// All counters and gauges of one VM.
pub struct Metrics {
    verdicts: Vec<Counter>,
    lookups: Vec<Counter>,
    failures: Vec<Counter>,
    addresses: Vec<Counter>,
    refusals: Vec<Counter>,
    duration: Lazy,
    version_min: Lazy,
    built: Lazy,
    vms: Lazy,
}

/// What the gauges say: of all VMs that were alive lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fleet {
    pub vms: u64,
    pub version_min: u64,
    pub built_min: u64,
}

struct Counter {
    pending: u64,
    metric: Lazy,
}

/// A metric that is defined when it is first needed: what never happens takes no place in Envoy.
struct Lazy {
    name: String,
    kind: MetricKind,
    id: Option<MetricId>,
}

/// Under what a verdict can be counted; the mode `off` counts nothing.
const MODES: [&str; 3] = ["enforce", "monitor", "shadow"];
const SHADOW: usize = 2;

impl Metrics {
    pub fn new() -> Self {
        let named = |family: &'static str, names: Vec<&'static str>| {
            let names = names.into_iter();
            names
                .map(|name| Counter::new(format!("{family}.{name}")))
                .collect()
        };
        let outcomes = LookupOutcome::ALL.iter().map(|outcome| outcome.name());
        let kinds = AddressKind::ALL.iter().map(|kind| kind.name());
        let causes = Refusal::ALL.iter().map(|cause| cause.name());
        let gauge = |name| Lazy::new(name, MetricKind::Gauge);
        Self {
            verdicts: verdicts().collect(),
            failures: failures().collect(),
            lookups: named("portcullis_lookups_total.outcome", outcomes.collect()),
            addresses: named("portcullis_client_addresses_total.kind", kinds.collect()),
            refusals: named("portcullis_snapshot_refused_total.cause", causes.collect()),
            duration: Lazy::new(
                "portcullis_lookup_duration_microseconds",
                MetricKind::Histogram,
            ),
            version_min: gauge("portcullis_snapshot_version_min"),
            built: gauge("portcullis_snapshot_built_timestamp_seconds"),
            vms: gauge("portcullis_vms"),
        }
    }

    pub fn verdict(&mut self, action: Action, source: Source, mode: Mode) {
        self.count_verdict(action, source, usize::from(mode != Mode::Enforce));
    }

    /// What would have been done beside what was.
    pub fn shadow(&mut self, action: Action, source: Source) {
        self.count_verdict(action, source, SHADOW);
    }

    fn count_verdict(&mut self, action: Action, source: Source, mode: usize) {
        let row = action as usize * Source::ALL.len() + source as usize;
        count(&mut self.verdicts, row * MODES.len() + mode);
    }

    pub fn lookup(&mut self, outcome: LookupOutcome) {
        count(&mut self.lookups, outcome as usize);
    }

    pub fn failure(&mut self, policy: Failure, cause: FailureCause) {
        let index = policy as usize * FailureCause::ALL.len() + cause as usize;
        count(&mut self.failures, index);
    }

    pub fn address(&mut self, kind: AddressKind) {
        count(&mut self.addresses, kind as usize);
    }

    pub fn refused(&mut self, cause: Refusal) {
        count(&mut self.refusals, cause as usize);
    }

    pub fn lookup_took<H: Host>(&mut self, host: &H, micros: u64) {
        self.duration.record(host, micros);
    }

    pub fn fleet<H: Host>(&mut self, host: &H, fleet: Fleet) {
        self.vms.record(host, fleet.vms);
        self.version_min.record(host, fleet.version_min);
        self.built.record(host, fleet.built_min);
    }

    /// Hands what was counted since the last call to Envoy.
    pub fn flush<H: Host>(&mut self, host: &H) {
        let families = [
            &mut self.verdicts,
            &mut self.lookups,
            &mut self.failures,
            &mut self.addresses,
            &mut self.refusals,
        ];
        for counter in families.into_iter().flatten() {
            counter.flush(host);
        }
    }
}

/// In the order in which [`Metrics::verdict`] counts them.
fn verdicts() -> impl Iterator<Item = Counter> {
    let actions = Action::ALL.iter();
    actions.flat_map(|action| {
        Source::ALL.iter().flat_map(move |source| {
            MODES.iter().map(move |mode| {
                let (action, source) = (action.name(), source.name());
                Counter::new(format!(
                    "portcullis_verdicts_total.action.{action}.source.{source}.mode.{mode}"
                ))
            })
        })
    })
}

/// In the order in which [`Metrics::failure`] counts them.
fn failures() -> impl Iterator<Item = Counter> {
    Failure::ALL.iter().flat_map(|policy| {
        FailureCause::ALL.iter().map(move |cause| {
            let (policy, cause) = (policy.name(), cause.name());
            Counter::new(format!(
                "portcullis_failures_total.policy.{policy}.cause.{cause}"
            ))
        })
    })
}

fn count(family: &mut [Counter], index: usize) {
    if let Some(counter) = family.get_mut(index) {
        counter.pending = counter.pending.saturating_add(1);
    }
}

impl Counter {
    fn new(name: String) -> Self {
        Self {
            pending: 0,
            metric: Lazy {
                name,
                kind: MetricKind::Counter,
                id: None,
            },
        }
    }

    fn flush<H: Host>(&mut self, host: &H) {
        if self.pending == 0 {
            return;
        }
        if let Some(id) = self.metric.id(host) {
            host.add(id, self.pending);
        }
        self.pending = 0;
    }
}

impl Lazy {
    fn new(name: &str, kind: MetricKind) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            id: None,
        }
    }

    fn id<H: Host>(&mut self, host: &H) -> Option<MetricId> {
        if self.id.is_none() {
            self.id = host.define_metric(self.kind, &self.name);
        }
        self.id
    }

    fn record<H: Host>(&mut self, host: &H, value: u64) {
        if let Some(id) = self.id(host) {
            host.record(id, value);
        }
    }
}

impl LookupOutcome {
    pub const ALL: [Self; 8] = [
        Self::Ok,
        Self::Provisional,
        Self::Timeout,
        Self::Unavailable,
        Self::Rubbish,
        Self::Wire,
        Self::Limited,
        Self::Unheld,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Provisional => "provisional",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::Rubbish => "rubbish",
            Self::Wire => "wire",
            Self::Limited => "limited",
            Self::Unheld => "unheld",
        }
    }
}

impl FailureCause {
    pub const ALL: [Self; 6] = [
        Self::Address,
        Self::Timeout,
        Self::Unavailable,
        Self::Rubbish,
        Self::Wire,
        Self::Breaker,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::Rubbish => "rubbish",
            Self::Wire => "wire",
            Self::Breaker => "breaker",
        }
    }
}

impl Refusal {
    pub const ALL: [Self; 10] = [
        Self::Malformed,
        Self::Wire,
        Self::Parts,
        Self::Digest,
        Self::Older,
        Self::Expired,
        Self::Format,
        Self::Image,
        Self::Base,
        Self::Poison,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Wire => "wire",
            Self::Parts => "parts",
            Self::Digest => "digest",
            Self::Older => "older",
            Self::Expired => "expired",
            Self::Format => "format",
            Self::Image => "image",
            Self::Base => "base",
            Self::Poison => "poison",
        }
    }
}

#[cfg(test)]
mod docs_test;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MockHost;

    #[test]
    fn each_label_set_has_its_documented_name() {
        let host = MockHost::default();
        let mut metrics = Metrics::new();
        metrics.verdict(Action::Deny, Source::Snapshot, Mode::Enforce);
        metrics.verdict(Action::Deny, Source::Snapshot, Mode::Enforce);
        metrics.verdict(Action::Allow, Source::Unknown, Mode::Monitor);
        metrics.lookup(LookupOutcome::Unheld);
        metrics.failure(Failure::Closed, FailureCause::Breaker);
        metrics.address(AddressKind::Missing);
        metrics.refused(Refusal::Poison);
        metrics.flush(&host);
        for (name, value) in [
            (
                "portcullis_verdicts_total.action.deny.source.snapshot.mode.enforce",
                2,
            ),
            (
                "portcullis_verdicts_total.action.allow.source.unknown.mode.monitor",
                1,
            ),
            ("portcullis_lookups_total.outcome.unheld", 1),
            ("portcullis_failures_total.policy.closed.cause.breaker", 1),
            ("portcullis_client_addresses_total.kind.missing", 1),
            ("portcullis_snapshot_refused_total.cause.poison", 1),
        ] {
            assert_eq!(host.metric(name), value, "{name}");
        }
        metrics.flush(&host);
        let deny = "portcullis_verdicts_total.action.deny.source.snapshot.mode.enforce";
        assert_eq!(host.metric(deny), 2, "nothing is counted twice");
    }

    #[test]
    fn variants_stand_in_the_order_of_their_numbers() {
        let in_order = |numbers: Vec<usize>| numbers.iter().enumerate().all(|(i, n)| i == *n);
        assert!(in_order(Source::ALL.iter().map(|v| *v as usize).collect()));
        assert!(in_order(
            LookupOutcome::ALL.iter().map(|v| *v as usize).collect()
        ));
        assert!(in_order(
            FailureCause::ALL.iter().map(|v| *v as usize).collect()
        ));
        assert!(in_order(Refusal::ALL.iter().map(|v| *v as usize).collect()));
        assert!(in_order(Failure::ALL.iter().map(|v| *v as usize).collect()));
        assert!(in_order(
            AddressKind::ALL.iter().map(|v| *v as usize).collect()
        ));
    }
}
