//! Whether somebody watches: metrics fetched, errors counted, the configuration taken over.

use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::{Check, Finding, count};
use crate::patrol::CanaryState;

/// Prometheus comes every minute or oftener.
const SCRAPED_WITHIN: Duration = Duration::from_secs(300);

#[derive(Debug, Clone)]
pub struct ConfigFacts {
    pub path: String,
    /// Why the file as it is now is not in force.
    pub fault: Option<String>,
    /// Keys that changed and wait for a restart.
    pub needs_restart: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
pub struct LogFacts {
    pub level: LevelFilter,
    /// Lines at level error since the start.
    pub errors: u64,
    pub tracking: Tracking,
}

/// Whether errors are sent to anybody, as far as the configuration says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracking {
    Sentry,
    Nobody,
}

pub fn config(config: &ConfigFacts) -> Finding {
    let check = Check::SidecarConfig;
    let path = &config.path;
    if let Some(fault) = &config.fault {
        let seen = format!("{path} is not in force: {fault}");
        let remedy = format!("mend it, and see: portcullis check-config {path}");
        return Finding::failing(check, seen, remedy);
    }
    if !config.needs_restart.is_empty() {
        let seen = format!(
            "changed and not in force: {}",
            config.needs_restart.join(", ")
        );
        return Finding::attention(check, seen, "restart the sidecar when it suits");
    }
    Finding::ok(check, format!("{path} is in force"))
}

/// `since` is how long ago `/metrics` was last fetched.
pub fn scraped(since: Option<Duration>) -> Finding {
    let check = Check::SidecarScraped;
    let remedy = "let Prometheus fetch /metrics on listen.metrics: see docs/metrics.md";
    match since {
        None => Finding::attention(check, "nobody has fetched /metrics since the start", remedy),
        Some(since) => {
            let shown = crate::duration::show(Duration::from_secs(since.as_secs()));
            let seen = format!("/metrics was fetched {shown} ago");
            if since > SCRAPED_WITHIN {
                Finding::attention(check, seen, remedy)
            } else {
                Finding::ok(check, seen)
            }
        }
    }
}

/// Whether the edge refuses the canary that is sent every so often; `sent` if it is.
pub fn canary(sent: bool, state: Option<CanaryState>) -> Finding {
    let check = Check::SidecarCanary;
    let remedy = "see edge.canary, and PortcullisCanaryFailing in docs/runbook.md";
    match state.filter(|_| sent) {
        None if sent => Finding::note(check, "the canary has not been sent yet"),
        None => Finding::note(
            check,
            "no canary is sent, so nobody sees when enforcement stops",
        )
        .hint("name the edge in the configuration: canary.edge"),
        Some(CanaryState::Refused) => Finding::ok(check, "the last canary was refused"),
        Some(CanaryState::Noted) => Finding::ok(check, "the last canary would be refused: monitor"),
        Some(CanaryState::Paused) => Finding::skipped(check, "mode off: see operator.modes"),
        Some(CanaryState::Passed) => Finding::failing(check, "the last canary passed", remedy),
        Some(CanaryState::Unreachable) => {
            Finding::attention(check, "the edge did not answer the last canary", remedy)
        }
    }
}

/// Whether Sentry takes them is its log's to say: what can be seen is that errors reach the log, and are sent.
pub fn errors(log: LogFacts) -> Finding {
    let check = Check::SidecarErrors;
    if log.level < LevelFilter::ERROR {
        let remedy = "unset RUST_LOG, or let it admit errors";
        return Finding::attention(check, "errors do not reach the log", remedy);
    }
    let errors = count(log.errors, "error");
    match log.tracking {
        Tracking::Sentry => {
            let seen = format!("{errors} logged since the start; they are sent to Sentry");
            Finding::ok(check, seen)
        }
        Tracking::Nobody => {
            let seen = format!("{errors} logged since the start, and sent to nobody");
            let hint = "set sentry.dsn, or alert on portcullis_log_errors_total and ship the log";
            Finding::note(check, seen).hint(hint)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    fn good() -> ConfigFacts {
        ConfigFacts {
            path: "/etc/portcullis.toml".to_owned(),
            fault: None,
            needs_restart: Vec::new(),
        }
    }

    #[test]
    fn a_configuration_is_in_force_refused_or_waits_for_a_restart() {
        assert_eq!(config(&good()).state, State::Ok);
        let faulty = ConfigFacts {
            fault: Some("line 2:\nunknown key".to_owned()),
            ..good()
        };
        let finding = config(&faulty);
        assert_eq!(finding.state, State::Failing);
        assert!(
            finding.seen.ends_with("line 2:\nunknown key"),
            "{finding:?}"
        );
        let waiting = ConfigFacts {
            needs_restart: vec!["listen.edge".to_owned()],
            ..good()
        };
        assert_eq!(config(&waiting).state, State::Attention);
    }

    #[test]
    fn metrics_are_fetched_every_few_minutes() {
        assert_eq!(scraped(None).state, State::Attention);
        assert_eq!(scraped(Some(Duration::from_secs(30))).state, State::Ok);
        assert_eq!(
            scraped(Some(Duration::from_secs(301))).state,
            State::Attention
        );
    }

    #[test]
    fn a_canary_that_passes_fails_and_one_that_is_not_sent_is_a_note() {
        let state = |state| canary(true, Some(state)).state;
        assert_eq!(state(CanaryState::Refused), State::Ok);
        assert_eq!(state(CanaryState::Noted), State::Ok);
        assert_eq!(state(CanaryState::Passed), State::Failing);
        assert_eq!(state(CanaryState::Unreachable), State::Attention);
        assert_eq!(state(CanaryState::Paused), State::Skipped);
        assert_eq!(canary(true, None).state, State::Note);
        let off = canary(false, Some(CanaryState::Passed));
        assert_eq!(
            off.state,
            State::Note,
            "what was seen before it was switched off"
        );
    }

    #[test]
    fn errors_reach_the_log_and_somebody_who_tracks_them() {
        let state = |level, tracking| {
            let log = LogFacts {
                level,
                errors: 3,
                tracking,
            };
            errors(log).state
        };
        let (sentry, nobody) = (Tracking::Sentry, Tracking::Nobody);
        assert_eq!(state(LevelFilter::INFO, nobody), State::Note);
        assert_eq!(state(LevelFilter::ERROR, nobody), State::Note);
        assert_eq!(state(LevelFilter::ERROR, sentry), State::Ok);
        assert_eq!(state(LevelFilter::OFF, sentry), State::Attention);
    }
}
