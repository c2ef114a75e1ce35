//! What is kept of a proxy's statistics: a few counters, and what its VMs say they hold.

use serde::Serialize;

use super::stats::Stats;

/// One counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    /// Requests to the listeners that serve clients.
    Requests,
    /// Of these, answered with a 5xx status.
    Errors,
    Allowed,
    Tagged,
    Throttled,
    Denied,
    /// In mode monitor: what would have been done to requests that passed.
    WouldTag,
    WouldThrottle,
    WouldDeny,
    /// Requests for which no verdict could be had.
    Failures,
    RefusedSnapshots,
    /// VMs of the plugin that ended and were replaced.
    VmReloads,
    /// VMs that ended and could not be replaced.
    VmFailures,
}

/// A number for each figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts([u64; Figure::ALL.len()]);

/// What a proxy's VMs hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Holds {
    pub vms: u64,
    pub snapshot_version_min: u64,
    /// In seconds since 1970; 0 if a VM has no snapshot.
    pub snapshot_built: u64,
}

const VERDICTS: &str = "portcullis_verdicts_total";
const FAILURES: &str = "portcullis_failures_total";
const REFUSED: &str = "portcullis_snapshot_refused_total";
const REQUESTS: &str = "envoy_http_downstream_rq_total";
const CLASSES: &str = "envoy_http_downstream_rq_xx";
const WASM: &str = "envoy_wasm_";

impl Figure {
    pub const ALL: [Self; 13] = [
        Self::Requests,
        Self::Errors,
        Self::Allowed,
        Self::Tagged,
        Self::Throttled,
        Self::Denied,
        Self::WouldTag,
        Self::WouldThrottle,
        Self::WouldDeny,
        Self::Failures,
        Self::RefusedSnapshots,
        Self::VmReloads,
        Self::VmFailures,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Errors => "errors",
            Self::Allowed => "allow",
            Self::Tagged => "tag",
            Self::Throttled => "throttle",
            Self::Denied => "deny",
            Self::WouldTag => "would_tag",
            Self::WouldThrottle => "would_throttle",
            Self::WouldDeny => "would_deny",
            Self::Failures => "failures",
            Self::RefusedSnapshots => "refused_snapshots",
            Self::VmReloads => "vm_reloads",
            Self::VmFailures => "vm_failures",
        }
    }

    fn read(self, stats: &Stats) -> u64 {
        let verdicts = |action, mode| stats.count(VERDICTS, &[("action", action), ("mode", mode)]);
        match self {
            Self::Requests => stats.at_the_edge(REQUESTS, &[]),
            Self::Errors => stats.at_the_edge(CLASSES, &[("envoy_response_code_class", "5")]),
            Self::Allowed => verdicts("allow", "enforce") + verdicts("allow", "monitor"),
            Self::Tagged => verdicts("tag", "enforce"),
            Self::Throttled => verdicts("throttle", "enforce"),
            Self::Denied => verdicts("deny", "enforce"),
            Self::WouldTag => verdicts("tag", "monitor"),
            Self::WouldThrottle => verdicts("throttle", "monitor"),
            Self::WouldDeny => verdicts("deny", "monitor"),
            Self::Failures => stats.count(FAILURES, &[]),
            Self::RefusedSnapshots => stats.count(REFUSED, &[]),
            Self::VmReloads => stats.sum_between(WASM, "_vm_reload_success"),
            Self::VmFailures => stats.sum_between(WASM, "_vm_reload_failure"),
        }
    }
}

impl Counts {
    pub fn read(stats: &Stats) -> Self {
        Self(Figure::ALL.map(|figure| figure.read(stats)))
    }

    pub fn get(&self, figure: Figure) -> u64 {
        let all = Figure::ALL.iter().zip(self.0);
        let mut found = all.filter(|(have, _)| **have == figure);
        found.next().map_or(0, |(_, count)| count)
    }

