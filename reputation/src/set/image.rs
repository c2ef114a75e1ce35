//! The reader. Owns the way from an address to the entry that speaks for it within one image. It takes
//! any bytes by bounds checks alone: rubbish may give a wrong answer, never a trap.

use std::fmt;

use super::class::{ClassId, ClassView};
use super::format::{self, ImageError, Meta};
use super::row::Tag;
use super::tables::Tables;
use crate::address::ClientAddress;
use crate::decision::DecisionId;
use crate::precedence::Rank;
use crate::time::UnixSeconds;

/// A compiled set over its bytes, which are read in place.
pub struct Image<B> {
    bytes: B,
    meta: Meta,
    tables: Tables,
}

/// The entry that speaks for an address within one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match {
    pub rank: Rank,
    pub prefix_len: u8,
    pub class: ClassId,
    pub decision: Option<DecisionId>,
    pub expires: Option<UnixSeconds>,
}

/// What an image holds, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub bytes: usize,
    pub classes: usize,
    /// IPv4 addresses in dense sets.
    pub addresses_v4: usize,
    /// Disjoint IPv4 ranges and what lies between them.
    pub ranges_v4: usize,
    pub ranges_v6: usize,
    pub decided_v4: usize,
    pub decided_v6: usize,
    pub masks: usize,
}

impl<B: AsRef<[u8]>> Image<B> {
    /// Checks header and sections' bounds only, whatever the size; [`super::Checker`] checks the rest.
    pub fn open(bytes: B) -> Result<Self, ImageError> {
        let (meta, rows, at) = format::read(bytes.as_ref())?;
        let tables = Tables::place(rows, meta.kind, at, bytes.as_ref().len())?;
        Ok(Self {
            bytes,
            meta,
            tables,
        })
    }

    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    pub fn into_bytes(self) -> B {
        self.bytes
    }

    /// The entry that speaks for `address` at `now`: the highest rank, then the longest prefix, then the
    /// newest. Never allocates.
    #[inline]
    pub fn lookup(&self, address: ClientAddress, now: UnixSeconds) -> Option<Match> {
        match address {
            ClientAddress::V4(key) => self.tables.find_v4(self.bytes.as_ref(), key, now),
            ClientAddress::V6(key) => self.tables.find_v6(self.bytes.as_ref(), key, now),
        }
    }

    /// Whether the base is hidden for `address`. A base has no masks.
    pub fn masks(&self, address: ClientAddress) -> bool {
        match address {
            ClientAddress::V4(key) => self.tables.masks_v4(self.bytes.as_ref(), key),
            ClientAddress::V6(key) => self.tables.masks_v6(self.bytes.as_ref(), key),
        }
    }

    /// What entries of this class say; `None` if there is no such class.
    pub fn class(&self, class: ClassId) -> Option<ClassView<'_>> {
        self.tables.classes.view(self.bytes.as_ref(), class)
    }

    pub fn counts(&self) -> Counts {
        let mut counts = Counts {
            bytes: self.bytes.as_ref().len(),
            classes: self.tables.classes.count(),
            ..Counts::default()
        };
        for row in &self.tables.rows {
            let counter = match row.tag {
                Tag::Classes | Tag::Text | Tag::Attributes => continue,
                Tag::Dense => &mut counts.addresses_v4,
                Tag::Ranges4 => &mut counts.ranges_v4,
                Tag::Ranges6 | Tag::Ranges6Long => &mut counts.ranges_v6,
                Tag::Decided4 => &mut counts.decided_v4,
                Tag::Decided6 | Tag::Decided6Long => &mut counts.decided_v6,
                Tag::Masks4 | Tag::Masks6 | Tag::Masks6Long => &mut counts.masks,
            };
            *counter = counter.saturating_add(usize::try_from(row.entries).unwrap_or(usize::MAX));
        }
        counts
    }

    pub(super) fn parts(&self) -> (&[u8], &Tables) {
        (self.bytes.as_ref(), &self.tables)
    }
}

impl<B: AsRef<[u8]>> fmt::Debug for Image<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut image = f.debug_struct("Image");
        image
            .field("meta", &self.meta)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

impl Match {
    /// The one that wins; of equals, `self`.
    pub(crate) fn or(self, other: Self) -> Self {
        let standing = |one: &Self| (one.rank, one.prefix_len);
        if standing(&other) > standing(&self) {
            other
        } else {
            self
        }
    }
}
