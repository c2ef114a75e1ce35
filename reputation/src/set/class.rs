//! Classes: what entries have in common, kept once. Owns the class table and its text.

use std::collections::HashMap;

use super::check::Check;
use super::column::{Column, Cursor, Words, append_all};
use super::row::{Fault, Row, Tag, saturated};
use super::sections::Sections;
use super::tables::Tables;
use crate::policy::{Action, Band};
use crate::precedence::Rank;

/// The longest reason that is kept; a longer one is cut.
const MAX_REASON_BYTES: usize = 256;
/// Attributes keep a prefix length in the lower 8 of 32 bits.
pub(super) const MAX_CLASSES: usize = 1 << 24;

/// What an entry's effect follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Basis {
    /// The filter's own `actions` say what is done to this band.
    Band(Band),
    /// Somebody's explicit word.
    Action(Action),
}

/// What an entry says, but for its prefix and its end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Class {
    pub rank: Rank,
    pub basis: Basis,
    /// For the headers that tell the upstream, whatever the basis.
    pub band: Band,
    pub score: u8,
    /// The source or rule; cut after 256 bytes.
    pub reason: String,
}

/// A class of one image; means nothing in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassId(pub(super) u32);

/// A class as it stands in an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassView<'a> {
    pub rank: Rank,
    pub basis: Basis,
    pub band: Band,
    pub score: u8,
    pub reason: &'a str,
}

/// The class table: 12 bytes a class (rank, basis, band, score, where its reason is), then the text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Classes {
    records: Column<u32>,
    text: Column<u8>,
}

impl Class {
    pub fn view(&self) -> ClassView<'_> {
        ClassView {
            rank: self.rank,
            basis: self.basis,
            band: self.band,
            score: self.score,
            reason: &self.reason,
        }
    }

    /// The same with its reason cut to what an image keeps.
    pub(super) fn cut(&self) -> Self {
        let mut class = self.clone();
        let end = class.reason.floor_char_boundary(MAX_REASON_BYTES);
        class.reason.truncate(end);
        class
    }

    /// Which of two classes wins on the same prefix: by rank, then the more severe, then the higher
    /// score. The reason only makes the order total, so that a build does not depend on input order.
    pub(super) fn strength(&self) -> impl Ord + use<'_> {
        let action = match self.basis {
            Basis::Band(band) => band.default_action(),
            Basis::Action(action) => action,
        };
        let explicit = matches!(self.basis, Basis::Action(_));
        (
            self.rank,
            action,
            self.band,
            self.score,
            explicit,
            &self.reason,
        )
    }
}

impl Classes {
    pub const EMPTY: Self = Self {
        records: Column::EMPTY,
        text: Column::EMPTY,
    };
    const WORDS: usize = 3;

    pub fn take_records(&mut self, count: usize, cursor: &mut Cursor) -> Result<(), Fault> {
        if count > MAX_CLASSES {
            return Err(Fault::Parameters);
        }
        self.records = cursor.take(count * Self::WORDS).ok_or(Fault::Bounds)?;
        Ok(())
    }

    pub fn take_text(&mut self, count: usize, cursor: &mut Cursor) -> Result<(), Fault> {
        self.text = cursor.take(count).ok_or(Fault::Bounds)?;
        Ok(())
    }

    pub fn count(self) -> usize {
        self.records.count() / Self::WORDS
    }

    pub fn has(self, class: u32) -> bool {
        usize::try_from(class).is_ok_and(|class| class < self.count())
    }

    pub fn rank(self, bytes: &[u8], class: ClassId) -> Option<Rank> {
        let [rank, ..] = self.record(bytes, class)?.0;
        Rank::from_u8(rank)
    }

    /// The class, unless it is not there or faulty.
    pub fn view(self, bytes: &[u8], class: ClassId) -> Option<ClassView<'_>> {
        let ([rank, basis, band, score], from, length) = self.record(bytes, class)?;
        let (from, length) = (usize::try_from(from).ok()?, usize::try_from(length).ok()?);
        let reason = self.text.of(bytes).bytes(from..from.checked_add(length)?)?;
        Some(ClassView {
            rank: Rank::from_u8(rank)?,
            basis: decode_basis(basis)?,
            band: Band::from_u8(band)?,
            score: Some(score).filter(|score| *score <= 100)?,
            reason: std::str::from_utf8(reason).ok()?,
        })
    }

    fn record(self, bytes: &[u8], class: ClassId) -> Option<([u8; 4], u32, u32)> {
        let at = usize::try_from(class.0).ok()?.checked_mul(Self::WORDS)?;
        let words: Words<'_, u32> = self.records.of(bytes);
        let standing = words.get(at)?.to_le_bytes();
        Some((standing, words.get(at + 1)?, words.get(at + 2)?))
    }
}

impl Check for Classes {
    fn items(&self) -> usize {
        self.count()
    }

    fn check(&self, bytes: &[u8], _: &Tables, at: usize) -> Result<usize, Fault> {
        let class = ClassId(u32::try_from(at).map_err(|_| Fault::Class)?);
        match self.view(bytes, class) {
            Some(view) if view.reason.len() <= MAX_REASON_BYTES => Ok(1 + view.reason.len()),
            _ => Err(Fault::Standing),
        }
    }
}

/// Writes the records and their text.
pub(super) fn write(classes: &[Class], out: &mut Sections) {
    let (mut text, mut known) = (String::new(), HashMap::new());
    out.add(|records| {
        for class in classes {
            let (rank, band) = (class.rank as u8, class.band as u8);
            let standing = [rank, encode_basis(class.basis), band, class.score.min(100)];
            let from = *known.entry(&class.reason).or_insert_with(|| {
                text.push_str(&class.reason);
                text.len() - class.reason.len()
            });
            let (from, length) = (saturated(from), saturated(class.reason.len()));
            append_all([u32::from_le_bytes(standing), from, length], records);
        }
        Row::new(Tag::Classes, 0, classes.len())
    });
    out.add(|bytes| {
        bytes.extend_from_slice(text.as_bytes());
        Row::new(Tag::Text, 0, text.len())
    });
}

const EXPLICIT: u8 = 0x10;

fn encode_basis(basis: Basis) -> u8 {
    match basis {
        Basis::Band(band) => band as u8,
        Basis::Action(action) => EXPLICIT | action as u8,
    }
}

fn decode_basis(value: u8) -> Option<Basis> {
    if value & EXPLICIT == 0 {
        Band::from_u8(value).map(Basis::Band)
    } else {
        Action::from_u8(value ^ EXPLICIT).map(Basis::Action)
    }
}
