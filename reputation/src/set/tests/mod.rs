//! The set as a whole: against a plain model, on hostile bytes, and its size.

mod checker;
mod hostile;
mod layers;
mod model;
mod single;
mod size;

use super::{Checker, Image, ImageBuilder, ImageError, Kind, Meta, Progress};
use crate::manifest::SnapshotVersion;
use crate::time::UnixSeconds;

fn meta(kind: Kind) -> Meta {
    Meta {
        kind,
        version: SnapshotVersion {
            epoch: 7,
            version: 3,
        },
        built_at: UnixSeconds(10),
        valid_until: UnixSeconds(1000),
    }
}

/// A base in which four addresses of a class make a dense set already.
fn builder(kind: Kind) -> ImageBuilder {
    ImageBuilder::with_dense_from(meta(kind), 4)
}

fn check<B: AsRef<[u8]>>(image: &Image<B>, max_items: usize) -> Result<usize, ImageError> {
    let mut checker = Checker::new();
    let mut steps = 1;
    while checker.step(image, max_items)? == Progress::More {
        steps += 1;
    }
    Ok(steps)
}
