//! The checker: whether what an opened image holds is in order. It can be interrupted after any number
//! of items, because a proxy checks an image between requests.

use super::format::{Fault, ImageError, Tag};
use super::image::{Image, Tables};

/// Whether the checker has seen everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    More,
    Done,
}

/// Where a check stands. One checker is for one image.
#[derive(Debug, Clone, Default)]
pub struct Checker {
    row: usize,
    item: usize,
}

impl Checker {
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks about `max_items` more. An error is final: the image must not be used.
    pub fn step<B: AsRef<[u8]>>(
        &mut self,
        image: &Image<B>,
        max_items: usize,
    ) -> Result<Progress, ImageError> {
        let (bytes, tables) = image.parts();
        let mut left = max_items.max(1);
        while let Some(items) = self.items(tables) {
            if self.item >= items {
                (self.row, self.item) = (self.row + 1, 0);
                continue;
            }
            if left == 0 {
                return Ok(Progress::More);
            }
            self.check(bytes, tables)
                .map_err(|fault| ImageError::Section {
                    at: self.row,
                    fault,
                })?;
            self.item += 1;
            left -= 1;
        }
        Ok(Progress::Done)
    }

    /// How many items the present row has; `None` behind the last.
    fn items(&self, tables: &Tables) -> Option<usize> {
        let row = tables.rows.get(self.row)?;
        Some(match row.tag {
            Tag::Text => 0,
            _ => row.count(),
        })
    }

    fn check(&self, bytes: &[u8], tables: &Tables) -> Result<(), Fault> {
        let Some(row) = tables.rows.get(self.row) else {
            return Ok(());
        };
        // Rows of one tag stand together, and tables are in the order of their rows.
        let nth = tables
            .rows
            .iter()
            .take(self.row)
            .filter(|before| before.tag == row.tag)
            .count();
        let (at, classes) = (self.item, tables.classes);
        let checked = match row.tag {
            Tag::Classes => Some(classes.check(bytes, at)),
            Tag::Decided4 => tables
                .decided_v4
                .get(nth)
                .map(|table| table.check(bytes, classes, at)),
            Tag::Decided6 => tables
                .decided_v6
                .get(nth)
                .map(|table| table.check(bytes, classes, at)),
            Tag::Decided6Long => tables
                .decided_v6_long
                .get(nth)
                .map(|table| table.check(bytes, classes, at)),
            Tag::Masks4 => tables.masks_v4.get(nth).map(|masks| masks.check(bytes, at)),
            Tag::Masks6 => tables.masks_v6.get(nth).map(|masks| masks.check(bytes, at)),
            Tag::Masks6Long => tables
                .masks_v6_long
                .get(nth)
                .map(|masks| masks.check(bytes, at)),
            _ => None,
        };
        checked.unwrap_or(Err(Fault::Tag))
    }
}
