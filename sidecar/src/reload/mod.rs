//! The configuration while the process runs: its file is watched, a change is taken over, a faulty one
//! refused whole.
//!
//! [`Watch`] is what the others ask. How a configuration is written and checked is `config`'s; what
//! follows from a changed one is up to `intelligence` and the log. Listeners and the store stay as they
//! were at the start: what changed about them is named and waits.

mod contents;
mod difference;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reputation::UnixSeconds;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::config::{self, Config};
use crate::intelligence::Intelligence;
use crate::proxies::Proxies;
use crate::telemetry::level::Level;
use crate::telemetry::{Metrics, chain};
use contents::{Contents, Found};

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What may be said of the configuration to an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigStatus {
    pub path: PathBuf,
    /// When what is in force was last read and found good.
    pub loaded_at: UnixSeconds,
    /// What is wrong with what was last read; what is in force stays meanwhile.
    pub fault: Option<String>,
    /// The keys, such as `listen.edge`, that differ from what the process runs with until it is
    /// started anew.
    pub needs_restart: Vec<String>,
}

/// The configuration file and what became of it.
pub struct Watch {
    /// What the process began with.
    started: Arc<Config>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    asked: Notify,
    state: Mutex<State>,
}

/// Who follows a changed configuration.
pub struct Followers {
    pub intelligence: Arc<Intelligence>,
    pub proxies: Arc<Proxies>,
    pub level: Arc<Level>,
}

struct State {
    config: Arc<Config>,
    status: ConfigStatus,
}

impl Watch {
    /// Begins with `config`, which was read from `path` just now.
    pub fn new(
        path: &Path,
        config: Arc<Config>,
        clock: &Arc<dyn Clock>,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let status = ConfigStatus {
            path: path.to_owned(),
            loaded_at: clock.now(),
            fault: None,
            needs_restart: Vec::new(),
        };
        metrics.config_loaded(status.loaded_at);
        Self {
            started: Arc::clone(&config),
            clock: Arc::clone(clock),
            metrics: Arc::clone(metrics),
            asked: Notify::new(),
            state: Mutex::new(State { config, status }),
        }
    }

    pub fn status(&self) -> ConfigStatus {
        self.state().status.clone()
    }

    /// What is in force, but for what [`ConfigStatus::needs_restart`] names.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.state().config)
    }

    /// What the process began with, and its listeners and store are bound to.
    pub fn started(&self) -> Arc<Config> {
        Arc::clone(&self.started)
    }

    /// Has the file read and judged at once, whether it seems to have changed or not.
    pub fn read_again(&self) {
        self.asked.notify_one();
    }

    /// Looks at the file every second. Does not end.
    pub async fn run(&self, followers: &Followers) {
        let path = self.status().path;
        if is_stream(&path).await {
            tracing::info!(path = %path.display(), "the configuration is no file: not watched");
            return std::future::pending().await;
        }
        let mut contents = Contents::default();
        loop {
            let asked = tokio::time::timeout(LOOK, self.asked.notified())
                .await
                .is_ok();
            let found = look(&path).await;
            if asked {
                contents.judged(&found);
            } else if !contents.settled(&found) {
                continue;
            }
            self.judge(found, followers).await;
        }
    }

    async fn judge(&self, found: Found, followers: &Followers) {
        let (path, before) = (self.status().path, self.config());
        let read = found.and_then(|text| {
            let config = Config::from_text(&path, &text).map_err(|error| chain(&error))?;
            refuse_emptied(&path, &text, &before, &config)?;
            Ok(config)
        });
        match read {
            Ok(config) => self.accept(config, &before, followers).await,
            Err(fault) => self.refuse(fault),
        }
    }

    async fn accept(&self, config: Config, before: &Config, followers: &Followers) {
        let sections = difference::sections(before, &config);
        let waiting = difference::waiting(&self.started, &config);
        followers.level.configure(&config.log);
        if before.envoy != config.envoy {
            followers.proxies.follow(&config.envoy);
        }
        followers.intelligence.take_over(&config).await;
        let old = self.status();
        if !sections.is_empty() {
            let sections = sections.join(", ");
            tracing::info!(sections, "the changed configuration is taken over");
        } else if old.fault.is_some() {
            tracing::info!("the configuration is good again");
        }
        if waiting != old.needs_restart && !waiting.is_empty() {
            let keys = waiting.join(", ");
            tracing::warn!(keys, "changed, and taken over only by a restart");
        }
        let same = sections.is_empty() && waiting == old.needs_restart && old.fault.is_none();
        let mut state = self.state();
        if !same {
            state.status.loaded_at = self.clock.now();
        }
        state.status.fault = None;
        state.status.needs_restart = waiting;
        state.config = Arc::new(config);
        self.metrics.config_loaded(state.status.loaded_at);
    }

    fn refuse(&self, fault: String) {
        tracing::error!(
            fault,
            "the configuration is refused: the one before stays in force"
        );
        self.metrics.config_refused();
        self.state().status.fault = Some(fault);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is read but once, such as a pipe.
async fn is_stream(path: &Path) -> bool {
    let there = tokio::fs::metadata(path).await;
    there.is_ok_and(|there| !there.is_file() && !there.is_dir())
}

async fn look(path: &Path) -> Found {
    if is_stream(path).await {
        // Whoever opens a pipe waits for somebody to write into it, and so would all later changes.
        return Err(format!("{} is no file", path.display()));
    }
    let path = path.to_owned();
    let read =
        tokio::task::spawn_blocking(move || config::text(&path).map_err(|error| chain(&error)));
    read.await.unwrap_or_else(|error| Err(error.to_string()))
}

/// A full disk or a slow editor leaves an empty file behind. That would be a good configuration, and
/// the end of all protection.
fn refuse_emptied(path: &Path, text: &str, before: &Config, now: &Config) -> Result<(), String> {
    if !text.trim().is_empty() || difference::sections(before, now).is_empty() {
        return Ok(());
    }
    let path = path.display();
    Err(format!(
        "{path} is empty, and was not before: if that is meant, write a comment into it"
    ))
}
