//! The secrets of the whole process: one place for each value, whichever configuration refers to it,
//! and the task that looks after them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::Secrets;
use super::aws::Aws;
use super::cell::Cell;
use super::seen::Seen;
use crate::clock::{Clock, SystemClock};
use crate::config::{Secret, SecretName};
use crate::telemetry::Metrics;

pub struct Vault {
    shared: Arc<Shared>,
    /// A secret that no configuration refers to any more is forgotten.
    cells: Mutex<Vec<Weak<Cell>>>,
}

/// What every secret needs.
pub struct Shared {
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    pub seen: Seen,
    pub aws: Aws,
}

/// How often it is asked which secrets are due.
const TICK: Duration = Duration::from_secs(1);
/// How long a start and a changed configuration wait for secrets from far away.
const FIRST_LOOK: Duration = Duration::from_secs(3);

impl Vault {
    /// Keeps below `directory` when each value was first seen.
    pub fn open(directory: &Path, clock: &Arc<dyn Clock>, metrics: &Arc<Metrics>) -> Self {
        Self::with(Seen::open(directory), clock, metrics)
    }

    /// Remembers nothing beyond the process.
    pub fn in_memory() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Self::with(Seen::in_memory(), &clock, &Arc::default())
    }

    fn with(seen: Seen, clock: &Arc<dyn Clock>, metrics: &Arc<Metrics>) -> Self {
        Self {
            shared: Arc::new(Shared {
                clock: Arc::clone(clock),
                metrics: Arc::clone(metrics),
                seen,
                aws: Aws::default(),
            }),
            cells: Mutex::default(),
        }
    }

    /// The secrets of a configuration. Those that were known before keep their values.
    pub fn secrets(&self, configured: &BTreeMap<SecretName, Secret>) -> Secrets {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        let live: Vec<_> = cells.iter().filter_map(Weak::upgrade).collect();
        let mut named = BTreeMap::new();
        for (name, secret) in configured {
            let known = live.iter().find(|cell| cell.is_of(name, secret));
            let cell = match known {
                Some(known) => {
                    known.follow(secret);
                    Arc::clone(known)
                }
                None => {
                    self.shared.metrics.forget_secret(name.as_str());
                    let shared = Arc::clone(&self.shared);
                    Arc::new(Cell::new(name.clone(), secret.clone(), shared))
                }
            };
            named.insert(name.clone(), cell);
        }
        let gone = |cell: &&Arc<Cell>| !configured.contains_key(cell.name());
        for cell in live.iter().filter(gone) {
            self.shared.metrics.forget_secret(cell.name().as_str());
        }
        cells.retain(|cell| cell.strong_count() > 0);
        let known = |cell: &&Arc<Cell>| !live.iter().any(|live| Arc::ptr_eq(live, cell));
        cells.extend(named.values().filter(known).map(Arc::downgrade));
        Secrets {
            configured: configured.clone(),
            cells: named,
        }
    }

    /// Waits until every secret was looked for once, but not for long: what is far away may be away,
    /// and is looked for again.
    pub async fn first_look(&self) {
        let new = self.live().into_iter().filter(|it| !it.was_looked_for());
        let look = |cell: Arc<Cell>| tokio::spawn(async move { cell.look().await });
        let looks: Vec<_> = new.map(look).collect();
        let all = async {
            for look in looks {
                // A look that fails is noted where it fails.
                let _ended = look.await;
            }
        };
        let _in_time = tokio::time::timeout(FIRST_LOOK, all).await;
    }

    /// Looks at each secret when it is due. Does not end.
    pub async fn keep(&self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for cell in self.live() {
                if cell.is_due() {
                    tokio::spawn(async move { cell.look().await });
                }
            }
        }
    }

    fn live(&self) -> Vec<Arc<Cell>> {
        let cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.iter().filter_map(Weak::upgrade).collect()
    }
}
