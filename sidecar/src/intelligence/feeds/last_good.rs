//! The last good copy of each feed on disk, so that a restart while the source is down keeps the feed.
//!
//! One file per feed: a line of JSON that says where the copy is from, then the list as it came. It is
//! read through the same format and the same guard as a fresh one, so a stricter guard applies to it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hyper::body::Bytes;
use reputation::UnixSeconds;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::fetch::Stamp;
use super::status::place;
use crate::config::Feed;

/// Where the copies are.
#[derive(Debug, Clone)]
pub struct LastGood {
    directory: PathBuf,
}

/// A copy and what is known of it.
#[derive(Debug, Clone)]
pub struct Copy {
    pub body: Bytes,
    pub stamp: Option<Stamp>,
    pub fetched: UnixSeconds,
}

#[derive(Debug, Error)]
pub enum LastGoodError {
    #[error("the last good copy {path} cannot be read")]
    Read { path: PathBuf, source: io::Error },
    #[error("the last good copy {path} cannot be written")]
    Write { path: PathBuf, source: io::Error },
    #[error("the last good copy {path} is damaged")]
    Damaged { path: PathBuf },
}

#[derive(Serialize, Deserialize)]
struct Head {
    source: String,
    format: String,
    fetched: UnixSeconds,
    #[serde(default)]
    stamp: Option<Stamp>,
}

impl LastGood {
    /// Copies are kept in `feeds` under the store's directory.
    pub fn under(store: &Path) -> Self {
        Self {
            directory: store.join("feeds"),
        }
    }

    /// The copy of `feed`; `None` if there is none from this source in this format. Blocks.
    pub fn load(&self, feed: &Feed) -> Result<Option<Copy>, LastGoodError> {
        let path = self.path(feed);
        let bytes = match fs::read(&path) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LastGoodError::Read { path, source }),
        };
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let split = end.map(|end| (bytes.slice(..end), bytes.slice(end + 1..)));
        let parsed = split.and_then(|(head, body)| {
            let head: Head = serde_json::from_slice(&head).ok()?;
            Some((head, body))
        });
        let (head, body) = parsed.ok_or(LastGoodError::Damaged { path })?;
        let same = head.source == place(&feed.source) && head.format == feed.format.name();
        Ok(same.then_some(Copy {
            body,
            stamp: head.stamp,
            fetched: head.fetched,
        }))
    }

    /// Replaces the copy of `feed` in one step. Blocks.
    pub fn save(&self, feed: &Feed, copy: &Copy) -> Result<(), LastGoodError> {
        let path = self.path(feed);
        let fresh = path.with_extension("new");
        let head = Head {
            source: place(&feed.source),
            format: feed.format.name().to_owned(),
            fetched: copy.fetched,
            stamp: copy.stamp.clone(),
        };
        let write = || {
            fs::create_dir_all(&self.directory)?;
            let mut file = File::create(&fresh)?;
            serde_json::to_writer(&mut file, &head)?;
            file.write_all(b"\n")?;
            file.write_all(&copy.body)?;
            file.sync_all()?;
            fs::rename(&fresh, &path)
        };
        write().map_err(|source| LastGoodError::Write { path, source })
    }

    fn path(&self, feed: &Feed) -> PathBuf {
        self.directory.join(format!("{}.list", feed.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intelligence::testing::file_feed;

    fn copy(body: &'static str) -> Copy {
        Copy {
            body: Bytes::from_static(body.as_bytes()),
            stamp: None,
            fetched: UnixSeconds(7),
        }
    }

    #[test]
    fn a_copy_comes_back_as_it_was_saved() {
        let directory = tempfile::tempdir().unwrap();
        let last_good = LastGood::under(directory.path());
        let feed = file_feed("one", "/nowhere");
        assert!(last_good.load(&feed).unwrap().is_none());
        last_good.save(&feed, &copy("192.0.2.1\n")).unwrap();
        last_good.save(&feed, &copy("192.0.2.2\n")).unwrap();
        let loaded = last_good.load(&feed).unwrap().unwrap();
        assert_eq!(loaded.body.as_ref(), b"192.0.2.2\n");
        assert_eq!(loaded.fetched, UnixSeconds(7));
    }

    #[test]
    fn a_copy_from_another_source_does_not_count() {
        let directory = tempfile::tempdir().unwrap();
        let last_good = LastGood::under(directory.path());
        last_good
            .save(&file_feed("one", "/here"), &copy("192.0.2.1\n"))
            .unwrap();
        let moved = file_feed("one", "/there");
        assert!(last_good.load(&moved).unwrap().is_none());
    }

    #[test]
    fn a_damaged_copy_is_an_error_and_not_an_empty_list() {
        let directory = tempfile::tempdir().unwrap();
        let last_good = LastGood::under(directory.path());
        let feed = file_feed("one", "/here");
        fs::create_dir_all(directory.path().join("feeds")).unwrap();
        fs::write(directory.path().join("feeds/one.list"), "{\"sou").unwrap();
        let refused = last_good.load(&feed).unwrap_err();
        assert!(matches!(refused, LastGoodError::Damaged { .. }));
    }
}
