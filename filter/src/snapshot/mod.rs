//! The snapshot that this VM decides by: the active base and overlay, and the buffers of the ones before,
//! which serve as standby, so that nothing grows with the number of swaps.

pub mod fleet;
pub mod keys;
pub mod lease;
mod load;
pub mod loader;
pub mod puller;
pub mod record;
pub mod trying;

use reputation::UnixSeconds;
use reputation::digest::Digest;
use reputation::manifest::{Askable, Manifest, SnapshotVersion};
use reputation::set::{Image, Kind};

use keys::Layer;

pub type Bytes = Vec<u8>;

#[derive(Default)]
pub struct Snapshot {
    base: Option<Image<Bytes>>,
    overlay: Option<Image<Bytes>>,
    spare_base: Bytes,
    spare_overlay: Bytes,
    active: Option<Active>,
    /// No request was decided by what is active yet.
    on_trial: bool,
}

/// What is active, without its images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Active {
    version: SnapshotVersion,
    generation: u32,
    askable: Askable,
    built_at: UnixSeconds,
    base: Digest,
    overlay: Digest,
}

/// New images on their way in; what is absent stays as it is.
#[derive(Default)]
pub struct Incoming {
    pub base: Option<Image<Bytes>>,
    pub overlay: Option<Image<Bytes>>,
}

/// Why images do not make a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// A base that is an overlay, or the reverse.
    Kind,
    /// The overlay is for another base.
    Base,
}

impl Snapshot {
    pub fn base(&self) -> Option<&Image<Bytes>> {
        self.base.as_ref()
    }

    pub fn overlay(&self) -> Option<&Image<Bytes>> {
        self.overlay.as_ref()
    }

    pub fn version(&self) -> Option<SnapshotVersion> {
        self.active.map(|active| active.version)
    }

    pub fn built_at(&self) -> Option<UnixSeconds> {
        self.active.map(|active| active.built_at)
    }

    /// Under which generation look-ups are asked and cached.
    pub fn generation(&self) -> u32 {
        self.active.map_or(0, |active| active.generation)
    }

    /// Who can be asked about an address in neither image. Before the first snapshot that is not known,
    /// so it is asked about as if somebody had a say.
    pub fn askable(&self) -> Askable {
        self.active
            .map_or(Askable::Sources, |active| active.askable)
    }

    /// Whether the active image of this layer is the one that `manifest` names.
    pub fn has(&self, layer: Layer, manifest: &Manifest) -> bool {
        self.active.is_some_and(|active| match layer {
            Layer::Base => active.base == manifest.base.digest,
            Layer::Overlay => active.overlay == manifest.overlay.digest,
        })
    }

    /// An empty buffer for an image of `length` bytes: the one of the image before the active one.
    pub fn buffer(&mut self, layer: Layer, length: usize) -> Bytes {
        let spare = self.spare(layer);
        let mut bytes = std::mem::take(spare);
        bytes.clear();
        // Exact: a buffer that doubles would cost a second image.
        bytes.reserve_exact(length);
        bytes
    }

    /// Gives a buffer back for the next load.
    pub fn give_back(&mut self, layer: Layer, bytes: Bytes) {
        *self.spare(layer) = bytes;
    }

    /// Whether `incoming`, with what stays, is a snapshot as `manifest` describes it.
    pub fn check(&self, manifest: &Manifest, incoming: &Incoming) -> Result<(), Mismatch> {
        let base = incoming.base.as_ref().or(self.base.as_ref());
        let overlay = incoming.overlay.as_ref().or(self.overlay.as_ref());
        match (
            base.map(|image| image.meta().kind),
            overlay.map(|image| image.meta().kind),
        ) {
            (Some(Kind::Base), Some(Kind::Overlay { base })) if base == manifest.base.digest => {
                Ok(())
            }
            (Some(Kind::Base), Some(Kind::Overlay { .. })) => Err(Mismatch::Base),
            _ => Err(Mismatch::Kind),
        }
    }

    /// Makes `incoming` the active snapshot, in constant time.
    pub fn activate(&mut self, manifest: &Manifest, incoming: Incoming) {
        if incoming.base.is_some() || incoming.overlay.is_some() {
            self.on_trial = true;
        }
        if let Some(image) = incoming.base {
            let old = self.base.replace(image).map(Image::into_bytes);
            self.spare_base = old.unwrap_or_default();
        }
        if let Some(image) = incoming.overlay {
            let old = self.overlay.replace(image).map(Image::into_bytes);
            self.spare_overlay = old.unwrap_or_default();
        }
        self.active = Some(Active {
            version: manifest.version,
            generation: manifest.generation,
            askable: manifest.askable(),
            built_at: manifest.built_at,
            base: manifest.base.digest,
            overlay: manifest.overlay.digest,
        });
    }

    /// The version that is active without having decided a request yet.
    pub fn on_trial(&self) -> Option<SnapshotVersion> {
        self.version().filter(|_| self.on_trial)
    }

    /// A request was decided by what is active.
    pub fn trial_ends(&mut self) {
        self.on_trial = false;
    }

    fn spare(&mut self, layer: Layer) -> &mut Bytes {
        match layer {
            Layer::Base => &mut self.spare_base,
            Layer::Overlay => &mut self.spare_overlay,
        }
    }
}

#[cfg(test)]
mod tests;
