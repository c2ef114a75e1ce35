//! How fast the sidecar answers about a known address, against a bare hyper server with an answer of the
//! same length.

use super::contest::{Length, rounds};
use super::load::Wrk;
use super::report::Report;
use super::stage::Servers;
use super::statistics::Median;
use crate::error::Error;

pub fn measure(
    wrk: &Wrk,
    stage: &Servers,
    length: Length,
    report: &mut Report,
) -> Result<(), Error> {
    let urls = stage.urls();
    let rounds = rounds(["bare", "sidecar"], length, |at| match urls.get(at) {
        Some(url) => wrk.throughput(url),
        None => Err(Error::Said("there is no such server".to_owned())),
    })?;
    let over = |of: fn(f64, f64) -> f64| {
        Median::of(rounds.iter().map(|&[bare, ours]| of(bare, ours)).collect())
    };
    report.micros("bare_hyper_answers_in", over(|bare, _| bare / 1000.0));
    report.micros("sidecar_answers_in", over(|_, ours| ours / 1000.0));
    report.ratio(
        "sidecar_over_bare_hyper",
        over(|bare, ours| bare / ours),
        "our throughput for a known key, over that of a bare hyper server",
    );
    Ok(())
}
