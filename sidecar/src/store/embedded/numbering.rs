//! The last number that was handed out, whether the file took it or not. A disk that refuses must keep no
//! snapshot from the proxies, or a mode, which is the brake, would reach none of them.
//!
//! What the file missed it gets as soon as it takes something again. A restart before that finds a lower number
//! there; the proxies then say what they hold, and a higher epoch is opened.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::file::DatabaseFile;
use super::tables::{self, Error};
use crate::store::{Number, Step};
use crate::telemetry::{Sparing, chain};

/// All of it blocks.
pub struct Numbering {
    last: Mutex<Number>,
    warning: Sparing,
}

impl Default for Numbering {
    fn default() -> Self {
        Self {
            last: Mutex::default(),
            warning: Sparing::once_a_minute(),
        }
    }
}

impl Numbering {
    /// A number beyond every one before, which the file knows too if it can.
    pub fn next(&self, file: &DatabaseFile, step: Step) -> Number {
        let mut last = self.last();
        let known = *last;
        *last = match file.with(|database| tables::next_number(database, known, step)) {
            Ok(next) => next,
            Err(error) => {
                if self.warning.is_due() {
                    let error = chain(&error);
                    tracing::warn!(error, "snapshots are numbered without the store");
                }
                known.next(step)
            }
        };
        *last
    }

    pub fn latest(&self, file: &DatabaseFile) -> Number {
        let mut last = self.last();
        if let Ok(stored) = file.with(tables::latest) {
            *last = last.or_newer(stored);
        }
        *last
    }

    /// Opens a higher epoch; not without the file, which would not know of it after a restart.
    pub fn raise_epoch(&self, file: &DatabaseFile, at_least: u64) -> Result<u64, Error> {
        let mut last = self.last();
        let raised = file.with(|database| tables::raise_epoch(database, at_least))?;
        *last = last.or_newer(raised);
        Ok(raised.version.epoch)
    }

    /// Writes what the file missed. It writes in any case: so it shows whether the file takes anything.
    pub fn write(&self, file: &DatabaseFile) -> Result<(), Error> {
        let last = self.last();
        file.with(|database| tables::note_number(database, *last))
    }

    fn last(&self) -> MutexGuard<'_, Number> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
