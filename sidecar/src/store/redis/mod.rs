//! The store in Redis, for sidecars that share what they know. Decisions, modes, epoch, version and
//! quota have no expiry there, so that a policy like `volatile-lru` cannot take them; verdicts have.
//!
//! Redis may be away, full, slow, read-only, or hold things that no sidecar wrote: what is known here
//! serves on from `copy`, writes fail with a reason, and nobody waits twice for a server that is silent.
//!
//! Owns what each method means in Redis. The way there is `link`'s and `keeper`'s, what is atomic
//! `scripts`', what stands where `keys`' and `codec`'s.

mod bounded;
mod codec;
mod concerns;
mod connect;
mod copy;
mod fault;
mod keeper;
mod keys;
mod link;
mod reading;
mod scripts;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use redis::Pipeline;
use reputation::manifest::SnapshotVersion;
use reputation::mode::ModeOverride;
use reputation::{Decision, UnixSeconds};
use tokio::sync::{Notify, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Concern, DecisionChange, KEPT_PAST_EXPIRY, Store, StoreError, StoreHealth, StoreKind,
    StoredVerdict, VerdictKey, failed,
};
use crate::clock::{Clock, Day};
use crate::config::RedisConfig;
use crate::secrets::Secrets;
use crate::telemetry::{Sparing, chain};
use codec::LONGEST_VERDICT;
use connect::{Connection, Endpoint};
use copy::Copy;
use fault::Fault;
use keys::Keys;
use link::Link;
use scripts::{Bearings, Scripts};

/// Must be opened and used within a tokio runtime.
pub struct RedisStore {
    shared: Arc<Shared>,
    _running: DropGuard,
}

struct Shared {
    link: Link,
    endpoint: Endpoint,
    scripts: Scripts,
    copy: Arc<Copy>,
    clock: Arc<dyn Clock>,
    /// Whether Redis was tried to be reached at all.
    tried: watch::Sender<bool>,
    changed: Notify,
    noted: Mutex<Noted>,
    foreign: Sparing,
    unnumbered: Sparing,
}

#[derive(Default)]
struct Noted {
    concerns: Vec<Concern>,
    /// The counter of changes as it was last seen.
    changes: Option<Vec<u8>>,
    /// Why decisions or modes cannot be read although Redis answers.
    unread: HashMap<Words, String>,
    /// The highest counts of calls, so that a Redis that lost them does not refill a quota.
    booked: HashMap<String, (Day, u32)>,
}

/// What is read from Redis as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Words {
    Decisions,
    Modes,
}

/// No look-up waits longer for a verdict: asking the provider is the better choice then.
const VERDICT_LIMIT: Duration = Duration::from_millis(50);
/// How long to wait at start for a Redis that does not answer, until the copy has to do.
const START_PATIENCE: Duration = Duration::from_secs(3);
/// How long giving everything back to an empty Redis may take.
const RESTORE_LIMIT: Duration = Duration::from_secs(10);
/// How often what is foreign is logged.
const SPARINGLY: Duration = Duration::from_secs(60);

impl RedisStore {
    /// Opens the store; `directory` is for the copy. A Redis that does not answer is no reason to fail.
    pub async fn open(
        config: &RedisConfig,
        directory: &Path,
        secrets: &Arc<Secrets>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared::new(config, directory, secrets, clock).await?);
        let running = CancellationToken::new();
        let (keeping, ended) = (keeper::keep(Arc::clone(&shared)), running.clone());
        tokio::spawn(async move { ended.run_until_cancelled(keeping).await });
        let (saving, ended) = (save_words(Arc::clone(&shared.copy)), running.clone());
        tokio::spawn(async move { ended.run_until_cancelled(saving).await });
        let mut tried = shared.tried.subscribe();
        let _late = tokio::time::timeout(START_PATIENCE, tried.wait_for(|tried| *tried)).await;
        if shared.link.fault().is_some() {
            let decisions = shared.copy.decisions().len();
            tracing::warn!(decisions, "started without Redis: its copy here serves");
        }
        Ok(Self {
            shared,
            _running: running.drop_guard(),
        })
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn epoch(&self) -> Result<u64, StoreError> {
        Ok(self.latest().await?.epoch)
    }

    async fn raise_epoch(&self, at_least: u64) -> Result<u64, StoreError> {
        let shared = &self.shared;
        let command = shared.scripts.raise(shared.bearings(), at_least);
        let raised = shared.number(command).await;
        Ok(raised
            .map_err(|fault| failed("open a higher epoch", fault))?
            .epoch)
    }

    /// Without Redis it is counted on from the copy; Redis goes beyond that when it is back.
    async fn next_version(&self) -> Result<SnapshotVersion, StoreError> {
        let shared = &self.shared;
        let next = match shared.number(shared.scripts.next(shared.bearings())).await {
            Ok(version) => version,
            Err(fault) => {
                if shared.unnumbered.is_due() {
                    let fault = chain(&fault);
                    tracing::warn!(fault, "snapshots are numbered without Redis");
                }
                shared.copy.next_version()
            }
        };
        let copy = Arc::clone(&shared.copy);
        let saved = tokio::task::spawn_blocking(move || copy.save_version()).await;
        saved.map_err(|error| failed("number a snapshot", error))?;
        Ok(next)
    }

