//! The canary, sent to the edge every so often: whether what must be refused still is. Enforcement that
//! stops does so silently, so somebody has to try.
//!
//! Where the edge passes it on purpose, in `monitor`, the proxies' statistics have to show that it would be
//! refused: without them nothing is proved, and that is what is said.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use reputation::mode::Mode;
use tokio::time::sleep;

use crate::clock::Clock;
use crate::intelligence::Intelligence;
use crate::plain_http::{Answer, FetchError, Url};
use crate::proxies::{Figure, Proxies};
use crate::reload::Watch;
use crate::snapshot::canary;
use crate::telemetry::{Metrics, chain};

/// What the periodic canary needs.
pub struct Patrol {
    pub watch: Arc<Watch>,
    pub intelligence: Arc<Intelligence>,
    pub proxies: Arc<Proxies>,
    pub metrics: Arc<Metrics>,
    pub clock: Arc<dyn Clock>,
}

/// What became of the last canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CanaryState {
    Refused,
    /// Passed, and counted as one that would be refused.
    Noted,
    Passed,
    Unreachable,
    /// Not sent, since an operator switched every route off.
    Paused,
}

/// A look, with what is told of it.
struct Sight {
    state: CanaryState,
    seen: String,
}

/// More trusted hops than anybody has.
const HOPS: usize = 8;
const DECISION: &str = "x-portcullis-decision";
/// What a proxy decided is in its statistics by then.
const COUNTED: Duration = Duration::from_millis(400);
/// How soon an edge that is newly configured is looked at.
const IDLE: Duration = Duration::from_secs(1);

/// Asks as the canary: names the one address in `x-forwarded-for`, as often as proxies may be trusted to
/// have added to it, and comes from the other where the edge is on this machine.
pub async fn send(edge: &Url, agent: &str) -> Result<Answer, FetchError> {
    let named = vec![canary::NAMED.to_string(); HOPS].join(", ");
    let headers = [("x-forwarded-for", named.as_str()), ("user-agent", agent)];
    edge.ask(&headers, Some(canary::LOCAL)).await
}

/// Whether the plugin refused it; a refusal of somebody else has no decision.
pub fn is_refusal(answer: &Answer) -> bool {
    answer.headers.contains_key(DECISION)
}

impl Patrol {
    /// Does not end.
    pub async fn run(&self) {
        let mut last = None;
        loop {
            let config = self.watch.config();
            let Some(edge) = &config.canary.edge else {
                self.metrics.forget_canary();
                last = None;
                sleep(IDLE).await;
                continue;
            };
            let interval = config.canary.interval;
            let sight = self.look(edge).await;
            self.metrics.canary(sight.state, interval, self.clock.now());
            if last != Some(sight.state) {
                sight.log(edge);
                last = Some(sight.state);
            }
            sleep(interval).await;
        }
    }

    async fn look(&self, edge: &Url) -> Sight {
        let everywhere_off = |modes: &[reputation::mode::ModeOverride]| {
            let mut modes = modes.iter();
            modes.any(|order| order.mode == Mode::Off && order.route.is_none())
        };
        if everywhere_off(&self.intelligence.modes()) {
            return Sight::of(CanaryState::Paused, "an operator's mode is off");
        }
        match send(edge, "portcullis").await {
            Ok(answer) if is_refusal(&answer) => Sight::refused(&answer),
            Ok(_passed) => self.look_closer(edge).await,
            Err(error) => Sight::of(CanaryState::Unreachable, chain(&error)),
        }
    }

    /// Once more, with an eye on what the proxies count.
    async fn look_closer(&self, edge: &Url) -> Sight {
        let before = self.would_refuse().await;
        let answer = match send(edge, "portcullis").await {
            Ok(answer) if is_refusal(&answer) => return Sight::refused(&answer),
            Ok(answer) => answer,
            Err(error) => return Sight::of(CanaryState::Unreachable, chain(&error)),
        };
        sleep(COUNTED).await;
        let status = answer.status;
        if self.would_refuse().await > before {
            return Sight::of(CanaryState::Noted, format!("passed with {status}"));
        }
        Sight::of(CanaryState::Passed, format!("passed with {status}"))
    }

    /// How many requests the proxies would have refused so far.
    async fn would_refuse(&self) -> u64 {
        self.proxies.read().await;
        let statuses = self.proxies.statuses();
        let counts = statuses.iter().filter_map(|proxy| proxy.counts);
        counts.map(|counts| counts.get(Figure::WouldDeny)).sum()
    }
}

impl CanaryState {
    pub const ALL: [Self; 5] = [
        Self::Refused,
        Self::Noted,
        Self::Passed,
        Self::Unreachable,
        Self::Paused,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Noted => "noted",
            Self::Passed => "passed",
            Self::Unreachable => "unreachable",
            Self::Paused => "paused",
        }
    }

    /// Whether it proves that the edge judges by what is published.
    pub fn proves(self) -> bool {
        matches!(self, Self::Refused | Self::Noted)
    }
}

impl Sight {
    fn of(state: CanaryState, seen: impl Into<String>) -> Self {
        let seen = seen.into();
        Self { state, seen }
    }

    fn refused(answer: &Answer) -> Self {
        Self::of(CanaryState::Refused, format!("answered {}", answer.status))
    }

    fn log(&self, edge: &Url) {
        let seen = self.seen.as_str();
        match self.state {
            CanaryState::Refused => tracing::info!(%edge, seen, "the edge refuses the canary"),
            CanaryState::Noted => {
                tracing::info!(%edge, seen, "the edge would refuse the canary, and passes it");
            }
            CanaryState::Paused => tracing::info!(%edge, seen, "the canary is not sent"),
            CanaryState::Passed => {
                tracing::error!(%edge, seen, "the edge passes the canary: nobody may be refused");
            }
            CanaryState::Unreachable => {
                tracing::warn!(%edge, error = seen, "the edge does not answer the canary");
            }
        }
    }
}
