//! What the sidecar tells every proxy: which snapshot is current, of what parts it is made, and which
//! mode the operator asks for. Sent as JSON by long poll; kept in the proxy's shared memory.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::digest::Digest;
use crate::mode::ModeOverride;
use crate::time::UnixSeconds;

/// The wire version that this build speaks. Neighbouring versions must understand each other.
pub const WIRE_VERSION: u32 = 1;
/// The largest part, in bytes: one read of shared memory, one digest, well under a millisecond each.
pub const MAX_PART_BYTES: usize = 128 * 1024;
/// The largest image that is accepted, in bytes.
pub const MAX_IMAGE_BYTES: usize = 64 * 1024 * 1024;

/// Orders snapshots: by epoch (creation of the decision store), then by version within it.
/// Written `EPOCH.VERSION`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct SnapshotVersion {
    pub epoch: u64,
    pub version: u64,
}

/// One image and the parts that make it up, in order. All parts but the last have [`MAX_PART_BYTES`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRef {
    /// [`Digest::of_parts`] of `parts`.
    pub digest: Digest,
    /// Length of the whole image in bytes.
    pub length: usize,
    pub parts: Vec<Digest>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`WIRE_VERSION`] of the sender.
    pub wire: u32,
    #[serde(flatten)]
    pub version: SnapshotVersion,
    /// Rises when something was taken back or changed that a cached verdict may rest on: verdicts
    /// cached under another generation are asked for again. A mere addition does not raise it, because
    /// the snapshot is read before the cache.
    pub generation: u32,
    pub base: ImageRef,
    pub overlay: ImageRef,
    pub built_at: UnixSeconds,
    /// A snapshot is not taken up after this point; one that is active stays.
    pub valid_until: UnixSeconds,
    /// Whether anybody who has a say can be asked about an address that is in neither image. If not,
    /// such an address is clean.
    pub lookups: bool,
    /// Whether something would be told about it that is only counted. Apart from `lookups`, so that
    /// whoever does not know it asks for nothing, instead of waiting for what never counts.
    #[serde(default)]
    pub shadow_lookups: bool,
    #[serde(default)]
    pub modes: Vec<ModeOverride>,
}

/// Who can be asked about an address that is in neither image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Askable {
    /// Nobody: such an address is clean.
    Nobody,
    /// Only who has no say: such an address is clean, and the answer is counted.
    Shadow,
    /// Somebody on whose word it depends what is done.
    Sources,
}

/// Why a manifest is refused. The name of the variant is the metric's `cause`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ManifestError {
    #[error("it is not a manifest: {0}")]
    Malformed(String),
    #[error("it speaks wire version {0}, this build speaks {WIRE_VERSION}")]
    Wire(u32),
    #[error("{what} of {length} bytes has {parts} parts, or is beyond {MAX_IMAGE_BYTES} bytes")]
    Parts {
        what: &'static str,
        length: usize,
        parts: usize,
    },
    #[error("{what}'s digest is not that of its parts")]
    Digest { what: &'static str },
}

impl Manifest {
    /// Reads and checks a manifest; whether it is newer than the active one is the caller's question.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self = serde_json::from_slice(bytes)
            .map_err(|error| ManifestError::Malformed(error.to_string()))?;
        manifest.check()?;
        Ok(manifest)
    }

    pub fn askable(&self) -> Askable {
        match (self.lookups, self.shadow_lookups) {
            (true, _) => Askable::Sources,
            (false, true) => Askable::Shadow,
            (false, false) => Askable::Nobody,
        }
    }

    /// Whether its numbers fit each other and are within bounds. For one that was not read by
    /// [`Self::parse`].
    pub fn check(&self) -> Result<(), ManifestError> {
        if self.wire != WIRE_VERSION {
            return Err(ManifestError::Wire(self.wire));
        }
        self.base.check("the base")?;
        self.overlay.check("the overlay")
    }
}

impl ImageRef {
    /// Cuts `image` into parts and names them.
    pub fn of(image: &[u8]) -> Self {
        let parts: Vec<_> = image.chunks(MAX_PART_BYTES).map(Digest::of).collect();
        Self {
            digest: Digest::of_parts(&parts),
            length: image.len(),
            parts,
        }
    }

    fn check(&self, what: &'static str) -> Result<(), ManifestError> {
        let (length, parts) = (self.length, self.parts.len());
        if length == 0 || length > MAX_IMAGE_BYTES || parts != length.div_ceil(MAX_PART_BYTES) {
            return Err(ManifestError::Parts {
                what,
                length,
                parts,
            });
        }
        if Digest::of_parts(&self.parts) != self.digest {
            return Err(ManifestError::Digest { what });
        }
        Ok(())
    }
}

impl fmt::Display for SnapshotVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.version)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not EPOCH.VERSION")]
pub struct SnapshotVersionError(String);

impl FromStr for SnapshotVersion {
    type Err = SnapshotVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text.split_once('.').and_then(|(epoch, version)| {
            Some(Self {
                epoch: epoch.parse().ok()?,
                version: version.parse().ok()?,
            })
        });
        parsed.ok_or_else(|| SnapshotVersionError(text.chars().take(40).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            wire: WIRE_VERSION,
            version: SnapshotVersion {
                epoch: 7,
                version: 3,
            },
            generation: 1,
            base: ImageRef::of(&vec![1; MAX_PART_BYTES + 1]),
            overlay: ImageRef::of(b"overlay"),
            built_at: UnixSeconds(100),
            valid_until: UnixSeconds(200),
            lookups: true,
            shadow_lookups: false,
            modes: Vec::new(),
        }
    }

    #[test]
    fn a_manifest_survives_its_json() {
        let json = serde_json::to_vec(&manifest()).unwrap();
        assert_eq!(Manifest::parse(&json).unwrap(), manifest());
    }

    #[test]
    fn a_manifest_of_before_there_was_a_shadow_asks_as_it_did() {
        for (lookups, askable) in [(true, Askable::Sources), (false, Askable::Nobody)] {
            let mut old = serde_json::to_value(manifest()).unwrap();
            old["lookups"] = lookups.into();
            old.as_object_mut().unwrap().remove("shadow_lookups");
            let read = Manifest::parse(old.to_string().as_bytes()).unwrap();
            assert_eq!(read.askable(), askable);
        }
    }

    #[test]
    fn faulty_manifests_are_refused() {
        let refused = |change: &dyn Fn(&mut Manifest)| {
            let mut faulty = manifest();
            change(&mut faulty);
            Manifest::parse(&serde_json::to_vec(&faulty).unwrap()).unwrap_err()
        };
        assert!(matches!(refused(&|m| m.wire = 2), ManifestError::Wire(2)));
        assert!(matches!(
            refused(&|m| m.base.length = 0),
            ManifestError::Parts { .. }
        ));
        assert!(matches!(
            refused(&|m| m.base.parts.swap(0, 1)),
            ManifestError::Digest { .. }
        ));
        assert!(matches!(
            refused(&|m| m.overlay.length = MAX_IMAGE_BYTES + 1),
            ManifestError::Parts { .. }
        ));
        assert!(matches!(
            Manifest::parse(b"<html>"),
            Err(ManifestError::Malformed(_))
        ));
    }

    #[test]
    fn versions_are_ordered_by_epoch_first() {
        let version = |text: &str| text.parse::<SnapshotVersion>().unwrap();
        assert!(version("2.1") > version("1.9"));
        assert!("1".parse::<SnapshotVersion>().is_err());
        assert_eq!(version("4.5").to_string(), "4.5");
    }
}
