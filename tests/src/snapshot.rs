//! Snapshots made by hand, for a sidecar that is made by hand. Tests also break them on purpose.

use std::collections::HashMap;

use reputation::digest::Digest;
use reputation::manifest::{FORM, ImageRef, MAX_PART_BYTES, Manifest, SnapshotVersion};
use reputation::set::{Basis, Class, Decided, ImageBuilder, Kind, Meta};
use reputation::{Action, Band, Cidr, DecisionId, Rank, UnixSeconds};

use crate::error::KitError;

/// The reason of lines that name no other.
pub const REASON: &str = "by hand";

/// A snapshot before it is built.
#[derive(Debug, Clone)]
pub struct Draft {
    version: SnapshotVersion,
    base: Vec<Line>,
    overlay: Vec<Line>,
    lookups: bool,
    filler: u32,
}

/// One entry: listed if it has no decision.
#[derive(Debug, Clone)]
pub struct Line {
    cidr: Cidr,
    rank: Rank,
    reason: String,
    decision: Option<(DecisionId, Option<UnixSeconds>)>,
}

/// A built snapshot as a sidecar serves it.
#[derive(Debug, Clone)]
pub struct Built {
    pub manifest: Manifest,
    pub parts: HashMap<String, Vec<u8>>,
}

impl Line {
    /// On a hard list.
    pub fn listed(cidr: &str) -> Result<Self, KitError> {
        Self::new(cidr, Rank::HardSource, None)
    }

    /// Allowed by the operator, for ever.
    pub fn allowed(cidr: &str) -> Result<Self, KitError> {
        Self::new(cidr, Rank::OperatorAllow, Some((DecisionId(0xa11), None)))
    }

    /// A ban by the operator, for ever or until a point in time.
    pub fn banned(cidr: &str, until: Option<UnixSeconds>) -> Result<Self, KitError> {
        Self::new(cidr, Rank::OperatorBan, Some((DecisionId(0xb41), until)))
    }

    /// The same for another reason than [`REASON`].
    pub fn because(mut self, reason: &str) -> Self {
        self.reason = reason.to_owned();
        self
    }

    fn new(
        cidr: &str,
        rank: Rank,
        decision: Option<(DecisionId, Option<UnixSeconds>)>,
    ) -> Result<Self, KitError> {
        let cidr = Cidr::parse(cidr)
            .map_err(|error| KitError::Config(format!("usable prefix: {error}")))?;
        Ok(Self {
            cidr,
            rank,
            reason: REASON.to_owned(),
            decision,
        })
    }
}

impl Draft {
    /// Empty, of epoch 1.
    pub fn version(version: u64) -> Self {
        Self {
            version: SnapshotVersion { epoch: 1, version },
            base: Vec::new(),
            overlay: Vec::new(),
            lookups: false,
            filler: 0,
        }
    }

    pub fn base(mut self, line: Line) -> Self {
        self.base.push(line);
        self
    }

    pub fn overlay(mut self, line: Line) -> Self {
        self.overlay.push(line);
        self
    }

    /// Unknown addresses are to be asked about.
    pub fn with_lookups(mut self) -> Self {
        self.lookups = true;
        self
    }

    /// Fills the base with this many more addresses, from 11.0.0.0 on in steps that do not form ranges,
    /// so that it has several parts.
    pub fn with_filler(mut self, addresses: u32) -> Self {
        self.filler = addresses;
        self
    }

    pub fn build(&self) -> Result<Built, KitError> {
        let base = self.image(Kind::Base, &self.base, self.filler)?;
        let base_ref = ImageRef::of(&base);
        let overlay = self.image(
            Kind::Overlay {
                base: base_ref.digest,
            },
            &self.overlay,
            0,
        )?;
        let overlay_ref = ImageRef::of(&overlay);
        let parts = [&base, &overlay]
            .into_iter()
            .flat_map(|image| image.chunks(MAX_PART_BYTES))
            .map(|part| (Digest::of(part).to_string(), part.to_vec()))
            .collect();
        let manifest = Manifest {
            wire: FORM,
            version: self.version,
            generation: 1,
            base: base_ref,
            overlay: overlay_ref,
            built_at: now(),
            valid_until: now().plus(3600),
            lookups: self.lookups,
            shadow_lookups: false,
            modes: Vec::new(),
        };
        Ok(Built { manifest, parts })
    }

    fn image(&self, kind: Kind, lines: &[Line], filler: u32) -> Result<Vec<u8>, KitError> {
        let valid_until = now().plus(3600);
        let (version, built_at) = (self.version, now());
        let mut builder = ImageBuilder::new(Meta {
            kind,
            version,
            built_at,
            valid_until,
        });
        for line in lines {
            let class = builder.class(&class(line.rank, &line.reason));
            match line.decision {
                None => builder.list(line.cidr, class),
                Some((id, expires)) => {
                    let decided = Decided {
                        id: Some(id),
                        created: now(),
                        expires,
                    };
                    builder.decide(line.cidr, class, decided);
                }
            }
        }
        let listed = builder.class(&class(Rank::HardSource, REASON));
        for step in 0..filler {
            // Multiplying by an odd number scatters the addresses without repeating one.
            let bits = 0x0b00_0000 + step.wrapping_mul(2_654_435_761) % 0x0100_0000;
            let address = reputation::ClientAddress::V4(bits);
            builder.list(Cidr::host(address), listed);
        }
        builder
            .build()
            .map_err(|error| KitError::Config(format!("buildable image: {error}")))
    }
}

impl Built {
    /// Its manifest as the wire carries it.
    pub fn manifest_json(&self) -> Vec<u8> {
        serde_json::to_vec(&self.manifest).unwrap_or_default()
    }
}

/// The time as images hold it.
pub fn now() -> UnixSeconds {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    UnixSeconds::from_secs(since.map(|since| since.as_secs()).unwrap_or_default())
}

fn class(rank: Rank, reason: &str) -> Class {
    let basis = match rank {
        Rank::HardSource | Rank::Score => Basis::Band(Band::Malicious),
        Rank::OperatorAllow | Rank::Trusted => Basis::Action(Action::Allow),
        _ => Basis::Action(Action::Deny),
    };
    Class {
        rank,
        basis,
        band: Band::Malicious,
        score: 100,
        reason: reason.to_owned(),
    }
}
