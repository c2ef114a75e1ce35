//! The embedded store: one redb file in `store.path`. Decisions, modes, quota and versions are on the
//! disk before a call returns; verdicts are gathered in memory and written once a second, because they
//! come in floods and can be asked for again.
//!
//! Owns opening, threads and batching; what the tables look like is `tables`', opening again after a fault of
//! the disk is `file`'s, and numbering without the disk `numbering`'s.

mod file;
mod numbering;
mod tables;

use std::collections::HashMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use redb::{Database, DatabaseError, StorageError};
use reputation::manifest::SnapshotVersion;
use reputation::mode::ModeOverride;
use reputation::{Decision, UnixSeconds};

use super::{
    Booking, DecisionChange, Number, Step, Store, StoreError, StoreHealth, StoreKind,
    StoredVerdict, VerdictKey, failed,
};
use crate::clock::Day;
use crate::telemetry::chain;
use file::DatabaseFile;
use numbering::Numbering;

/// Must be opened and used within a tokio runtime.
pub struct EmbeddedStore {
    shared: Arc<Shared>,
}

struct Shared {
    file: DatabaseFile,
    numbering: Numbering,
    /// Verdicts that are not in the file yet.
    pending: Mutex<HashMap<VerdictKey, StoredVerdict>>,
}

const FILE_NAME: &str = "portcullis.redb";
/// How much may be lost with a `kill -9`, and how long a burst is gathered.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// Beyond this many verdicts a writer flushes by itself.
const MAX_PENDING: usize = 16_384;
const OWNER_ONLY: u32 = 0o700;

impl EmbeddedStore {
    /// Opens the store in `directory`, creating both; `now` becomes the epoch of a new one.
    pub async fn open(directory: &Path, now: UnixSeconds) -> Result<Self, StoreError> {
        let directory = directory.to_owned();
        let opened = tokio::task::spawn_blocking(move || open_file(&directory, now)).await;
        let shared = Arc::new(opened.map_err(|source| failed("open", source))??);
        tokio::spawn(flush_regularly(Arc::downgrade(&shared)));
        Ok(Self { shared })
    }

    /// Runs `work` where blocking on the disk hurts nobody.
    async fn run<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Database) -> Result<T, tables::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run_shared(what, |shared| shared.file.with(work)).await
    }

    async fn run_shared<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Shared) -> Result<T, tables::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        let joined = tokio::task::spawn_blocking(move || {
            work(&shared).map_err(|error| shared.explain(what, error))
        });
        joined.await.map_err(|source| failed(what, source))?
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn epoch(&self) -> Result<u64, StoreError> {
        self.run("read the epoch", tables::epoch).await
    }

    async fn raise_epoch(&self, at_least: u64) -> Result<u64, StoreError> {
        let what = "open a higher epoch";
        self.run_shared(what, move |shared| {
            shared.numbering.raise_epoch(&shared.file, at_least)
        })
        .await
    }

    async fn next_number(&self, step: Step) -> Result<Number, StoreError> {
        let what = "number a snapshot";
        self.run_shared(what, move |shared| {
            Ok(shared.numbering.next(&shared.file, step))
        })
        .await
    }

    async fn latest(&self) -> Result<SnapshotVersion, StoreError> {
        let what = "read the last snapshot's number";
        let number = self.run_shared(what, |shared| Ok(shared.numbering.latest(&shared.file)));
        Ok(number.await?.version)
    }

    /// The file is this process's alone.
    async fn changed(&self) {
        std::future::pending().await
    }

    async fn decisions(&self) -> Result<Vec<Decision>, StoreError> {
        self.run("read the decisions", tables::decisions).await
    }

    async fn change_decisions(&self, change: DecisionChange) -> Result<(), StoreError> {
        let what = "write a decision";
        self.run(what, move |database| {
            tables::change_decisions(database, &change)
        })
        .await
    }

    async fn modes(&self) -> Result<Vec<ModeOverride>, StoreError> {
        self.run("read the modes", tables::modes).await
    }

    async fn put_modes(&self, modes: &[ModeOverride]) -> Result<(), StoreError> {
        let modes = modes.to_vec();
        self.run("write the modes", move |database| {
            tables::put_modes(database, &modes)
        })
        .await
    }

    async fn quota(&self, provider: &str, day: Day) -> Result<u32, StoreError> {
        let provider = provider.to_owned();
        self.run("read a quota", move |database| {
            tables::quota(database, &provider, day)
        })
        .await
    }

    async fn book_call(&self, provider: &str, day: Day, below: u32) -> Result<Booking, StoreError> {
        let provider = provider.to_owned();
        let one_more = move |used: u32| if used < below { used + 1 } else { used };
        let what = "book a provider's call";
        let counts = self.run(what, move |database| {
            tables::book(database, &provider, day, one_more)
        });
        Ok(match counts.await? {
            (before, after) if before < after => Booking::Made(after),
            (_, count) => Booking::Full(count),
        })
    }

    async fn raise_quota(
        &self,
        provider: &str,
        day: Day,
        at_least: u32,
    ) -> Result<u32, StoreError> {
        let provider = provider.to_owned();
        let raise = move |used: u32| used.max(at_least);
        let what = "book a provider's count";
        let counts = self.run(what, move |database| {
            tables::book(database, &provider, day, raise)
        });
        counts.await.map(|(_, count)| count)
    }

    async fn verdicts(
        &self,
        keys: &[VerdictKey],
    ) -> Result<Vec<Option<StoredVerdict>>, StoreError> {
        let pending: Vec<_> = {
            let pending = self.shared.pending();
            keys.iter().map(|key| pending.get(key).cloned()).collect()
        };
        if pending.iter().all(Option::is_some) {
            return Ok(pending);
        }
        let keys = keys.to_vec();
        self.run("read verdicts", move |database| {
            let on_disk = tables::verdicts(database, &keys)?;
            let newest = pending.into_iter().zip(on_disk);
            Ok(newest.map(|(pending, old)| pending.or(old)).collect())
        })
        .await
    }

    async fn put_verdict(&self, key: VerdictKey, verdict: StoredVerdict) -> Result<(), StoreError> {
        let waiting = {
            let mut pending = self.shared.pending();
            pending.insert(key, verdict);
            pending.len()
        };
        if waiting > MAX_PENDING {
            self.flush().await
        } else {
            Ok(())
        }
    }

    async fn prune_verdicts(&self, before: UnixSeconds) -> Result<usize, StoreError> {
        let what = "drop old verdicts";
        self.run(what, move |database| {
            tables::prune_verdicts(database, before)
        })
        .await
    }

    async fn flush(&self) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        let what = "write verdicts";
        let written = tokio::task::spawn_blocking(move || {
            let written = shared.flush();
            written.map_err(|error| shared.explain(what, error))
        });
        written.await.map_err(|source| failed(what, source))?
    }

    async fn health(&self) -> StoreHealth {
        let proved = self.run_shared("be written", Shared::prove);
        let fault = proved.await.err();
        StoreHealth {
            kind: StoreKind::Embedded,
            place: self.shared.file.path().display().to_string(),
            fault: fault.map(|fault| chain(&fault)),
            concerns: Vec::new(),
        }
    }
}

