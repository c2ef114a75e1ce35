//! The database file. After an input or output error, such as a full disk, redb refuses everything until
//! the file is opened anew; that is done here, so that the store recovers when the disk does.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use redb::Database;

use super::tables::Error;

pub struct DatabaseFile {
    path: PathBuf,
    /// Absent while it could not be opened again.
    database: RwLock<Option<Database>>,
    /// When it broke, or was last tried to be opened again.
    broken: Mutex<Option<Instant>>,
    /// Something failed, and nothing was shown to work since.
    doubted: AtomicBool,
}

/// How long to leave a disk alone between two tries: opening reads the whole file.
const PAUSE: Duration = Duration::from_secs(1);

impl DatabaseFile {
    pub fn new(path: PathBuf, database: Database) -> Self {
        Self {
            path,
            database: RwLock::new(Some(database)),
            broken: Mutex::default(),
            doubted: AtomicBool::new(false),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Does `work` on the database, opened anew if it broke. Blocks.
    pub fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, Error>) -> Result<T, Error> {
        let done = self.attempt(work);
        if done.is_err() {
            self.doubted.store(true, Ordering::Relaxed);
        }
        done
    }

    pub fn is_doubted(&self) -> bool {
        self.doubted.load(Ordering::Relaxed)
    }

    /// It has taken something since.
    pub fn trust(&self) {
        self.doubted.store(false, Ordering::Relaxed);
    }

    fn attempt<T>(&self, work: impl FnOnce(&Database) -> Result<T, Error>) -> Result<T, Error> {
        self.mend(PAUSE)?;
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let done = work(database.as_ref().ok_or_else(closed)?);
        if let Err(Error::Database(redb::Error::Io(_) | redb::Error::PreviousIo)) = &done {
            let mut broken = self.broken();
            *broken = broken.or(Some(Instant::now()));
        }
        done
    }

    fn mend(&self, pause: Duration) -> Result<(), Error> {
        let mut broken = self.broken();
        if broken.is_none_or(|since| since.elapsed() < pause) {
            return Ok(());
        }
        *broken = Some(Instant::now());
        let mut database = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // The old one holds the file's lock.
        drop(database.take());
        // Not created: an empty file in place of one that vanished would forget all decisions.
        *database = Some(Database::open(&self.path)?);
        *broken = None;
        Ok(())
    }

    /// As after a fault that was long enough ago for the next use to open the file again.
    #[cfg(test)]
    pub fn break_now(&self) {
        *self.broken() = Instant::now().checked_sub(PAUSE);
    }

    fn broken(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn closed() -> Error {
    Error::Database(redb::Error::PreviousIo)
}

#[cfg(test)]
mod tests {
    use reputation::UnixSeconds;

    use super::super::tables;
    use super::*;

    #[test]
    fn a_file_that_broke_is_opened_again_and_never_replaced_by_an_empty_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let database = Database::create(&path).unwrap();
        tables::prepare(&database, UnixSeconds(7)).unwrap();
        let file = DatabaseFile::new(path.clone(), database);
        let fail = || {
            file.with(|_| Err::<(), _>(closed())).unwrap_err();
        };
        fail();
        file.mend(Duration::ZERO).unwrap();
        assert_eq!(file.with(tables::epoch).unwrap(), 7);

        fail();
        let aside = directory.path().join("aside");
        std::fs::rename(&path, &aside).unwrap();
        file.mend(Duration::ZERO).unwrap_err();
        file.with(tables::epoch).unwrap_err();
        assert!(!path.exists());
        std::fs::rename(&aside, &path).unwrap();
        file.mend(Duration::ZERO).unwrap();
        assert_eq!(file.with(tables::epoch).unwrap(), 7);
    }
}
