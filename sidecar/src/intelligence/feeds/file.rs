//! Reads a list from a file, and only from a plain one: a pipe or a device may never end, and opening
//! a pipe waits for a writer that may never come.

use std::fs::{Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use hyper::body::Bytes;
use rustix::fs::OFlags;

use super::fetch::{FetchError, Fetched, Stamp};

/// The file's version, unless it is the one that `seen` describes or has more than `limit` bytes. Blocks.
pub fn read(path: &Path, seen: Option<&Stamp>, limit: usize) -> Result<Fetched, FetchError> {
    let unreadable = |source| FetchError::Read {
        path: path.to_owned(),
        source,
    };
    let too_large = || FetchError::TooLarge {
        path: path.to_owned(),
        limit,
    };
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(flags).open(path);
    let file = file.map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(unreadable(io::Error::other("it is not a plain file")));
    }
    let stamp = stamp(&metadata);
    if seen == Some(&stamp) {
        return Ok(Fetched::Unchanged);
    }
    let size = usize::try_from(metadata.size()).unwrap_or(usize::MAX);
    if size > limit {
        return Err(too_large());
    }
    // It may have grown since.
    let most = u64::try_from(limit).unwrap_or(u64::MAX);
    let mut body = Vec::with_capacity(size);
    let read = file.take(most.saturating_add(1)).read_to_end(&mut body);
    if read.map_err(unreadable)? > limit {
        return Err(too_large());
    }
    let body = Bytes::from(body);
    Ok(Fetched::New { body, stamp })
}

fn stamp(metadata: &Metadata) -> Stamp {
    Stamp::File {
        modified_s: metadata.mtime(),
        modified_ns: metadata.mtime_nsec(),
        size: metadata.size(),
        inode: metadata.ino(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::chain;

    const LIMIT: usize = 1000;

    fn refused(path: &Path) -> String {
        chain(&read(path, None, LIMIT).unwrap_err())
    }

    #[test]
    fn pipes_devices_and_directories_are_refused_and_nobody_waits_for_them() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        for path in [pipe.as_path(), Path::new("/dev/zero"), directory.path()] {
            assert!(refused(path).contains("not a plain file"), "{path:?}");
        }
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        assert!(refused(&link).contains("not a plain file"));
    }

    #[test]
    fn a_file_beyond_the_limit_is_refused_unread_and_a_link_is_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        std::fs::write(&file, "8.8.8.8\n").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let Fetched::New { body, stamp } = read(&link, None, LIMIT).unwrap() else {
            panic!("it was never seen before");
        };
        assert_eq!(body.as_ref(), b"8.8.8.8\n");
        let again = read(&link, Some(&stamp), LIMIT).unwrap();
        assert!(matches!(again, Fetched::Unchanged));
        let sparse = std::fs::File::create(&file).unwrap();
        sparse.set_len(10 << 30).unwrap();
        assert!(refused(&link).contains("larger than 1000 bytes"));
    }
}
