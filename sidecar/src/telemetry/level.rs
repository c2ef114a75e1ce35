//! How much is logged: what `RUST_LOG` or else the configuration says, unless an operator ordered something
//! else, for a while or until it is taken back. An order is kept in memory alone: a restart ends it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reputation::UnixSeconds;
use serde::{Deserialize, Serialize};
use tracing::Level as Least;

use crate::config::Log;

/// What the log's filter is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// As the environment says, or else this.
    Usual(Least),
    Ordered(Least),
}

pub struct Level {
    apply: Box<dyn Fn(Wanted) + Send + Sync>,
    state: Mutex<State>,
}

/// `GET /v1/log-level`, and the answer to a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelStatus {
    /// What an operator ordered, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordered: Option<String>,
    /// When that ends; absent: when it is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UnixSeconds>,
    /// `log.level`.
    pub configured: String,
    /// Whether `RUST_LOG` stands in place of `configured`.
    pub by_environment: bool,
}

struct State {
    configured: Least,
    by_environment: bool,
    ordered: Option<(Least, Option<UnixSeconds>)>,
    /// Of the latest order: the end of an earlier one must not end it.
    number: u64,
}

/// As they are written in the configuration.
pub const NAMES: [(&str, Least); 5] = [
    ("error", Least::ERROR),
    ("warn", Least::WARN),
    ("info", Least::INFO),
    ("debug", Least::DEBUG),
    ("trace", Least::TRACE),
];

impl Level {
    pub fn new(
        log: &Log,
        by_environment: bool,
        apply: impl Fn(Wanted) + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            apply: Box::new(apply),
            state: Mutex::new(State {
                configured: log.level,
                by_environment,
                ordered: None,
                number: 0,
            }),
        })
    }

    /// Logs as much as `log` says from now on, or as soon as an order ends.
    pub fn configure(&self, log: &Log) {
        let mut state = self.state();
        state.configured = log.level;
        if state.ordered.is_none() {
            (self.apply)(Wanted::Usual(log.level));
        }
    }

    /// `ends` is how long it holds, and when that is over.
    pub fn order(self: &Arc<Self>, level: Least, ends: Option<(Duration, UnixSeconds)>) {
        let number = {
            let mut state = self.state();
            state.number += 1;
            state.ordered = Some((level, ends.map(|(_, at)| at)));
            (self.apply)(Wanted::Ordered(level));
            state.number
        };
        if let Some((ttl, _)) = ends {
            let level = Arc::clone(self);
            tokio::spawn(async move {
                tokio::time::sleep(ttl).await;
                level.end(Some(number));
            });
        }
    }

    pub fn take_back(&self) {
        self.end(None);
    }

    pub fn status(&self) -> LevelStatus {
        let state = self.state();
        LevelStatus {
            ordered: state.ordered.map(|(level, _)| name(level).to_owned()),
            until: state.ordered.and_then(|(_, until)| until),
            configured: name(state.configured).to_owned(),
            by_environment: state.by_environment,
        }
    }

    /// Ends the order with this number, or whichever holds.
    fn end(&self, number: Option<u64>) {
        let mut state = self.state();
        let is_meant = number.is_none_or(|number| number == state.number);
        if is_meant && state.ordered.take().is_some() {
            (self.apply)(Wanted::Usual(state.configured));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub fn name(level: Least) -> &'static str {
    let mut named = NAMES.iter().filter(|(_, it)| *it == level);
    named.next().map_or("info", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level() -> (Arc<Level>, Arc<Mutex<Vec<Wanted>>>) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = Arc::clone(&told);
        let log = Log { level: Least::INFO };
        let level = Level::new(&log, false, move |wanted| tell.lock().unwrap().push(wanted));
        (level, told)
    }

    fn an_hour() -> Option<(Duration, UnixSeconds)> {
        Some((Duration::from_secs(3600), UnixSeconds(3600)))
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_ends_by_itself_and_what_is_configured_counts_again() {
        let (level, told) = level();
        level.order(Least::DEBUG, an_hour());
        level.configure(&Log { level: Least::WARN });
        let status = level.status();
        assert_eq!(
            (status.ordered.as_deref(), status.until),
            (Some("debug"), Some(UnixSeconds(3600)))
        );
        assert_eq!(*told.lock().unwrap(), [Wanted::Ordered(Least::DEBUG)]);
        tokio::time::sleep(Duration::from_secs(3601)).await;
        assert_eq!(
            told.lock().unwrap().last(),
            Some(&Wanted::Usual(Least::WARN))
        );
        assert_eq!(
            (level.status().ordered, level.status().configured),
            (None, "warn".to_owned())
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_an_order_leaves_a_later_one_alone() {
        let (level, told) = level();
        level.order(Least::DEBUG, an_hour());
        level.order(Least::TRACE, None);
        tokio::time::sleep(Duration::from_secs(7200)).await;
        assert_eq!(
            told.lock().unwrap().last(),
            Some(&Wanted::Ordered(Least::TRACE))
        );
        level.take_back();
        level.take_back();
        let told = told.lock().unwrap();
        assert_eq!(told[2..], [Wanted::Usual(Least::INFO)], "once");
    }
}
