//! The reader. Owns the way from an address to the entry that speaks for it within one image. It takes
//! any bytes by bounds checks alone: rubbish may give a wrong answer, never a trap.

use super::class::{ClassId, ClassView, Classes};
use super::column::Cursor;
use super::decided::DecidedTable;
use super::format::{self, Fault, ImageError, Kind, Meta, Row, Tag};
use super::masks::Masks;
use super::place::upper_half;
use crate::address::ClientAddress;
use crate::decision::DecisionId;
use crate::precedence::Rank;
use crate::time::UnixSeconds;

/// A compiled set over its bytes, which are read in place.
#[derive(Debug)]
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

/// Where everything stands.
#[derive(Debug)]
pub(super) struct Tables {
    pub rows: Vec<Row>,
    pub classes: Classes,
    pub decided_v4: Vec<DecidedTable<u32>>,
    pub decided_v6: Vec<DecidedTable<u64>>,
    pub decided_v6_long: Vec<DecidedTable<u128>>,
    pub masks_v4: Vec<Masks<u32>>,
    pub masks_v6: Vec<Masks<u64>>,
    pub masks_v6_long: Vec<Masks<u128>>,
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
    pub fn lookup(&self, address: ClientAddress, now: UnixSeconds) -> Option<Match> {
        let (bytes, tables) = (self.bytes.as_ref(), &self.tables);
        match address {
            ClientAddress::V4(key) => {
                let decided = tables.decided_v4.iter();
                decided
                    .filter_map(|table| table.find(bytes, tables.classes, key, now))
                    .reduce(Match::or)
            }
            ClientAddress::V6(key) => {
                let upper = upper_half(key);
                let short = tables.decided_v6.iter();
                let short = short.filter_map(|table| table.find(bytes, tables.classes, upper, now));
                let long = tables.decided_v6_long.iter();
                let long = long.filter_map(|table| table.find(bytes, tables.classes, key, now));
                short.chain(long).reduce(Match::or)
            }
        }
    }

    /// Whether the base is hidden for `address`. A base has no masks.
    pub fn masks(&self, address: ClientAddress) -> bool {
        let (bytes, tables) = (self.bytes.as_ref(), &self.tables);
        match address {
            ClientAddress::V4(key) => tables.masks_v4.iter().any(|masks| masks.holds(bytes, key)),
            ClientAddress::V6(key) => {
                let upper = upper_half(key);
                tables
                    .masks_v6
                    .iter()
                    .any(|masks| masks.holds(bytes, upper))
                    || tables
                        .masks_v6_long
                        .iter()
                        .any(|masks| masks.holds(bytes, key))
            }
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

impl Tables {
    fn place(rows: Vec<Row>, kind: Kind, at: usize, end: usize) -> Result<Self, ImageError> {
        let mut cursor = Cursor::new(at, end);
        let mut tables = Self::empty();
        for (at, row) in rows.iter().enumerate() {
            tables
                .add(row, kind, &mut cursor)
                .map_err(|fault| ImageError::Section { at, fault })?;
        }
        if !cursor.at_end() {
            return Err(ImageError::Section {
                at: rows.len(),
                fault: Fault::Bounds,
            });
        }
        tables.rows = rows;
        Ok(tables)
    }

    fn empty() -> Self {
        Self {
            rows: Vec::new(),
            classes: Classes::EMPTY,
            decided_v4: Vec::new(),
            decided_v6: Vec::new(),
            decided_v6_long: Vec::new(),
            masks_v4: Vec::new(),
            masks_v6: Vec::new(),
            masks_v6_long: Vec::new(),
        }
    }

    fn add(&mut self, row: &Row, kind: Kind, cursor: &mut Cursor) -> Result<(), Fault> {
        let (len, count) = (row.bits, row.count());
        match row.tag {
            Tag::Classes => self.classes.take_records(count, cursor)?,
            Tag::Text => self.classes.take_text(count, cursor)?,
            Tag::Attributes | Tag::Dense | Tag::Ranges4 | Tag::Ranges6 | Tag::Ranges6Long => {
                return Err(Fault::Tag);
            }
            Tag::Decided4 => self
                .decided_v4
                .push(DecidedTable::take(len, count, cursor)?),
            Tag::Decided6 => self
                .decided_v6
                .push(DecidedTable::take(len, count, cursor)?),
            Tag::Decided6Long => self
                .decided_v6_long
                .push(DecidedTable::take(len, count, cursor)?),
            _ if kind == Kind::Base => return Err(Fault::Place),
            Tag::Masks4 => self.masks_v4.push(Masks::take(len, count, cursor)?),
            Tag::Masks6 => self.masks_v6.push(Masks::take(len, count, cursor)?),
            Tag::Masks6Long => self.masks_v6_long.push(Masks::take(len, count, cursor)?),
        }
        Ok(())
    }
}
