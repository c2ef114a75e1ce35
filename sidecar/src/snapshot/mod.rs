//! How what is known becomes an image and reaches the proxies: `compile` turns feeds into entries,
//! `overlay` finds what differs from the base, `press` builds and numbers, `publish` hands out.
//!
//! Does not own the file format (`reputation::set`) nor where entries come from (`intelligence`).

pub mod canary;
pub mod compile;
mod image;
pub mod overlay;
mod prepare;
mod press;
pub mod publish;
mod published;
mod side_by_side;
mod soft;
mod spoken;
#[cfg(test)]
mod tests;

pub use image::class_of;
pub use publish::{Changed, Publisher, Workshop};
pub use published::Published;
