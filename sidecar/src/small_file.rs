//! Reads a small file that the configuration names: a key, a certificate. What is no regular file would
//! block whoever reads it (a pipe that nobody writes to) or never end (a device).

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// A chain of certificates has some kilobytes.
const MOST_BYTES: u64 = 256 * 1024;

pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Before it is opened: that alone can block.
    if !fs::metadata(path)?.is_file() {
        let why = "it is no regular file";
        return Err(io::Error::new(ErrorKind::InvalidInput, why));
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= MOST_BYTES) {
        return Ok(bytes);
    }
    let why = format!("it has more than {MOST_BYTES} bytes");
    Err(io::Error::new(ErrorKind::InvalidData, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_and_what_is_too_long_or_no_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "secret\n").unwrap();
        assert_eq!(read(&path).unwrap(), b"secret\n");
        fs::write(&path, vec![b'a'; 256 * 1024]).unwrap();
        assert!(read(&path).is_ok());
        fs::write(&path, vec![b'a'; 256 * 1024 + 1]).unwrap();
        assert_eq!(read(&path).unwrap_err().kind(), ErrorKind::InvalidData);
        for other in [Path::new("/dev/zero"), folder.path()] {
            assert_eq!(read(other).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        let missing = read(&folder.path().join("none")).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    }
}
