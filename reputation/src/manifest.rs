//! What the sidecar tells every proxy: which snapshot is current, of what parts it is made, and which
//! mode the operator asks for. Sent as JSON by long poll; kept in the proxy's shared memory.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::digest::Digest;
use crate::json::{self, Fields, JsonError};
use crate::mode::ModeOverride;
use crate::time::UnixSeconds;

/// The form in which manifests are written; it stands in their field `wire`. A filter of before
/// [`crate::wire`] reads no other than 1.
pub const FORM: u32 = 1;
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageRef {
    /// [`Digest::of_parts`] of `parts`.
    pub digest: Digest,
    /// Length of the whole image in bytes.
    pub length: usize,
    pub parts: Vec<Digest>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Manifest {
    /// [`FORM`] of the sender, under the name that it has had from the start.
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
    pub shadow_lookups: bool,
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
    Malformed(#[from] JsonError),
    #[error("it has form {0}, this build reads form {FORM}")]
    Form(u32),
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
        Self::read(&json::parse(bytes)?)
    }

    /// As [`Self::parse`], from a value.
    pub fn read(value: &Value) -> Result<Self, ManifestError> {
        let fields = Fields::of(value)?;
        // First of all: another form may have other fields.
        let wire = fields.small("wire")?;
        if wire != FORM {
            return Err(ManifestError::Form(wire));
        }
        let manifest = Self {
            wire,
            version: SnapshotVersion {
                epoch: fields.number("epoch")?,
                version: fields.number("version")?,
            },
            generation: fields.small("generation")?,
            base: ImageRef::read(fields.required("base")?)?,
            overlay: ImageRef::read(fields.required("overlay")?)?,
            built_at: UnixSeconds(fields.small("built_at")?),
            valid_until: UnixSeconds(fields.small("valid_until")?),
            lookups: fields.flag("lookups")?,
            shadow_lookups: fields.flag_if_any("shadow_lookups")?,
            modes: ModeOverride::read_all(fields.list("modes")?)?,
        };
        manifest.base.check("the base")?;
        manifest.overlay.check("the overlay")?;
        Ok(manifest)
    }

    pub fn askable(&self) -> Askable {
        match (self.lookups, self.shadow_lookups) {
            (true, _) => Askable::Sources,
            (false, true) => Askable::Shadow,
            (false, false) => Askable::Nobody,
        }
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

    fn read(value: &Value) -> Result<Self, JsonError> {
        let fields = Fields::of(value)?;
        let parts = fields.list("parts")?.iter();
        let digest = |part: &Value| part.as_str().and_then(|text| text.parse().ok());
        let parts: Option<Vec<_>> = parts.map(digest).collect();
        let length = usize::try_from(fields.number("length")?);
        Ok(Self {
            digest: fields.parsed("digest")?,
            length: length.map_err(|_| JsonError::Field("length"))?,
            parts: parts.ok_or(JsonError::Field("parts"))?,
        })
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
            wire: FORM,
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
        assert!(matches!(refused(&|m| m.wire = 2), ManifestError::Form(2)));
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