    /// What came since `before`. A counter that fell began anew with its process.
    pub fn since(&self, before: &Self) -> Self {
        let mut risen = *self;
        for (now, before) in risen.0.iter_mut().zip(before.0) {
            *now = now.checked_sub(before).unwrap_or(*now);
        }
        risen
    }

    pub fn add(&mut self, more: &Self) {
        for (sum, more) in self.0.iter_mut().zip(more.0) {
            *sum = sum.saturating_add(more);
        }
    }
}

impl Serialize for Counts {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Figure::ALL.iter().map(|figure| figure.name()).zip(self.0))
    }
}

impl Holds {
    pub fn read(stats: &Stats) -> Self {
        Self {
            vms: stats.count("portcullis_vms", &[]),
            snapshot_version_min: stats.count("portcullis_snapshot_version_min", &[]),
            snapshot_built: stats.count("portcullis_snapshot_built_timestamp_seconds", &[]),
        }
    }
}

/// Whether anything here is read from a metric of this name.
pub fn concerns(name: &str) -> bool {
    let ours = name.starts_with("portcullis_") && !name.contains("duration");
    let vm = name.starts_with(WASM) && name.contains("_vm_reload_");
    ours || vm || name == REQUESTS || name == CLASSES
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE x counter\n\
        envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix=\"edge\"} 100\n\
        envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix=\"stats\"} 9\n\
        envoy_http_downstream_rq_xx{envoy_response_code_class=\"5\",envoy_http_conn_manager_prefix=\"edge\"} 3\n\
        portcullis_verdicts_total{action=\"allow\",source=\"unlisted\",mode=\"monitor\"} 2\n\
        portcullis_verdicts_total{action=\"allow\",source=\"unlisted\",mode=\"enforce\"} 80\n\
        portcullis_verdicts_total{action=\"deny\",source=\"snapshot\",mode=\"enforce\"} 12\n\
        portcullis_verdicts_total{action=\"deny\",source=\"snapshot\",mode=\"monitor\"} 4\n\
        portcullis_verdicts_total{action=\"deny\",source=\"snapshot\",mode=\"shadow\"} 50\n\
        portcullis_failures_total{policy=\"open\",cause=\"timeout\"} 5\n\
        portcullis_vms{} 3\nportcullis_snapshot_version_min{} 7\n\
        envoy_wasm_portcullis_vm_reload_success{} 1\n";

    #[test]
    fn figures_are_summed_and_what_only_would_have_happened_stands_apart() {
        let stats = Stats::parse(TEXT);
        let counts = Counts::read(&stats);
        let expected = [
            (Figure::Requests, 100),
            (Figure::Errors, 3),
            (Figure::Allowed, 82),
            (Figure::Denied, 12),
            (Figure::WouldDeny, 4),
            (Figure::Failures, 5),
            (Figure::VmReloads, 1),
            (Figure::VmFailures, 0),
        ];
        for (figure, count) in expected {
            assert_eq!(counts.get(figure), count, "{}", figure.name());
        }
        let holds = Holds::read(&stats);
        assert_eq!((holds.vms, holds.snapshot_version_min), (3, 7));
    }

    #[test]
    fn everything_that_is_read_is_let_through() {
        let chosen = Stats::chosen(TEXT, concerns);
        assert_eq!(Counts::read(&chosen), Counts::read(&Stats::parse(TEXT)));
        assert_eq!(Holds::read(&chosen), Holds::read(&Stats::parse(TEXT)));
        assert!(!concerns("envoy_cluster_upstream_rq_total"));
    }

    #[test]
    fn a_counter_that_fell_began_anew() {
        let before = Counts::read(&Stats::parse("portcullis_failures_total{} 9"));
        let after = Counts::read(&Stats::parse("portcullis_failures_total{} 2"));
        assert_eq!(after.since(&before).get(Figure::Failures), 2);
        assert_eq!(before.since(&after).get(Figure::Failures), 7);
    }
}
