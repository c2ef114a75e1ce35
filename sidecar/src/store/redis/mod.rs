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
mod shared;
#[cfg(test)]
pub(crate) mod tests;
mod trial;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reputation::manifest::SnapshotVersion;
use reputation::mode::ModeOverride;
use reputation::{Decision, UnixSeconds};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use trial::try_password;

use super::{
    Booking, Concern, DecisionChange, KEPT_PAST_EXPIRY, Number, Step, Store, StoreError,
    StoreHealth, StoreKind, StoredVerdict, VerdictKey, failed,
};
use crate::clock::{Clock, Day};
use crate::config::RedisConfig;
use crate::secrets::Secrets;
use crate::telemetry::chain;
use copy::Copy;
use scripts::Entry;
use shared::Shared;

/// Must be opened and used within a tokio runtime.
pub struct RedisStore {
    shared: Arc<Shared>,
    _running: DropGuard,
}

const WRITE_MODES: &str = "write the modes";
/// How long to wait at start for a Redis that does not answer, until the copy has to do.
const START_PATIENCE: Duration = Duration::from_secs(3);

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

impl RedisStore {
    /// Has `command` write `modes`; whether it did.
    async fn write_modes(
        &self,
        command: redis::Cmd,
        modes: &[ModeOverride],
    ) -> Result<bool, StoreError> {
        let shared = &self.shared;
        let was_known = shared.copy.has_words();
        let changes = shared.link.ask(command).await;
        let count = changes.map_err(|fault| failed(WRITE_MODES, fault))?;
        if count == 0 {
            return Ok(false);
        }
        shared.note_own_change(count);
        shared.copy.set_modes(modes.to_vec());
        if count == 1 && was_known {
            shared.give_all_back().await;
        }
        Ok(true)
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn epoch(&self) -> Result<u64, StoreError> {
        Ok(self.latest().await?.epoch)
    }

    async fn raise_epoch(&self, at_least: u64) -> Result<u64, StoreError> {
        let raised = self.shared.raise(at_least).await;
        Ok(raised
            .map_err(|fault| failed("open a higher epoch", fault))?
            .epoch)
    }

    /// Without Redis it is counted on from the copy; Redis goes beyond that when it is back.
    async fn next_number(&self, step: Step) -> Result<Number, StoreError> {
        let shared = &self.shared;
        let next = match shared.next(step).await {
            Ok(number) => number,
            Err(fault) => {
                if shared.unnumbered.is_due() {
                    let fault = chain(&fault);
                    tracing::warn!(fault, "snapshots are numbered without Redis");
                }
                shared.copy.next_number(step)
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
        let command = self.shared.scripts.put_modes(modes);
        let command = command.map_err(|error| failed(WRITE_MODES, error))?;
        self.write_modes(command, modes).await.map(drop)
    }

    async fn swap_modes(
        &self,
        before: &[ModeOverride],
        modes: &[ModeOverride],
    ) -> Result<bool, StoreError> {
        let command = self.shared.scripts.swap_modes(before, modes);
        let command = command.map_err(|error| failed(WRITE_MODES, error))?;
        self.write_modes(command, modes).await
    }

    async fn quota(&self, provider: &str, day: Day) -> Result<u32, StoreError> {
        let book = self.shared.book(provider, day, Entry::None).await;
        book.map(Booking::count)
            .map_err(|fault| failed("read a quota", fault))
    }

    async fn book_call(&self, provider: &str, day: Day, below: u32) -> Result<Booking, StoreError> {
        let entry = Entry::Call { below };
        let booking = self.shared.book(provider, day, entry).await;
        booking.map_err(|fault| failed("book a provider's call", fault))
    }

    async fn raise_quota(&self, provider: &str, day: Day, used: u32) -> Result<u32, StoreError> {
        let entry = Entry::AtLeast(used);
        let book = self.shared.book(provider, day, entry).await;
        book.map(Booking::count)
            .map_err(|fault| failed("book a provider's count", fault))
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
        let mut unread: Vec<_> = noted.unread.values().map(|it| it.why.as_str()).collect();
        unread.sort_unstable();
        let unread = (!unread.is_empty()).then(|| unread.join("; "));
        let wide: Vec<_> = noted.unforced.iter().map(String::as_str).collect();
        let prefixes = wide.join(", ");
        let unforced = (!wide.is_empty()).then_some(Concern::Unforced { prefixes });
        StoreHealth {
            kind: StoreKind::Redis,
            place: self.shared.link.place().to_owned(),
            fault: self.shared.link.fault().or(unread),
            concerns: noted.concerns.iter().cloned().chain(unforced).collect(),
        }
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
