//! One load: the steps from the parts in shared memory to images that are checked. Each step is bounded,
//! because it runs between requests.

use reputation::digest::Digest;
use reputation::set::{Checker, Image, ImageError, Progress};

use super::keys::Layer;
use super::loader::Place;
use super::record::{self, Record};
use super::{Bytes, Incoming, Snapshot};
use crate::host::Host;
use crate::metrics::Refusal;

const EFFORT_BASE_PART: u32 = 8;
const EFFORT_OVERLAY_PART: u32 = 2;
const EFFORT_CHECK: u32 = 4;
const ITEMS_PER_CHECK: usize = 25_000;

/// A snapshot on its way in.
pub struct Load {
    pub record: Record,
    pub incoming: Incoming,
    step: Step,
}

enum Step {
    Copy {
        layer: Layer,
        bytes: Bytes,
        next: usize,
    },
    Check {
        layer: Layer,
        image: Box<Image<Bytes>>,
        checker: Checker,
    },
    Done,
}

/// Why a load ended without a new snapshot.
pub enum Stop {
    Refused(Refusal, String),
    /// Its places were written over while it read them: there is something newer.
    Moved,
}

impl Load {
    pub fn begin(record: Record, snapshot: &mut Snapshot) -> Box<Self> {
        let mut load = Self {
            record,
            incoming: Incoming::default(),
            step: Step::Done,
        };
        load.step = load.next_image(None, snapshot);
        Box::new(load)
    }

    /// What comes after `done`: the next image that is not already active.
    fn next_image(&self, done: Option<Layer>, snapshot: &mut Snapshot) -> Step {
        let layers: &[Layer] = match done {
            None => &[Layer::Base, Layer::Overlay],
            Some(Layer::Base) => &[Layer::Overlay],
            Some(Layer::Overlay) => &[],
        };
        let manifest = &self.record.manifest;
        let missing = layers.iter().find(|layer| !snapshot.has(**layer, manifest));
        match missing {
            Some(&layer) => Step::Copy {
                layer,
                bytes: snapshot.buffer(layer, self.record.image(layer).length),
                next: 0,
            },
            None => Step::Done,
        }
    }

    /// What the next step costs of a tick.
    pub fn effort(&self) -> u32 {
        match &self.step {
            Step::Copy { layer, .. } => match layer {
                Layer::Base => EFFORT_BASE_PART,
                Layer::Overlay => EFFORT_OVERLAY_PART,
            },
            Step::Check { .. } => EFFORT_CHECK,
            Step::Done => 0,
        }
    }

    /// Octets of both images.
    pub fn length(&self) -> usize {
        let manifest = &self.record.manifest;
        manifest.base.length.saturating_add(manifest.overlay.length)
    }

    pub fn is_done(&self) -> bool {
        matches!(self.step, Step::Done)
    }

    /// Takes one bounded step.
    pub fn advance<H: Host>(
        &mut self,
        host: &H,
        place: Place<'_>,
        snapshot: &mut Snapshot,
    ) -> Result<(), Stop> {
        self.step = match std::mem::replace(&mut self.step, Step::Done) {
            Step::Copy { layer, bytes, next } => {
                self.advance_copy(host, place, snapshot, (layer, bytes, next))?
            }
            Step::Check {
                layer,
                image,
                checker,
            } => self.advance_check(snapshot, (layer, image, checker))?,
            Step::Done => Step::Done,
        };
        Ok(())
    }

    fn advance_copy<H: Host>(
        &self,
        host: &H,
        place: Place<'_>,
        snapshot: &mut Snapshot,
        (layer, mut bytes, next): (Layer, Bytes, usize),
    ) -> Result<Step, Stop> {
        let Some(digest) = self.record.image(layer).parts.get(next) else {
            return self.open(layer, bytes);
        };
        match self.copy(host, place, (layer, next, *digest), &mut bytes) {
            Ok(()) => Ok(Step::Copy {
                layer,
                bytes,
                next: next + 1,
            }),
            Err(stop) => {
                snapshot.give_back(layer, bytes);
                Err(stop)
            }
        }
    }

    fn advance_check(
        &mut self,
        snapshot: &mut Snapshot,
        (layer, image, mut checker): (Layer, Box<Image<Bytes>>, Checker),
    ) -> Result<Step, Stop> {
        match checker.step(image.as_ref(), ITEMS_PER_CHECK) {
            Ok(Progress::More) => Ok(Step::Check {
                layer,
                image,
                checker,
            }),
            Ok(Progress::Done) => {
                match layer {
                    Layer::Base => self.incoming.base = Some(*image),
                    Layer::Overlay => self.incoming.overlay = Some(*image),
                }
                Ok(self.next_image(Some(layer), snapshot))
            }
            Err(error) => {
                snapshot.give_back(layer, image.into_bytes());
                Err(Stop::Refused(Refusal::Image, error.to_string()))
            }
        }
    }

    fn copy<H: Host>(
        &self,
        host: &H,
        place: Place<'_>,
        (layer, index, digest): (Layer, usize, Digest),
        bytes: &mut Bytes,
    ) -> Result<(), Stop> {
        let key = place.keys.part(layer, self.record.slot(layer), index);
        let part = host.shared(&key).map(|(part, _)| part).unwrap_or_default();
        let room = self.record.image(layer).length.saturating_sub(bytes.len());
        if part.len() <= room && Digest::of(&part) == digest {
            bytes.extend_from_slice(&part);
            return Ok(());
        }
        let version = self.record.version();
        let keys = [&place.keys.current, &place.keys.previous];
        let stands = |key: &String| record::read(host, key).map(|record| record.version());
        match keys.into_iter().any(|key| stands(key) == Some(version)) {
            true => Err(Stop::Refused(
                Refusal::Digest,
                format!("part {index} of its {layer:?} does not have its digest"),
            )),
            false => Err(Stop::Moved),
        }
    }

    fn open(&self, layer: Layer, bytes: Bytes) -> Result<Step, Stop> {
        if bytes.len() != self.record.image(layer).length {
            let why = format!("its {layer:?} does not have the length it should have");
            return Err(Stop::Refused(Refusal::Parts, why));
        }
        match Image::open(bytes) {
            Ok(image) => Ok(Step::Check {
                layer,
                image: Box::new(image),
                checker: Checker::new(),
            }),
            Err(error) => {
                let cause = match error {
                    ImageError::Format(_) => Refusal::Format,
                    _ => Refusal::Image,
                };
                let why = format!("its {layer:?} cannot be opened: {error}");
                Err(Stop::Refused(cause, why))
            }
        }
    }

    /// Gives the buffers of what was loaded so far back for the next load.
    pub fn give_back(self: Box<Self>, snapshot: &mut Snapshot) {
        for (layer, image) in [
            (Layer::Base, self.incoming.base),
            (Layer::Overlay, self.incoming.overlay),
        ] {
            if let Some(image) = image {
                snapshot.give_back(layer, image.into_bytes());
            }
        }
    }
}
