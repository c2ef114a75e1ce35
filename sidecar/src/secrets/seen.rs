//! When each value was first seen, kept in a file below `store.path` so that a restart does not make a
//! secret young again.
//!
//! The file holds no secret. A value is recognised by 16 bits of a salted hash: enough to notice that
//! it is another one, too few to tell a guess that it is right.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use reputation::UnixSeconds;
use reputation::digest::Digest;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::config::SecretName;
use crate::telemetry::chain;

const FILE_NAME: &str = "secrets-seen.json";
const OWNER_ONLY: u32 = 0o600;
const OWNERS_FOLDER: u32 = 0o700;

pub struct Seen {
    /// `None` where nothing is kept.
    directory: Option<PathBuf>,
    book: Mutex<Book>,
}

#[derive(Default, Serialize, Deserialize)]
struct Book {
    salt: u64,
    secrets: BTreeMap<SecretName, Entry>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Entry {
    mark: u16,
    since: UnixSeconds,
}

impl Seen {
    /// Remembers for as long as the process lives.
    pub fn in_memory() -> Self {
        Self {
            directory: None,
            book: Mutex::default(),
        }
    }

    /// What was written below `directory`, which need not be there yet. A file that cannot be read
    /// counts for nothing: it costs the age of secrets, no more.
    pub fn open(directory: &Path) -> Self {
        let text = fs::read(directory.join(FILE_NAME)).ok();
        let book = text.and_then(|text| serde_json::from_slice::<Book>(&text).ok());
        let fresh = || Book {
            salt: getrandom::u64().unwrap_or_default(),
            secrets: BTreeMap::new(),
        };
        Self {
            directory: Some(directory.to_owned()),
            book: Mutex::new(book.unwrap_or_else(fresh)),
        }
    }

    /// When `value` was first seen as `name`: now, if it is new.
    pub fn since(&self, name: &SecretName, value: &SecretString, now: UnixSeconds) -> UnixSeconds {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = mark(book.salt, value);
        let known = book.secrets.get(name).filter(|entry| entry.mark == mark);
        // A clock that was ahead must not keep a secret young for ever.
        if let Some(known) = known.filter(|entry| entry.since <= now) {
            return known.since;
        }
        let entry = Entry { mark, since: now };
        book.secrets.insert(name.clone(), entry);
        if let Some(directory) = &self.directory
            && let Err(error) = write(directory, &book)
        {
            let error = chain(&error);
            tracing::warn!(error, "when secrets were first seen is not kept");
        }
        now
    }
}

fn mark(salt: u64, value: &SecretString) -> u16 {
    let value = value.expose_secret().as_bytes();
    let salted = Zeroizing::new([salt.to_le_bytes().as_slice(), value].concat());
    let digest = Digest::of(&salted);
    let mut bytes = digest.0.iter().copied();
    let mut byte = || bytes.next().unwrap_or_default();
    u16::from_le_bytes([byte(), byte()])
}

/// Replaces the file in one step. Few bytes, written when a secret changed and at no other time.
fn write(directory: &Path, book: &Book) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder
        .recursive(true)
        .mode(OWNERS_FOLDER)
        .create(directory)?;
    let (path, fresh) = (
        directory.join(FILE_NAME),
        directory.join("secrets-seen.new"),
    );
    let mut options = OpenOptions::new();
    options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(OWNER_ONLY);
    let mut file = options.open(&fresh)?;
    file.write_all(&serde_json::to_vec(book)?)?;
    file.sync_all()?;
    fs::rename(fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> SecretName {
        SecretName::parse("key").unwrap()
    }

    #[test]
    fn a_value_keeps_its_age_over_a_restart_and_a_new_one_is_young() {
        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join("store");
        let (old, new) = (SecretString::from("old-value"), SecretString::from("new"));
        let first = UnixSeconds(1000);
        assert_eq!(Seen::open(&below).since(&name(), &old, first), first);
        let seen = Seen::open(&below);
        assert_eq!(seen.since(&name(), &old, UnixSeconds(2000)), first);
        assert_eq!(
            seen.since(&name(), &new, UnixSeconds(3000)),
            UnixSeconds(3000)
        );
        let text = fs::read_to_string(below.join(FILE_NAME)).unwrap();
        assert!(!text.contains("old-value"), "{text}");
    }

    #[test]
    fn a_damaged_file_is_no_reason_to_stop() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE_NAME), "{\"salt\": ").unwrap();
        let seen = Seen::open(directory.path());
        let now = UnixSeconds(5);
        assert_eq!(seen.since(&name(), &SecretString::from("a"), now), now);
    }
}
