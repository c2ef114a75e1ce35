//! The sections of an image on their way into it.

use super::format::{self, Meta};
use super::row::Row;

/// Sections in any order; an image has them in the order of its table.
#[derive(Debug, Default)]
pub(super) struct Sections(Vec<(Row, Vec<u8>)>);

impl Sections {
    /// Adds what `write` appends, under the row that it gives. Empty sections are left out.
    pub fn add(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Row) {
        let mut bytes = Vec::new();
        let row = write(&mut bytes);
        if row.count > 0 {
            self.0.push((row, bytes));
        }
    }

    /// The whole image; `None` if it would be larger than an image may be.
    pub fn into_image(mut self, meta: &Meta) -> Option<Vec<u8>> {
        self.0.sort_by_key(|(row, _)| row.place());
        let (rows, parts): (Vec<_>, Vec<_>) = self.0.into_iter().unzip();
        format::write(meta, &rows, &parts)
    }
}
