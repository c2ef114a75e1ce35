//! Where everything stands in an opened image. Owns the way from the section table to the sections, and
//! the choice between what they find.

use super::attributes::Attributes;
use super::check::Check;
use super::class::{ClassId, Classes};
use super::column::Cursor;
use super::decided::DecidedTable;
use super::dense::Dense;
use super::format::{ImageError, Kind};
use super::image::Match;
use super::masks::Masks;
use super::place::{Key, upper_half};
use super::ranges::Ranges;
use super::row::{Fault, Row, Tag};
use crate::time::UnixSeconds;

#[derive(Debug)]
pub(super) struct Tables {
    pub rows: Vec<Row>,
    pub classes: Classes,
    pub attributes: Attributes,
    dense: Vec<Dense>,
    v4: Family<u32>,
    /// Prefixes of at most 64 bits.
    v6: Family<u64>,
    v6_long: Family<u128>,
}

/// What is kept on one width.
#[derive(Debug)]
struct Family<K> {
    ranges: Option<Ranges<K>>,
    decided: Vec<DecidedTable<K>>,
    masks: Vec<Masks<K>>,
}

impl Tables {
    /// Places the sections one behind the other from `at`; they must end at `end`.
    pub fn place(rows: Vec<Row>, kind: Kind, at: usize, end: usize) -> Result<Self, ImageError> {
        let mut cursor = Cursor::new(at, end);
        let mut tables = Self {
            rows: Vec::new(),
            classes: Classes::EMPTY,
            attributes: Attributes::EMPTY,
            dense: Vec::new(),
            v4: Family::new(),
            v6: Family::new(),
            v6_long: Family::new(),
        };
        for (at, row) in rows.iter().enumerate() {
            let added = tables.add(row, kind, &mut cursor);
            added.map_err(|fault| ImageError::Section { at, fault })?;
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

    fn add(&mut self, row: &Row, kind: Kind, cursor: &mut Cursor) -> Result<(), Fault> {
        let count = row.count();
        match row.tag {
            Tag::Classes => self.classes.take_records(count, cursor),
            Tag::Text => self.classes.take_text(count, cursor),
            Tag::Attributes => Attributes::take(count, cursor).map(|taken| self.attributes = taken),
            Tag::Dense => Dense::take(row, cursor).map(|set| self.dense.push(set)),
            Tag::Ranges4 => self.v4.add_ranges(row, cursor),
            Tag::Ranges6 => self.v6.add_ranges(row, cursor),
            Tag::Ranges6Long => self.v6_long.add_ranges(row, cursor),
            Tag::Decided4 => self.v4.add_decided(row, cursor),
            Tag::Decided6 => self.v6.add_decided(row, cursor),
            Tag::Decided6Long => self.v6_long.add_decided(row, cursor),
            _ if kind == Kind::Base => Err(Fault::Place),
            Tag::Masks4 => self.v4.add_masks(row, cursor),
            Tag::Masks6 => self.v6.add_masks(row, cursor),
            Tag::Masks6Long => self.v6_long.add_masks(row, cursor),
        }
    }

    #[inline]
    pub fn find_v4(&self, bytes: &[u8], key: u32, now: UnixSeconds) -> Option<Match> {
        let set = self.dense.iter().find(|set| set.holds(bytes, key));
        let exact = set.and_then(|set| self.listing(bytes, set.class, u32::WIDTH));
        better(self.find(&self.v4, bytes, key, now), exact)
    }

    #[inline]
    pub fn find_v6(&self, bytes: &[u8], key: u128, now: UnixSeconds) -> Option<Match> {
        let long = self.find(&self.v6_long, bytes, key, now);
        better(long, self.find(&self.v6, bytes, upper_half(key), now))
    }

    pub fn masks_v4(&self, bytes: &[u8], key: u32) -> bool {
        self.v4.is_masked(bytes, key)
    }

    pub fn masks_v6(&self, bytes: &[u8], key: u128) -> bool {
        self.v6.is_masked(bytes, upper_half(key)) || self.v6_long.is_masked(bytes, key)
    }

    /// The section of the row at `at`: `None` behind the last row, `Some(None)` where nothing is to be
    /// checked.
    pub fn table(&self, at: usize) -> Option<Option<&dyn Check>> {
        let row = self.rows.get(at)?;
        // Rows of one tag stand together, and their sections are in their order.
        let nth = self
            .rows
            .iter()
            .take(at)
            .filter(|before| before.tag == row.tag)
            .count();
        Some(match row.tag {
            Tag::Classes => Some(&self.classes),
            Tag::Text => None,
            Tag::Attributes => Some(&self.attributes),
            Tag::Dense => nth_of(&self.dense, nth),
            Tag::Ranges4 => nth_of(self.v4.ranges.as_slice(), nth),
            Tag::Ranges6 => nth_of(self.v6.ranges.as_slice(), nth),
            Tag::Ranges6Long => nth_of(self.v6_long.ranges.as_slice(), nth),
            Tag::Decided4 => nth_of(&self.v4.decided, nth),
            Tag::Decided6 => nth_of(&self.v6.decided, nth),
            Tag::Decided6Long => nth_of(&self.v6_long.decided, nth),
            Tag::Masks4 => nth_of(&self.v4.masks, nth),
            Tag::Masks6 => nth_of(&self.v6.masks, nth),
            Tag::Masks6Long => nth_of(&self.v6_long.masks, nth),
        })
    }

    /// The better of decided and listed entries on one width; of equals the decided one, which has an id
    /// or an end to tell.
    #[inline]
    fn find<K: Key>(
        &self,
        family: &Family<K>,
        bytes: &[u8],
        key: K,
        now: UnixSeconds,
    ) -> Option<Match> {
        let listed = family
            .ranges
            .as_ref()
            .and_then(|ranges| ranges.find(bytes, key));
        let listed = listed.and_then(|id| {
            let attribute = self.attributes.get(bytes, id)?;
            self.listing(bytes, attribute.class, attribute.prefix_len)
        });
        let mut best = None;
        for table in &family.decided {
            best = better(best, table.find(bytes, self.classes, key, now));
        }
        better(best, listed)
    }

    fn listing(&self, bytes: &[u8], class: ClassId, prefix_len: u8) -> Option<Match> {
        let rank = self.classes.rank(bytes, class)?;
        Some(Match {
            rank,
            prefix_len,
            class,
            decision: None,
            expires: None,
        })
    }
}

impl<K: Key> Family<K> {
    const fn new() -> Self {
        Self {
            ranges: None,
            decided: Vec::new(),
            masks: Vec::new(),
        }
    }

    fn add_ranges(&mut self, row: &Row, cursor: &mut Cursor) -> Result<(), Fault> {
        match self.ranges.replace(Ranges::take(row, cursor)?) {
            None => Ok(()),
            Some(_) => Err(Fault::Place),
        }
    }

    fn add_decided(&mut self, row: &Row, cursor: &mut Cursor) -> Result<(), Fault> {
        DecidedTable::take(row, cursor).map(|table| self.decided.push(table))
    }

    fn add_masks(&mut self, row: &Row, cursor: &mut Cursor) -> Result<(), Fault> {
        Masks::take(row, cursor).map(|masks| self.masks.push(masks))
    }

    fn is_masked(&self, bytes: &[u8], key: K) -> bool {
        self.masks.iter().any(|masks| masks.holds(bytes, key))
    }
}

#[inline]
fn better(one: Option<Match>, other: Option<Match>) -> Option<Match> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.or(other)),
        (one, other) => one.or(other),
    }
}

fn nth_of<T: Check>(tables: &[T], nth: usize) -> Option<&dyn Check> {
    tables.get(nth).map(|table| table as &dyn Check)
}
