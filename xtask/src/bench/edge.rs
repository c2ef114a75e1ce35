//! What the plugin adds to a request of a known clean client: against the stock no-op, against asking an
//! authorisation server, and with few or many entries loaded. Counted is the CPU time of the Envoy
//! process; the authorisation server's own is left out.

use super::contest::{Length, Round, rounds};
use super::load::Wrk;
use super::report::Report;
use super::stage::{EDGES, Edges};
use super::statistics::Median;
use crate::error::Error;

pub fn measure(wrk: &Wrk, stage: &Edges, length: Length, report: &mut Report) -> Result<(), Error> {
    let edges = stage.all();
    let rounds = rounds(EDGES, length, |at| match edges.get(at) {
        Some(envoy) => wrk.envoy(envoy),
        None => Err(Error::Said("there is no such Envoy".to_owned())),
    })?;
    let added =
        |of: fn(&Added) -> f64| Median::of(rounds.iter().map(|it| of(&added(it))).collect());
    report.micros(
        "no_filter",
        Median::of(rounds.iter().map(|it| it[0] / 1000.0).collect()),
    );
    report.micros("noop_adds", added(|it| it.noop / 1000.0));
    report.micros("portcullis_adds", added(|it| it.ours / 1000.0));
    report.micros("ext_authz_adds", added(|it| it.ext_authz / 1000.0));
    report.micros("log_adds", added(|it| it.log / 1000.0));
    report.ratio(
        "known_over_noop",
        added(|it| it.ours / it.noop),
        "what we add, over what a stock no-op filter adds",
    );
    report.ratio(
        "known_over_ext_authz",
        added(|it| it.ours / it.ext_authz),
        "what we add, over what asking an authorisation server adds",
    );
    report.ratio(
        "known_5m_over_10k",
        added(|it| it.large / it.small),
        "what we add with 5,000,000 addresses loaded, over 10,000",
    );
    Ok(())
}

/// Nanoseconds that each adds to a request without a filter.
struct Added {
    noop: f64,
    ext_authz: f64,
    ours: f64,
    small: f64,
    large: f64,
    /// Of ours, what the access log costs.
    log: f64,
}

fn added(round: &Round<7>) -> Added {
    let [none, noop, ext_authz, ours, small, large, silent] = *round;
    Added {
        noop: noop - none,
        ext_authz: ext_authz - none,
        ours: ours - none,
        small: small - none,
        large: large - none,
        log: ours - silent,
    }
}
