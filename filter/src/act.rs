//! Acts on a conclusion: allow, tag, throttle, deny; or, in monitor, says what would have happened.
//!
//! A clean verdict writes nothing. Any other sets the stream's filter state, which Envoy's access log
//! reads as `%FILTER_STATE(wasm.NAME:PLAIN)%`:
//!
//! | name | value |
//! | --- | --- |
//! | `portcullis_verdict` | the action, in monitor `would_` and the action; `unavailable` for a failure of ours |
//! | `portcullis_reason` | the source or rule that weighed most |
//! | `portcullis_score` | 0 to 100 |
//! | `portcullis_decision` | the decision's id, as a refused client sees it |
//! | `portcullis_source` | how the filter knew: `snapshot`, `cache`, `lookup` |
//! | `portcullis_client` | the client's address; for refusals and throttling, also in monitor |
//! | `portcullis_left_out` | how many such requests were not logged since the last that was |
//!
//! In a flood some are not to be logged, refused or not: they have the request header `x-portcullis-unlogged` instead.

use reputation::mode::Mode;
use reputation::{Action, ClientAddress, DecisionId};

use crate::cache::visible;
use crate::config::{Config, Failure, Policy, UpstreamHeaders};
use crate::host::{Flow, Host};
use crate::metrics::FailureCause;
use crate::refuse::{self, Refusal};
use crate::tally::{Hindered, Tally};
use crate::turn::Turn;
use crate::verdict::{Judgement, Source};

/// Carries out `judgement` on the current stream, and notes in `tally` whom it hinders. `Pause` means that
/// the stream has been answered.
pub fn act<H: Host>(
    turn: &mut Turn<'_, H>,
    config: &Config,
    tally: &mut Tally,
    mode: Mode,
    client: ClientAddress,
    judgement: &Judgement<'_>,
) -> Flow {
    turn.metrics
        .verdict(judgement.action, judgement.source, mode);
    if let Some(action) = judgement.shadow {
        turn.metrics.shadow(action, judgement.source);
    }
    if judgement.is_clean() {
        return Flow::Continue;
    }
    let decision = judgement
        .decision
        .unwrap_or_else(|| DecisionId::for_listing(judgement.reason, client));
    let reason = visible(judgement.reason);
    let refuses = mode == Mode::Enforce && judgement.action == Action::Deny;
    if judgement.hinders() {
        let request = Hindered {
            client,
            action: judgement.action,
            mode,
            reason: &reason,
            decision,
        };
        tally.note(&request, turn.uptime);
    }
    if is_logged(turn, config) {
        tell_the_log(turn.host, mode, client, judgement, &reason, decision);
    }
    if mode != Mode::Enforce {
        return Flow::Continue;
    }
    if refuses {
        refuse::send(turn.host, &config.deny, Refusal::Denied(decision));
        return Flow::Pause;
    }
    if judgement.action == Action::Throttle {
        turn.host.set_request_header("x-portcullis-throttle", "1");
    }
    if config.upstream_headers == UpstreamHeaders::Flagged {
        tell_the_upstream(turn.host, judgement, &reason);
    }
    Flow::Continue
}

/// Follows `failure`, because a verdict could not be had.
pub fn fail<H: Host>(
    turn: &mut Turn<'_, H>,
    config: &Config,
    policy: Policy,
    client: Option<ClientAddress>,
    cause: FailureCause,
) -> Flow {
    turn.metrics.failure(policy.failure, cause);
    if policy.failure == Failure::Closed && policy.mode == Mode::Enforce {
        if is_logged(turn, config) {
            turn.host.set_state("portcullis_verdict", "unavailable");
            turn.host.set_state("portcullis_reason", cause.name());
            let client = client.map(|client| client.to_string());
            client.inspect(|client| turn.host.set_state("portcullis_client", client));
        }
        refuse::send(turn.host, &config.deny, Refusal::Unavailable);
        return Flow::Pause;
    }
    pass(turn, Source::Unknown, policy.mode)
}

/// Lets a request pass against whose client nothing is held.
pub fn pass<H: Host>(turn: &mut Turn<'_, H>, source: Source, mode: Mode) -> Flow {
    turn.metrics.verdict(Action::Allow, source, mode);
    Flow::Continue
}

/// Whether the current request, which is not clean, gets a line in the access log.
fn is_logged<H: Host>(turn: &mut Turn<'_, H>, config: &Config) -> bool {
    match turn.logged.next(turn.uptime, config.limits.logged) {
        Some(0) => true,
        Some(left_out) => {
            turn.host
                .set_state("portcullis_left_out", &left_out.to_string());
            true
        }
        None => {
            turn.host.set_request_header("x-portcullis-unlogged", "1");
            false
        }
    }
}

fn tell_the_log<H: Host>(
    host: &H,
    mode: Mode,
    client: ClientAddress,
    judgement: &Judgement<'_>,
    reason: &str,
    decision: DecisionId,
) {
    let action = judgement.action.name();
    if mode == Mode::Enforce {
        host.set_state("portcullis_verdict", action);
    } else {
        host.set_state("portcullis_verdict", &format!("would_{action}"));
    }
    host.set_state("portcullis_reason", reason);
    host.set_state("portcullis_score", &judgement.score.to_string());
    host.set_state("portcullis_decision", &decision.to_string());
    host.set_state("portcullis_source", judgement.source.name());
    if judgement.hinders() {
        host.set_state("portcullis_client", &client.to_string());
    }
}

fn tell_the_upstream<H: Host>(host: &H, judgement: &Judgement<'_>, reason: &str) {
    host.set_request_header("x-portcullis-action", judgement.action.name());
    host.set_request_header("x-portcullis-band", judgement.band.name());
    host.set_request_header("x-portcullis-score", &judgement.score.to_string());
    host.set_request_header("x-portcullis-reason", reason);
}
