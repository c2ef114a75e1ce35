//! One look-up as a callout: the question, how long it may take, and what an answer must be to count.
//!
//! Keeps nothing: who waits for it and what becomes of them is `lookups`'.

use reputation::{ClientAddress, Verdict};

use crate::config::Config;
use crate::host::{AnswerSize, Call, Host, Token};
use crate::metrics::FailureCause;
use crate::neighbour;
use crate::refuse::request_id;

/// How long a look-up that nobody waits for may take, and how long the sidecar may think about it.
const PASS_TIMEOUT_MS: u32 = 250;
const PASS_WAIT_MS: u32 = 150;
/// How much longer than `hold_ms` the callout itself lives: its timeout is the timer of those it holds.
const HOLD_MARGIN_MS: u32 = 2;
const MAX_ANSWER_BYTES: usize = 8 * 1024;
/// The length of a `traceparent` in the first version of W3C Trace Context.
const TRACEPARENT_BYTES: usize = 55;

/// Sends the question about `address`, with the ids of the request that it is asked for.
pub fn dispatch<H: Host>(
    host: &H,
    config: &Config,
    address: ClientAddress,
    hold_ms: Option<u32>,
) -> Option<Token> {
    // Of a held request's time the way there and back is left.
    let wait_ms = hold_ms.map_or(PASS_WAIT_MS, |ms| (ms * 4 / 5).max(1));
    let id = |value: &[u8]| request_id(value).map(str::to_owned);
    let request_id = host.request_header("x-request-id", id).flatten();
    let trace = |value: &[u8]| traceparent(value).map(str::to_owned);
    let traceparent = host.request_header("traceparent", trace).flatten();
    let prefix = config.ipv6_prefix;
    let call = Call {
        cluster: &config.sidecar.cluster,
        authority: &config.sidecar.authority,
        path: &format!("/v1/verdict/{address}?wait_ms={wait_ms}&prefix={prefix}"),
        body: None,
        request_id: request_id.as_deref(),
        traceparent: traceparent.as_deref(),
        timeout_ms: timeout_ms(hold_ms),
    };
    match host.call(&call) {
        Ok(token) => Some(token),
        Err(error) => {
            log::debug!("look-up on cluster {}: {error}", call.cluster);
            None
        }
    }
}

/// Reads an answer. Without headers there was none (a reset), and nothing of it may be touched.
pub fn read<H: Host>(
    host: &H,
    size: AnswerSize,
    address: ClientAddress,
) -> Result<Verdict, FailureCause> {
    if size.headers == 0 {
        return Err(FailureCause::Unavailable);
    }
    let status = host.answer_header(":status").unwrap_or_default();
    neighbour::check(host, &status).map_err(|_| FailureCause::Wire)?;
    match status.as_slice() {
        b"200" => {}
        b"504" => return Err(FailureCause::Timeout),
        [b'5', ..] => return Err(FailureCause::Unavailable),
        _ => return Err(FailureCause::Rubbish),
    }
    if size.body > MAX_ANSWER_BYTES {
        return Err(FailureCause::Rubbish);
    }
    let body = host.answer_body(MAX_ANSWER_BYTES);
    let verdict = Verdict::parse(&body).map_err(|_| FailureCause::Rubbish)?;
    // A verdict on somebody else, or a score that is none, is no answer to what was asked.
    let fits = verdict.scope.contains(address) && verdict.score <= 100;
    fits.then_some(verdict).ok_or(FailureCause::Rubbish)
}

/// When the callout that is sent `now` has ended in any case.
pub fn deadline(now: u64, hold_ms: Option<u32>) -> u64 {
    now.saturating_add(u64::from(timeout_ms(hold_ms)) * 1_000)
}

/// How long the callout of a look-up may take.
fn timeout_ms(hold_ms: Option<u32>) -> u32 {
    hold_ms.map_or(PASS_TIMEOUT_MS, |ms| ms.saturating_add(HOLD_MARGIN_MS))
}

/// A trace's ids, if the header's value is fit to be repeated; the sidecar reads it more closely.
fn traceparent(value: &[u8]) -> Option<&str> {
    let fits = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f' | b'-');
    let fit = value.len() == TRACEPARENT_BYTES && value.iter().all(fits);
    std::str::from_utf8(value).ok().filter(|_| fit)
}
