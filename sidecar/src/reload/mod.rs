//! The configuration while the process runs: what is in force, since when, and what is wrong with what
//! was written since.
//!
//! [`Watch`] is what the others ask. How a configuration is written and checked is `config`'s; what
//! follows from a changed one is up to `intelligence` and the log.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reputation::UnixSeconds;

use crate::clock::Clock;
use crate::config::Config;
use crate::telemetry::Metrics;

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
    state: Mutex<State>,
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
            state: Mutex::new(State { config, status }),
        }
    }

    pub fn status(&self) -> ConfigStatus {
        self.state().status.clone()
    }

    /// What is in force.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.state().config)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
