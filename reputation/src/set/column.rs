//! Columns of little-endian words inside an image. Owns all reading of numbers from its bytes, which
//! need no alignment and are never trusted: whatever is out of bounds is absent, never a trap.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::ops::Range;

/// A number as it stands in an image.
pub(super) trait Word: Copy + Ord + Debug {
    const BYTES: usize;
    type Raw: Copy;

    fn raw(bytes: &[u8]) -> &[Self::Raw];
    fn decode(raw: Self::Raw) -> Self;
    fn append(self, out: &mut Vec<u8>);
}

/// Where a column stands in the image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column<W> {
    at: usize,
    count: usize,
    word: PhantomData<W>,
}

/// A column's words.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words<'a, W: Word>(&'a [W::Raw]);

/// Hands out columns one behind the other and refuses those that do not fit.
#[derive(Debug)]
pub(super) struct Cursor {
    at: usize,
    end: usize,
}

impl<W: Word> Column<W> {
    pub const EMPTY: Self = Self {
        at: 0,
        count: 0,
        word: PhantomData,
    };

    pub fn count(self) -> usize {
        self.count
    }

    pub fn of(self, bytes: &[u8]) -> Words<'_, W> {
        let range = self.at..self.at.saturating_add(self.count.saturating_mul(W::BYTES));
        Words(W::raw(bytes.get(range).unwrap_or_default()))
    }
}

impl<W: Word> Words<'_, W> {
    pub fn get(self, at: usize) -> Option<W> {
        self.0.get(at).copied().map(W::decode)
    }

    pub fn len(self) -> usize {
        self.0.len()
    }

    /// The words in `range`; none if it is not inside.
    pub fn part(self, range: Range<usize>) -> Self {
        Self(self.0.get(range).unwrap_or_default())
    }

    /// How many words are below `key`, if they are sorted.
    pub fn below(self, key: W) -> usize {
        self.0.partition_point(|raw| W::decode(*raw) < key)
    }

    /// How many words are at most `key`, if they are sorted.
    pub fn up_to(self, key: W) -> usize {
        self.0.partition_point(|raw| W::decode(*raw) <= key)
    }

    pub fn last(self) -> Option<W> {
        self.0.last().copied().map(W::decode)
    }

    /// Whether each word is above the one before it.
    pub fn is_ascending(self) -> bool {
        let decode = |[one, next]: &[W::Raw; 2]| (W::decode(*one), W::decode(*next));
        self.0
            .array_windows()
            .map(decode)
            .all(|(one, next)| one < next)
    }

    pub fn iter(self) -> impl Iterator<Item = W> {
        self.0.iter().copied().map(W::decode)
    }
}

impl<'a> Words<'a, u8> {
    /// The octets in `range`, if it is inside.
    pub fn bytes(self, range: Range<usize>) -> Option<&'a [u8]> {
        self.0.get(range).map(<[[u8; 1]]>::as_flattened)
    }
}

impl Cursor {
    pub fn new(at: usize, end: usize) -> Self {
        Self { at, end }
    }

    /// The next column, or `None` if it would reach beyond the end.
    pub fn take<W: Word>(&mut self, count: usize) -> Option<Column<W>> {
        let end = count.checked_mul(W::BYTES)?.checked_add(self.at)?;
        if end > self.end {
            return None;
        }
        let column = Column {
            at: self.at,
            count,
            word: PhantomData,
        };
        self.at = end;
        Some(column)
    }

    pub fn at_end(&self) -> bool {
        self.at == self.end
    }
}

pub(super) fn append_all<W: Word>(words: impl IntoIterator<Item = W>, out: &mut Vec<u8>) {
    for word in words {
        word.append(out);
    }
}

macro_rules! words {
    ($($word:ty: $bytes:literal),*) => {$(
        impl Word for $word {
            const BYTES: usize = $bytes;
            type Raw = [u8; $bytes];

            fn raw(bytes: &[u8]) -> &[Self::Raw] {
                bytes.as_chunks().0
            }

            fn decode(raw: Self::Raw) -> Self {
                Self::from_le_bytes(raw)
            }

            fn append(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}

words!(u8: 1, u16: 2, u32: 4, u64: 8, u128: 16);
