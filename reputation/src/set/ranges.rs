//! Disjoint ranges of one width, each with an attribute, as their sorted boundaries. Owns their layout;
//! `flatten` makes them.
//!
//! A range reaches from its start to the next start, and attribute 0 is a gap. Where there are many, an
//! index by the upper bits narrows the search.

use super::attributes::Attribute;
use super::check::Check;
use super::column::{Column, Cursor, append_all};
use super::flatten::Range;
use super::place::Key;
use super::row::{Fault, Row, Tag, saturated};
use super::tables::Tables;

/// Attribute ids have 32 instead of 16 bits.
const WIDE: u16 = 1;
/// The most bits of an index: 256 KiB.
const MAX_BITS: u8 = 16;

#[derive(Debug, Clone, Copy)]
pub(super) struct Ranges<K> {
    starts: Column<K>,
    /// For each value of the upper `bits`, how many starts are below it; one more at the end. Empty if
    /// `bits` is 0.
    index: Column<u32>,
    bits: u8,
    attributes: Ids,
}

#[derive(Debug, Clone, Copy)]
enum Ids {
    Narrow(Column<u16>),
    Wide(Column<u32>),
}

impl<K: Key> Ranges<K> {
    pub fn take(row: &Row, cursor: &mut Cursor) -> Result<Self, Fault> {
        if row.bits > MAX_BITS || row.flags > WIDE {
            return Err(Fault::Parameters);
        }
        let mut columns = || {
            Some(Self {
                bits: row.bits,
                starts: cursor.take(row.count())?,
                index: cursor.take(index_words(row.bits))?,
                attributes: match row.flags {
                    WIDE => Ids::Wide(cursor.take(row.count())?),
                    _ => Ids::Narrow(cursor.take(row.count())?),
                },
            })
        };
        columns().ok_or(Fault::Bounds)
    }

    /// The attribute of the range around `key`; `None` in a gap.
    pub fn find(&self, bytes: &[u8], key: K) -> Option<u32> {
        let starts = self.starts.of(bytes);
        let begun = if self.bits == 0 {
            starts.up_to(key)
        } else {
            let (index, top) = (self.index.of(bytes), key.top(self.bits));
            let from = usize::try_from(index.get(top)?).ok()?;
            let to = usize::try_from(index.get(top + 1)?).ok()?;
            from.checked_add(starts.part(from..to).up_to(key))?
        };
        self.attribute(bytes, begun.checked_sub(1)?)
            .filter(|id| *id != 0)
    }

    fn attribute(&self, bytes: &[u8], at: usize) -> Option<u32> {
        match self.attributes {
            Ids::Narrow(ids) => ids.of(bytes).get(at).map(u32::from),
            Ids::Wide(ids) => ids.of(bytes).get(at),
        }
    }

    fn check_range(&self, bytes: &[u8], tables: &Tables, at: usize) -> Result<(), Fault> {
        let starts = self.starts.of(bytes);
        let before = at.checked_sub(1).and_then(|before| starts.get(before));
        if before >= starts.get(at) {
            return Err(Fault::Unsorted);
        }
        match self.attribute(bytes, at).ok_or(Fault::Bounds)? {
            0 => Ok(()),
            id => {
                let attribute = tables.attributes.get(bytes, id).ok_or(Fault::Class)?;
                if attribute.prefix_len <= K::WIDTH {
                    Ok(())
                } else {
                    Err(Fault::Parameters)
                }
            }
        }
    }

    fn check_index(&self, bytes: &[u8], at: usize) -> Result<(), Fault> {
        let starts = self.starts.of(bytes);
        let below = self.index.of(bytes).get(at).ok_or(Fault::Bounds)?;
        let below = usize::try_from(below).map_err(|_| Fault::Index)?;
        let top = |start: K| start.top(self.bits);
        let last_below = below
            .checked_sub(1)
            .map(|before| starts.get(before).map(top));
        let first_above = starts.get(below).map(top);
        let fits = below <= starts.len()
            && last_below.is_none_or(|last| last.is_some_and(|last| last < at))
            && first_above.is_none_or(|first| first >= at);
        if fits { Ok(()) } else { Err(Fault::Index) }
    }
}

impl<K: Key> Check for Ranges<K> {
    fn items(&self) -> usize {
        self.starts.count() + self.index.count()
    }

    fn check(&self, bytes: &[u8], tables: &Tables, at: usize) -> Result<usize, Fault> {
        match at.checked_sub(self.starts.count()) {
            None => self.check_range(bytes, tables, at)?,
            Some(at) => self.check_index(bytes, at)?,
        }
        Ok(1)
    }
}

/// Writes ranges and gives their row. `id` numbers attributes from 1; `wide` says that some need more
/// than 16 bits.
pub(super) fn write<K: Key>(
    tag: Tag,
    ranges: &[Range<K>],
    wide: bool,
    id: impl Fn(Attribute) -> u32,
    out: &mut Vec<u8>,
) -> Row {
    let bits = if K::WIDTH == 32 {
        bits_for(ranges.len())
    } else {
        0
    };
    append_all(ranges.iter().map(|range| range.start), out);
    let below = |top| ranges.partition_point(|range| range.start.top(bits) < top);
    append_all((0..index_words(bits)).map(below).map(saturated), out);
    let ids = ranges.iter().map(|range| range.attribute.map_or(0, &id));
    if wide {
        append_all(ids, out);
    } else {
        append_all(ids.map(|id| u16::try_from(id).unwrap_or(0)), out);
    }
    let mut row = Row::new(tag, bits, ranges.len());
    row.flags = if wide { WIDE } else { 0 };
    row.entries = saturated(
        ranges
            .iter()
            .filter(|range| range.attribute.is_some())
            .count(),
    );
    row
}

/// The bits of an index that costs at most a byte per boundary; few boundaries need none.
fn bits_for(ranges: usize) -> u8 {
    let bits = (ranges / 4).checked_ilog2().unwrap_or(0);
    u8::try_from(bits).unwrap_or(MAX_BITS).min(MAX_BITS)
}

fn index_words(bits: u8) -> usize {
    if bits == 0 { 0 } else { (1 << bits) + 1 }
}
