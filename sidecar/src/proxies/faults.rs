//! Says what failed in a proxy's filter: a filter has no way to report it, and its VM may be gone.

use std::time::Duration;

use hyper::Uri;

use super::counts::{Counts, Figure};
use crate::telemetry::Sparing;

/// What is to be said of one proxy, and when it was last said.
pub struct Faults(Vec<Kind>);

struct Kind {
    figure: Figure,
    what: &'static str,
    /// Since it was last said.
    risen: u64,
    sparing: Sparing,
}

/// A filter that fails goes on failing: each kind is said at once, then now and then with the sum.
const PAUSE: Duration = Duration::from_secs(600);

impl Default for Faults {
    fn default() -> Self {
        let kind = |figure, what| Kind {
            figure,
            what,
            risen: 0,
            sparing: Sparing::once_in(PAUSE),
        };
        Self(vec![
            kind(
                Figure::VmReloads,
                "VMs of the filter ended and were replaced: the proxy's log has the trap",
            ),
            kind(
                Figure::VmFailures,
                "VMs of the filter ended and could not be replaced: the proxy's log says why",
            ),
            kind(
                Figure::Failures,
                "requests had no verdict: the proxy does not get answers from here",
            ),
            kind(
                Figure::RefusedSnapshots,
                "snapshots were refused: the proxy's log says why",
            ),
        ])
    }
}

impl Faults {
    /// Errors in the log for what has `risen`.
    pub fn tell(&mut self, proxy: &Uri, risen: &Counts) {
        for kind in &mut self.0 {
            kind.risen = kind.risen.saturating_add(risen.get(kind.figure));
            if kind.risen > 0 && kind.sparing.is_due() {
                let fault = kind.figure.name();
                tracing::error!(%proxy, fault, number = kind.risen, "{}", kind.what);
                kind.risen = 0;
            }
        }
    }
}
