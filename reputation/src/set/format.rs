//! The frame of an image: its header and its table of sections. Owns their bytes and their limits; what
//! a row of the table says is `row`'s, what stands inside a section is the section's own module's.
//!
//! ```text
//! "PCULLIS1"  format u32  length u32  kind u32  sections u32  epoch u64  version u64
//! built_at u32  valid_until u32  base digest [32]          (all little-endian, 80 bytes)
//! sections × { tag u8  bits u8  flags u16  class u32  count u32  entries u32 }
//! the sections' columns, in the order of the table and without gaps
//! ```
//!
//! Sections have no offsets: where one begins follows from the counts before it, so none can overlap
//! another, and the counts must add up to the image's length exactly.

use thiserror::Error;

use super::row::{Fault, ROW_BYTES, Row};
use crate::digest::Digest;
use crate::manifest::{MAX_IMAGE_BYTES, SnapshotVersion};
use crate::time::UnixSeconds;

const MAGIC: &[u8; 8] = b"PCULLIS1";
/// The format that this build writes and reads.
const FORMAT: u32 = 1;
const HEADER_BYTES: usize = 80;
/// One table of decisions and one of masks per prefix length, the dense sets and the rest.
const MAX_SECTIONS: usize = 512;

/// What an image is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Complete by itself.
    Base,
    /// Valid only on top of the base with this digest.
    Overlay { base: Digest },
}

/// What an image says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    pub kind: Kind,
    pub version: SnapshotVersion,
    pub built_at: UnixSeconds,
    /// The image is not taken up after this point; one that is active stays.
    pub valid_until: UnixSeconds,
}

/// Why an image is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ImageError {
    #[error("it does not begin as an image does")]
    Magic,
    #[error("it has format {0}, this build reads format {FORMAT}")]
    Format(u32),
    #[error("it says that it has {stated} bytes, but there are {actual}, or more than may be")]
    Length { stated: usize, actual: usize },
    #[error("its kind {0} is unknown")]
    Kind(u32),
    #[error("its section {at} is faulty: {fault}")]
    Section { at: usize, fault: Fault },
}

/// Writes header, table and sections. `None` if the image would be too large.
pub(super) fn write(meta: &Meta, rows: &[Row], parts: &[Vec<u8>]) -> Option<Vec<u8>> {
    let body: usize = parts.iter().map(Vec::len).sum();
    let length = HEADER_BYTES + rows.len() * ROW_BYTES + body;
    if length > MAX_IMAGE_BYTES || rows.len() > MAX_SECTIONS {
        return None;
    }
    let (kind, base) = match meta.kind {
        Kind::Base => (0_u32, [0; 32]),
        Kind::Overlay { base } => (1, base.0),
    };
    let mut out = Vec::with_capacity(length);
    out.extend_from_slice(MAGIC);
    for number in [
        FORMAT,
        u32::try_from(length).ok()?,
        kind,
        u32::try_from(rows.len()).ok()?,
    ] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&meta.version.epoch.to_le_bytes());
    out.extend_from_slice(&meta.version.version.to_le_bytes());
    out.extend_from_slice(&meta.built_at.0.to_le_bytes());
    out.extend_from_slice(&meta.valid_until.0.to_le_bytes());
    out.extend_from_slice(&base);
    rows.iter().for_each(|row| row.append(&mut out));
    parts.iter().for_each(|part| out.extend_from_slice(part));
    Some(out)
}

/// Reads header and table. Gives what the image says of itself, its rows, and where its columns begin.
pub(super) fn read(bytes: &[u8]) -> Result<(Meta, Vec<Row>, usize), ImageError> {
    let mut reader = Reader(bytes);
    if reader.array().as_ref() != Some(MAGIC) {
        return Err(ImageError::Magic);
    }
    let cut_short = ImageError::Length {
        stated: HEADER_BYTES,
        actual: bytes.len(),
    };
    let format = reader.u32().ok_or(cut_short.clone())?;
    if format != FORMAT {
        return Err(ImageError::Format(format));
    }
    let stated = reader.size().ok_or(cut_short.clone())?;
    if stated != bytes.len() || stated > MAX_IMAGE_BYTES {
        return Err(ImageError::Length {
            stated,
            actual: bytes.len(),
        });
    }
    let (meta, sections) = read_meta(&mut reader)?.ok_or(cut_short)?;
    let rows = read_rows(reader.0, sections)?;
    Ok((meta, rows, HEADER_BYTES + sections * ROW_BYTES))
}

fn read_meta(reader: &mut Reader<'_>) -> Result<Option<(Meta, usize)>, ImageError> {
    let mut fields = || {
        let kind = reader.u32()?;
        let sections = reader.size()?;
        let version = SnapshotVersion {
            epoch: reader.u64()?,
            version: reader.u64()?,
        };
        let built_at = UnixSeconds(reader.u32()?);
        let valid_until = UnixSeconds(reader.u32()?);
        let base = Digest(reader.array()?);
        let meta = Meta {
            kind: Kind::Overlay { base },
            version,
            built_at,
            valid_until,
        };
        Some((kind, meta, sections))
    };
    match fields() {
        None => Ok(None),
        Some((0, meta, sections)) => Ok(Some((
            Meta {
                kind: Kind::Base,
                ..meta
            },
            sections,
        ))),
        Some((1, meta, sections)) => Ok(Some((meta, sections))),
        Some((kind, ..)) => Err(ImageError::Kind(kind)),
    }
}

fn read_rows(bytes: &[u8], sections: usize) -> Result<Vec<Row>, ImageError> {
    let refuse = |at, fault| ImageError::Section { at, fault };
    if sections > MAX_SECTIONS {
        return Err(refuse(sections, Fault::TooMany));
    }
    let table = bytes.as_chunks::<ROW_BYTES>().0.get(..sections);
    let table = table.ok_or(refuse(sections, Fault::Bounds))?;
    let decode = |(at, bytes)| Row::decode(bytes).ok_or(refuse(at, Fault::Tag));
    let rows = table
        .iter()
        .enumerate()
        .map(decode)
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(at) = rows.iter().position(|row| !row.is_plain()) {
        return Err(refuse(at, Fault::Parameters));
    }
    let mut pairs = rows.array_windows();
    match pairs.position(|[row, next]| row.place() >= next.place()) {
        Some(at) => Err(refuse(at + 1, Fault::Place)),
        None => Ok(rows),
    }
}

/// Takes numbers off the front of some bytes.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn size(&mut self) -> Option<usize> {
        usize::try_from(self.u32()?).ok()
    }
}
