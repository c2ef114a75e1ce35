//! The frame of an image: its header and its table of sections. Owns their bytes and their limits; what
//! stands inside a section is the section's own module's.
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

use crate::digest::Digest;
use crate::manifest::{MAX_IMAGE_BYTES, SnapshotVersion};
use crate::time::UnixSeconds;

const MAGIC: &[u8; 8] = b"PCULLIS1";
/// The format that this build writes and reads.
const FORMAT: u32 = 1;
const HEADER_BYTES: usize = 80;
const ROW_BYTES: usize = 16;
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

/// What can be wrong with a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Fault {
    #[error("there are too many sections")]
    TooMany,
    #[error("its tag is unknown")]
    Tag,
    #[error("it is out of order, twice there, or not allowed in this kind of image")]
    Place,
    #[error("its parameters are out of range")]
    Parameters,
    #[error("it does not end where the image does")]
    Bounds,
    #[error("its entries are not in ascending order")]
    Unsorted,
    #[error("its index does not fit its entries")]
    Index,
    #[error("an entry has bits set after its prefix")]
    HostBits,
    #[error("it names a class that does not exist")]
    Class,
    #[error("a class has a rank, action, band or score that does not exist, or a faulty reason")]
    Standing,
}

/// The kinds of section, in the order in which they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Tag {
    Classes = 1,
    Text = 2,
    Attributes = 3,
    Dense = 4,
    Ranges4 = 5,
    Ranges6 = 6,
    Ranges6Long = 7,
    Decided4 = 8,
    Decided6 = 9,
    Decided6Long = 10,
    Masks4 = 11,
    Masks6 = 12,
    Masks6Long = 13,
}

/// One row of the section table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub tag: Tag,
    /// A prefix length, or the bits of an index.
    pub bits: u8,
    pub flags: u16,
    pub class: u32,
    /// The number of the section's main words.
    pub count: u32,
    /// How many addresses or entries that stands for; for people only, nothing relies on it.
    pub entries: u32,
}

impl Tag {
    const ALL: [Self; 13] = [
        Self::Classes,
        Self::Text,
        Self::Attributes,
        Self::Dense,
        Self::Ranges4,
        Self::Ranges6,
        Self::Ranges6Long,
        Self::Decided4,
        Self::Decided6,
        Self::Decided6Long,
        Self::Masks4,
        Self::Masks6,
        Self::Masks6Long,
    ];

    fn from_u8(value: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|tag| *tag as u8 == value)
    }
}

impl Row {
    pub fn new(tag: Tag, bits: u8, count: usize) -> Self {
        let count = saturated(count);
        Self {
            tag,
            bits,
            flags: 0,
            class: 0,
            count,
            entries: count,
        }
    }

    /// The order in which rows stand; no two have the same place.
    pub fn place(&self) -> impl Ord + use<> {
        (self.tag, self.bits, self.class)
    }

    pub fn count(&self) -> usize {
        usize::try_from(self.count).unwrap_or(usize::MAX)
    }

    fn decode(bytes: &[u8; ROW_BYTES]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let [tag, bits] = reader.array()?;
        Some(Self {
            tag: Tag::from_u8(tag)?,
            bits,
            flags: u16::from_le_bytes(reader.array()?),
            class: reader.u32()?,
            count: reader.u32()?,
            entries: reader.u32()?,
        })
    }

    fn append(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.tag as u8, self.bits]);
        out.extend_from_slice(&self.flags.to_le_bytes());
        for number in [self.class, self.count, self.entries] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
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
    match rows
        .array_windows()
        .position(|[row, next]| row.place() >= next.place())
    {
        Some(at) => Err(refuse(at + 1, Fault::Place)),
        None => Ok(rows),
    }
}

/// Counts beyond 32 bits cannot be in an image, whose length would exceed its limit long before.
pub(super) fn saturated(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
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
