//! The rows of the section table, and what can be wrong with a section.

use thiserror::Error;

pub(super) const ROW_BYTES: usize = 16;

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

    /// Whether the fields that mean nothing for this kind of section are zero.
    pub fn is_plain(&self) -> bool {
        let (bits, flags, class) = (self.bits, self.flags, self.class);
        match self.tag {
            Tag::Classes | Tag::Text | Tag::Attributes => (bits, flags, class) == (0, 0, 0),
            Tag::Dense => flags == 0,
            Tag::Ranges4 | Tag::Ranges6 | Tag::Ranges6Long => class == 0,
            _ => (flags, class) == (0, 0),
        }
    }

    pub fn count(&self) -> usize {
        usize::try_from(self.count).unwrap_or(usize::MAX)
    }

    pub fn decode(bytes: &[u8; ROW_BYTES]) -> Option<Self> {
        let [tag, bits, flag, flags, numbers @ ..] = bytes;
        let ([class, count, entries], _) = numbers.as_chunks() else {
            return None;
        };
        Some(Self {
            tag: Tag::from_u8(*tag)?,
            bits: *bits,
            flags: u16::from_le_bytes([*flag, *flags]),
            class: u32::from_le_bytes(*class),
            count: u32::from_le_bytes(*count),
            entries: u32::from_le_bytes(*entries),
        })
    }

    pub fn append(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.tag as u8, self.bits]);
        out.extend_from_slice(&self.flags.to_le_bytes());
        for number in [self.class, self.count, self.entries] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
}

/// Counts beyond 32 bits cannot be in an image, whose length would exceed its limit long before.
pub(super) fn saturated(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
