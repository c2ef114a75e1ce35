//! Attributes: the pairs of class and prefix length that ranges refer to, kept once.

use std::collections::BTreeMap;

use super::check::Check;
use super::class::ClassId;
use super::column::{Column, Cursor, append_all};
use super::row::Fault;
use super::tables::Tables;

/// What a range comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Attribute {
    pub class: ClassId,
    pub prefix_len: u8,
}

/// The table: class and prefix length in the upper 24 and the lower 8 bits of a word. Numbered from 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes(Column<u32>);

/// The numbering on the way into an image.
#[derive(Debug, Default)]
pub(super) struct Numbering(BTreeMap<Attribute, u32>);

impl Attributes {
    pub const EMPTY: Self = Self(Column::EMPTY);

    pub fn take(count: usize, cursor: &mut Cursor) -> Result<Self, Fault> {
        cursor.take(count).map(Self).ok_or(Fault::Bounds)
    }

    pub fn get(self, bytes: &[u8], id: u32) -> Option<Attribute> {
        let at = usize::try_from(id).ok()?.checked_sub(1)?;
        let word = self.0.of(bytes).get(at)?;
        let [prefix_len, ..] = word.to_le_bytes();
        Some(Attribute {
            class: ClassId(word >> 8),
            prefix_len,
        })
    }
}

impl Check for Attributes {
    fn items(&self) -> usize {
        self.0.count()
    }

    fn check(&self, bytes: &[u8], tables: &Tables, at: usize) -> Result<usize, Fault> {
        let id = u32::try_from(at + 1).map_err(|_| Fault::Parameters)?;
        let attribute = self.get(bytes, id).ok_or(Fault::Bounds)?;
        if tables.classes.has(attribute.class.0) {
            Ok(1)
        } else {
            Err(Fault::Class)
        }
    }
}

impl Numbering {
    pub fn of(attributes: impl IntoIterator<Item = Attribute>) -> Self {
        let mut numbers: BTreeMap<_, _> = attributes.into_iter().map(|one| (one, 0)).collect();
        numbers
            .values_mut()
            .zip(1..)
            .for_each(|(number, next)| *number = next);
        Self(numbers)
    }

    pub fn id(&self, attribute: Attribute) -> u32 {
        self.0.get(&attribute).copied().unwrap_or(0)
    }

    /// Whether ids need more than 16 bits.
    pub fn is_wide(&self) -> bool {
        self.0.len() > usize::from(u16::MAX)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        let words = self
            .0
            .keys()
            .map(|one| (one.class.0 << 8) | u32::from(one.prefix_len));
        append_all(words, out);
    }
}
