//! Which snapshots are taken up, and what has to be fetched for one.

use std::collections::VecDeque;

use reputation::UnixSeconds;
use reputation::digest::Digest;
use reputation::manifest::{MAX_PART_BYTES, Manifest};

use super::answer::Fault;
use crate::metrics::Refusal;
use crate::snapshot::keys::{Layer, Slot};
use crate::snapshot::record::Record;

/// How far an epoch, which is a creation time, may lie in the future: after one beyond all clocks nothing
/// newer could ever come.
const EPOCH_SKEW_S: u64 = 2 * 86_400;

/// A part of an image, and where in shared memory it belongs.
#[derive(Clone, Copy)]
pub struct Part {
    pub layer: Layer,
    pub slot: Slot,
    pub index: usize,
    pub digest: Digest,
    pub length: usize,
}

/// Refuses what is not newer, out of date, or of an epoch after which nothing could come.
pub fn check(manifest: &Manifest, current: Option<&Record>, now: UnixSeconds) -> Result<(), Fault> {
    let version = manifest.version;
    if let Some(current) = current.map(Record::version)
        && version <= current
    {
        let message = format!("snapshot {version} was refused: {current} is already here");
        return Err(Fault::Refused(Refusal::Older, message));
    }
    if version.epoch > u64::from(now.0).saturating_add(EPOCH_SKEW_S) {
        let message = format!("snapshot {version} was refused: its epoch lies in the future");
        return Err(Fault::Refused(Refusal::Malformed, message));
    }
    if manifest.valid_until <= now {
        let message = format!("snapshot {version} was refused: it is past its valid_until");
        return Err(Fault::Refused(Refusal::Expired, message));
    }
    Ok(())
}

/// Where the images of `manifest` go, and which parts have to be fetched for that: an image that is
/// already here stays where it is.
pub fn plan(manifest: Manifest, current: Option<&Record>) -> (Record, VecDeque<Part>) {
    let place = |layer| match current {
        None => (Slot::A, true),
        Some(record) => {
            let wanted = match layer {
                Layer::Base => &manifest.base,
                Layer::Overlay => &manifest.overlay,
            };
            let same = record.image(layer).digest == wanted.digest;
            let slot = record.slot(layer);
            (if same { slot } else { slot.other() }, !same)
        }
    };
    let ((base, fetch_base), (overlay, fetch_overlay)) =
        (place(Layer::Base), place(Layer::Overlay));
    let record = Record {
        manifest,
        base,
        overlay,
    };
    let mut todo = VecDeque::new();
    for (layer, fetch) in [(Layer::Base, fetch_base), (Layer::Overlay, fetch_overlay)] {
        if fetch {
            todo.extend(parts(&record, layer));
        }
    }
    (record, todo)
}

fn parts(record: &Record, layer: Layer) -> impl Iterator<Item = Part> {
    let (image, slot) = (record.image(layer), record.slot(layer));
    image.parts.iter().enumerate().map(move |(index, digest)| {
        let before = index.saturating_mul(MAX_PART_BYTES);
        Part {
            layer,
            slot,
            index,
            digest: *digest,
            length: image.length.saturating_sub(before).min(MAX_PART_BYTES),
        }
    })
}