    async fn latest(&self) -> Result<SnapshotVersion, StoreError> {
        let shared = &self.shared;
        let latest = shared.number(shared.scripts.latest(shared.bearings()));
        Ok(latest.await.unwrap_or_else(|_| shared.copy.version()))
    }

    async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    async fn decisions(&self) -> Result<Vec<Decision>, StoreError> {
        Ok(self.shared.decisions().await)
    }

    async fn change_decisions(&self, change: DecisionChange) -> Result<(), StoreError> {
        self.shared
            .change_decisions(change)
            .await
            .map_err(|fault| failed("write a decision", fault))
    }

    async fn modes(&self) -> Result<Vec<ModeOverride>, StoreError> {
        Ok(self.shared.modes().await)
    }

    async fn put_modes(&self, modes: &[ModeOverride]) -> Result<(), StoreError> {
        let what = "write the modes";
        let shared = &self.shared;
        let command = shared.scripts.put_modes(modes);
        let command = command.map_err(|error| failed(what, error))?;
        let changes = shared.link.ask(command).await;
        shared.note_own_change(changes.map_err(|fault| failed(what, fault))?);
        shared.copy.set_modes(modes.to_vec());
        Ok(())
    }

    async fn quota(&self, provider: &str, day: Day) -> Result<u32, StoreError> {
        let count = self.shared.book(provider, day, 0, 0).await;
        count.map_err(|fault| failed("read a quota", fault))
    }

    async fn add_quota(&self, provider: &str, day: Day) -> Result<u32, StoreError> {
        let count = self.shared.book(provider, day, 1, 0).await;
        count.map_err(|fault| failed("book a provider's call", fault))
    }

    async fn raise_quota(&self, provider: &str, day: Day, used: u32) -> Result<u32, StoreError> {
        let count = self.shared.book(provider, day, 0, used).await;
        count.map_err(|fault| failed("book a provider's count", fault))
    }

    async fn verdicts(
        &self,
        keys: &[VerdictKey],
    ) -> Result<Vec<Option<StoredVerdict>>, StoreError> {
        let verdicts = self.shared.verdicts(keys).await;
        verdicts.map_err(|fault| failed("read verdicts", fault))
    }

    async fn put_verdict(&self, key: VerdictKey, verdict: StoredVerdict) -> Result<(), StoreError> {
        let shared = &self.shared;
        let end = verdict.expires.plus(KEPT_PAST_EXPIRY);
        let life = shared.clock.now().until(end).max(1);
        let mut command = redis::cmd("SET");
        command
            .arg(shared.scripts.keys().verdict(&key))
            .arg(codec::write_verdict(&verdict))
            .arg("EX")
            .arg(life);
        let written = shared.link.ask(command).await;
        written.map_err(|fault| failed("write a verdict", fault))
    }

    /// Redis lets them lapse by itself.
    async fn prune_verdicts(&self, _before: UnixSeconds) -> Result<usize, StoreError> {
        Ok(0)
    }

    async fn flush(&self) -> Result<(), StoreError> {
        let copy = Arc::clone(&self.shared.copy);
        let saved = tokio::task::spawn_blocking(move || copy.save_words()).await;
        saved.map_err(|error| failed("write the copy", error))
    }

    async fn health(&self) -> StoreHealth {
        let noted = self.shared.noted();
        let unread = noted.unread.values().next().cloned();
        StoreHealth {
            kind: StoreKind::Redis,
            place: self.shared.link.place().to_owned(),
            fault: self.shared.link.fault().or(unread),
            concerns: noted.concerns.clone(),
        }
    }
}

impl Shared {
    async fn new(
        config: &RedisConfig,
        directory: &Path,
        secrets: &Arc<Secrets>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let place = config.to_string();
        let (path, now) = (directory.to_owned(), clock.now());
        let name = format!("{place} {}", config.namespace);
        let copy = tokio::task::spawn_blocking(move || Copy::open(&path, name, now)).await;
        let copy = copy.map_err(|error| failed("open", error))?;
        let copy = copy.map_err(|source| StoreError::Directory {
            path: directory.to_owned(),
            source,
        })?;
        let me = getrandom::u64().map_err(|_| failed("open", "there is no random number"))?;
        let endpoint = Endpoint::new(config.clone(), Arc::clone(secrets));
        let keys = Keys::new(&config.namespace);
        Ok(Self {
            link: Link::new(place, endpoint.caller.clone(), config.timeout),
            endpoint,
            scripts: Scripts::new(keys, format!("{me:016x}")),
            copy: Arc::new(copy),
            clock: Arc::clone(clock),
            tried: watch::Sender::new(false),
            changed: Notify::new(),
            noted: Mutex::default(),
            foreign: Sparing::once_in(SPARINGLY),
            unnumbered: Sparing::once_in(SPARINGLY),
        })
    }