impl Shared {
    fn pending(&self) -> std::sync::MutexGuard<'_, HashMap<VerdictKey, StoredVerdict>> {
        // The map is whole between calls whatever panicked: nothing in it can be half done.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Verdicts stay readable while they are written: they leave the map only after the commit, and
    /// only if no newer one came meanwhile.
    fn flush(&self) -> Result<(), tables::Error> {
        let batch: Vec<_> = {
            let pending = self.pending();
            pending
                .iter()
                .map(|(key, verdict)| (key.clone(), verdict.clone()))
                .collect()
        };
        if batch.is_empty() {
            return Ok(());
        }
        self.file
            .with(|database| tables::put_verdicts(database, &batch))?;
        let mut pending = self.pending();
        for (key, written) in &batch {
            if pending.get(key) == Some(written) {
                pending.remove(key);
            }
        }
        Ok(())
    }

    /// Whether the file works. One that failed has to take a number first: what can still be read from a
    /// full disk says nothing of what it takes.
    fn prove(&self) -> Result<(), tables::Error> {
        if self.file.is_doubted() {
            self.numbering.write(&self.file)?;
            self.file.trust();
        }
        self.file.with(tables::epoch).map(drop)
    }

    fn explain(&self, what: &'static str, error: tables::Error) -> StoreError {
        match error {
            tables::Error::Content(source) => StoreError::Damaged {
                path: self.file.path().to_owned(),
                source: source.into(),
            },
            tables::Error::Database(redb::Error::Corrupted(text)) => StoreError::Damaged {
                path: self.file.path().to_owned(),
                source: text.into(),
            },
            tables::Error::Format(found) => StoreError::Damaged {
                path: self.file.path().to_owned(),
                source: format!("its format is {found}").into(),
            },
            tables::Error::Database(source) => failed(what, source),
        }
    }
}

fn open_file(directory: &Path, now: UnixSeconds) -> Result<Shared, StoreError> {
    let unusable = |source| StoreError::Directory {
        path: directory.to_owned(),
        source,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(OWNER_ONLY)
        .create(directory)
        .map_err(unusable)?;
    let path = directory.join(FILE_NAME);
    let database = Database::create(&path).map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            StoreError::Locked { path: path.clone() }
        }
        DatabaseError::Storage(StorageError::Io(source)) if !is_about_content(&source) => {
            unusable(source)
        }
        damaged => StoreError::Damaged {
            path: path.clone(),
            source: damaged.into(),
        },
    })?;
    let shared = Shared {
        file: DatabaseFile::new(path, database),
        numbering: Numbering::default(),
        pending: Mutex::default(),
    };
    let prepared = shared.file.with(|database| tables::prepare(database, now));
    prepared.map_err(|error| shared.explain("open", error))?;
    shared.numbering.latest(&shared.file);
    Ok(shared)
}

/// redb reports a file that is none of its own as I/O errors of these kinds.
fn is_about_content(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, UnexpectedEof};
    matches!(error.kind(), InvalidData | UnexpectedEof)
}

/// Ends when the store is dropped.
async fn flush_regularly(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(FLUSH_EVERY).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let flushed = tokio::task::spawn_blocking(move || {
            shared
                .flush()
                .map_err(|error| shared.explain("write verdicts", error))
        });
        if let Ok(Err(error)) = flushed.await {
            tracing::error!(error = chain(&error), "verdicts were not written");
        }
    }
}

#[cfg(test)]
mod tests;
