//! Archives that depend on nothing but what is put into them: no times, no owners, no order of the disk.

use std::borrow::Cow;
use std::io::{Read as _, Write as _};

use flate2::read::GzDecoder;
use flate2::{Compression, GzBuilder};

use crate::error::Error;

pub struct Member {
    pub path: String,
    pub mode: u32,
    pub bytes: Vec<u8>,
}

/// The members in this order, owned by root, from the first second of 1970.
pub fn tar(members: &[Member]) -> Result<Vec<u8>, Error> {
    let mut archive = tar::Builder::new(Vec::new());
    for member in members {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(member.mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(member.bytes.len() as u64);
        archive
            .append_data(&mut header, &member.path, &member.bytes[..])
            .map_err(|error| Error::Said(format!("cannot archive {}: {error}", member.path)))?;
    }
    let failed = |error| Error::Said(format!("cannot end the archive: {error}"));
    archive.into_inner().map_err(failed)
}

pub fn gzip(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut packer = GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), Compression::best());
    let written = packer.write_all(bytes).and_then(|()| packer.finish());
    written.map_err(|error| Error::Said(format!("cannot compress: {error}")))
}

/// The bytes, unpacked if they are compressed.
pub fn plain(bytes: &[u8]) -> Result<Cow<'_, [u8]>, Error> {
    // RFC 1952: so begins what gzip wrote, and no tar.
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut unpacked = Vec::new();
    let read = GzDecoder::new(bytes).read_to_end(&mut unpacked);
    read.map_err(|error| Error::Said(format!("cannot uncompress: {error}")))?;
    Ok(Cow::Owned(unpacked))
}

/// The file of this name in a compressed archive, if there is one.
pub fn unpack(packed: &[u8], name: &str) -> Result<Option<Vec<u8>>, Error> {
    let failed = |error| Error::Said(format!("cannot read the archive: {error}"));
    let mut archive = tar::Archive::new(GzDecoder::new(packed));
    for entry in archive.entries().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        if entry.path().is_ok_and(|path| path.ends_with(name)) {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(failed)?;
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_comes_out_and_nothing_tells_when() {
        let member = Member {
            path: "a/plugin.wasm".to_owned(),
            mode: 0o755,
            bytes: b"bytes".to_vec(),
        };
        let packed = gzip(&tar(&[member]).unwrap()).unwrap();
        let mut archive = tar::Archive::new(GzDecoder::new(&packed[..]));
        let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
        let mut read = Vec::new();
        entry.read_to_end(&mut read).unwrap();
        assert_eq!(read, b"bytes");
        assert_eq!(entry.path().unwrap().to_str().unwrap(), "a/plugin.wasm");
        let header = entry.header();
        let told = (
            header.mode().unwrap(),
            header.mtime().unwrap(),
            header.uid().unwrap(),
        );
        assert_eq!(told, (0o755, 0, 0));
        // RFC 1952: four bytes of time after magic, method and flags.
        assert_eq!(packed[4..8], [0; 4]);
    }
}