    /// On a new connection: what is in force, for both sides. A Redis that has nothing at all has lost
    /// it, and gets it back.
    async fn settle(&self, connection: &Arc<Connection>) -> Result<(), Fault> {
        let keys = self.scripts.keys();
        let mut exist = redis::cmd("EXISTS");
        exist.arg(&[keys.epoch(), keys.decisions(), keys.modes()]);
        let exists: u32 = self.link.ask_on(connection, exist).await?;
        let (mut decisions, mut modes) = (Vec::new(), Vec::new());
        if exists == 0 {
            for decision in self.copy.decisions() {
                let json = serde_json::to_vec(&decision);
                decisions.push((decision.id, json.map_err(unwritable)?));
            }
            let known = self.copy.modes();
            if !known.is_empty() {
                modes = serde_json::to_vec(&known).map_err(unwritable)?;
            }
        }
        let command = self.scripts.enter(self.bearings(), &decisions, &modes);
        let entering = self.link.ask_within(RESTORE_LIMIT, connection, command);
        let (epoch, version, was_empty): (u64, u64, bool) = entering.await?;
        self.copy.note_version(SnapshotVersion { epoch, version });
        if was_empty && !(decisions.is_empty() && modes.is_empty()) {
            let decisions = decisions.len();
            tracing::warn!(
                decisions,
                "Redis had lost everything: what is known here was given back to it"
            );
        }
        Ok(())
    }

    fn bearings(&self) -> Bearings {
        Bearings {
            known: self.copy.version(),
            now: self.clock.now(),
        }
    }

    /// A script that answers epoch and version.
    async fn number(&self, command: redis::Cmd) -> Result<SnapshotVersion, Fault> {
        let (epoch, version) = self.link.ask(command).await?;
        let version = SnapshotVersion { epoch, version };
        self.copy.note_version(version);
        Ok(version)
    }

    async fn change_decisions(&self, change: DecisionChange) -> Result<(), Fault> {
        let command = self.scripts.change(&change).map_err(unwritable)?;
        self.note_own_change(self.link.ask(command).await?);
        self.copy.change_decisions(change);
        Ok(())
    }

    async fn book(&self, provider: &str, day: Day, more: u32, at_least: u32) -> Result<u32, Fault> {
        let known = self.noted().booked.get(provider).copied();
        let known = known.map_or(0, |(last, count)| if last == day { count } else { 0 });
        let command = self.scripts.book(provider, day, known, more, at_least);
        let count = self.link.ask(command).await?;
        let mut noted = self.noted();
        let booked = noted.booked.entry(provider.to_owned()).or_insert((day, 0));
        *booked = match *booked {
            (last, before) if last == day => (day, before.max(count)),
            _ => (day, count),
        };
        Ok(count)
    }

    async fn verdicts(&self, keys: &[VerdictKey]) -> Result<Vec<Option<StoredVerdict>>, Fault> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        // Not GET: a value that is not ours may be of any length.
        let mut commands = Pipeline::with_capacity(keys.len());
        for key in keys {
            let name = self.scripts.keys().verdict(key);
            commands
                .cmd("GETRANGE")
                .arg(name)
                .arg(0)
                .arg(LONGEST_VERDICT);
        }
        let mut answers = self.link.ask_all(&commands, VERDICT_LIMIT).await?;
        let now = self.clock.now();
        let read = keys.iter().map(|_| match answers.next::<Vec<u8>>() {
            Ok(bytes) if bytes.is_empty() => None,
            Ok(bytes) => codec::read_verdict(&bytes, now).or_else(|| {
                self.tell_foreign("a verdict");
                None
            }),
            Err(fault) => {
                self.tell_foreign(&chain(&fault));
                None
            }
        });
        Ok(read.collect())
    }

    /// Notes the counter of changes; tells whether it differs from what was seen before.
    fn note_changes(&self, changes: Vec<u8>) -> bool {
        let mut noted = self.noted();
        let differs = noted.changes.as_ref().is_some_and(|seen| *seen != changes);
        noted.changes = Some(changes);
        differs
    }

    /// A change of our own need not be read; but if another came between, the counter shows it.
    fn note_own_change(&self, count: u64) {
        let mut noted = self.noted();
        let before = count.saturating_sub(1).to_string();
        let seen = noted.changes.as_deref().unwrap_or_default();
        if seen == before.as_bytes() || (count == 1 && seen.is_empty()) {
            noted.changes = Some(count.to_string().into_bytes());
        }
    }

    fn set_concerns(&self, concerns: Vec<Concern>) {
        self.noted().concerns = concerns;
    }

    fn tell_foreign(&self, what: &str) {
        if self.foreign.is_due() {
            let place = self.link.place();
            tracing::warn!(
                what,
                place,
                "something in Redis is not what a sidecar keeps there: it is left out"
            );
        }
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs for as long as it is polled.
async fn save_words(copy: Arc<Copy>) {
    loop {
        copy.changed().await;
        let saving = Arc::clone(&copy);
        let _panicked = tokio::task::spawn_blocking(move || saving.save_words()).await;
    }
}

fn unwritable(error: serde_json::Error) -> Fault {
    Fault::Said(format!("it cannot be written as JSON: {error}"))
}
