//! The compiled IP set: one flat image that the sidecar builds and every proxy carries in memory.
//!
//! Owns the file format, its builder, its reader and its checker. Does not decide what goes in (the
//! sidecar does), nor how base and overlay are read together (`lookup`), nor how images travel
//! (`manifest`).
//!
//! An image has a *listed* part, which holds what feeds list without an end of its own, and a *decided*
//! part, which holds explicit decisions and whatever lapses. The listed part is flattened, so that size
//! and speed do not depend on how entries nest; the decided part keeps every entry, so that whatever
//! lies beneath a lapsed one shows again without anybody's help.

mod attributes;
mod builder;
mod check;
mod class;
mod column;
mod decided;
mod dense;
mod flatten;
mod format;
mod image;
mod listed;
mod masks;
mod order;
mod place;
mod ranges;
mod row;
mod sections;
mod tables;
#[cfg(test)]
mod tests;

pub use builder::{BuildError, Decided, ImageBuilder};
pub use check::{Checker, Progress};
pub use class::{Basis, Class, ClassId, ClassView};
pub use format::{ImageError, Kind, Meta};
pub use image::{Counts, Image, Match};
pub use row::Fault;
