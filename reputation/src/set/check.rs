//! The checker: whether what an opened image holds is in order. It can be interrupted after any number
//! of items, because a proxy checks an image between requests.

use super::format::ImageError;
use super::image::Image;
use super::row::Fault;
use super::tables::Tables;

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

/// A section that can be checked item by item.
pub(super) trait Check {
    fn items(&self) -> usize;
    /// Checks one item and says what it cost, in words read.
    fn check(&self, bytes: &[u8], tables: &Tables, at: usize) -> Result<usize, Fault>;
}

impl Checker {
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks about `max_items` more; one bucket of a dense set, at most 4,096 addresses, is the least
    /// that it does. An error is final: the image must not be used.
    pub fn step<B: AsRef<[u8]>>(
        &mut self,
        image: &Image<B>,
        max_items: usize,
    ) -> Result<Progress, ImageError> {
        let (bytes, tables) = image.parts();
        let mut left = max_items.max(1);
        while let Some(table) = tables.table(self.row) {
            let items = table.map_or(0, Check::items);
            while let Some(table) = table.filter(|_| self.item < items) {
                if left == 0 {
                    return Ok(Progress::More);
                }
                let cost = table.check(bytes, tables, self.item);
                let cost = cost.map_err(|fault| ImageError::Section {
                    at: self.row,
                    fault,
                })?;
                left = left.saturating_sub(cost);
                self.item += 1;
            }
            (self.row, self.item) = (self.row + 1, 0);
        }
        Ok(Progress::Done)
    }
}
