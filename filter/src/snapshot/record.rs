//! What the fetcher leaves in shared memory for the others: which snapshot is there, and in which places.

use reputation::json::{self, Fields};
use reputation::manifest::{ImageRef, Manifest, SnapshotVersion};
use serde::Serialize;

use super::keys::{Keys, Layer, Slot};
use crate::host::Host;
use crate::turn::Random;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record {
    pub manifest: Manifest,
    pub base: Slot,
    pub overlay: Slot,
}

impl Record {
    pub fn version(&self) -> SnapshotVersion {
        self.manifest.version
    }

    pub fn slot(&self, layer: Layer) -> Slot {
        match layer {
            Layer::Base => self.base,
            Layer::Overlay => self.overlay,
        }
    }

    pub fn image(&self, layer: Layer) -> &ImageRef {
        match layer {
            Layer::Base => &self.manifest.base,
            Layer::Overlay => &self.manifest.overlay,
        }
    }
}

/// Reads the record under `key`. What is not one counts as absent: other plugins may write here too, and
/// a length beyond all bounds would be memory that we ask for.
pub fn read<H: Host>(host: &H, key: &str) -> Option<Record> {
    let (bytes, _) = host.shared(key)?;
    let value = json::parse(&bytes).ok()?;
    let fields = Fields::of(&value).ok()?;
    Some(Record {
        manifest: Manifest::read(fields.value("manifest")?).ok()?,
        base: Slot::of_name(fields.text("base").ok()?)?,
        overlay: Slot::of_name(fields.text("overlay").ok()?)?,
    })
}

pub fn write<H: Host>(host: &H, key: &str, record: &Record) {
    let bytes = serde_json::to_vec(record).unwrap_or_default();
    // Without a condition a write cannot be beaten by another.
    let _written = host.set_shared(key, &bytes, None);
}

pub fn erase<H: Host>(host: &H, key: &str) {
    let _written = host.set_shared(key, b"", None);
}

/// Tells every VM that there is something new to read.
pub fn announce<H: Host>(host: &H, keys: &Keys, random: &mut Random) {
    let _written = host.set_shared(&keys.signal, &random.draw().to_le_bytes(), None);
}
