//! Takes snapshots up from shared memory, a bounded step per tick: copies and checks one part, or checks
//! a stretch of an image. What does not hold is refused and changes nothing.
//!
//! Bringing them there is the `puller`'s; what is active and how it is swapped is `Snapshot`'s.

use reputation::digest::Digest;
use reputation::manifest::SnapshotVersion;
use reputation::mode::ModeOverride;
use reputation::set::{Checker, Image, Progress};

use super::keys::{Keys, Layer};
use super::record::{self, Record};
use super::{Bytes, Incoming, Mismatch, Snapshot, trying};
use crate::host::Host;
use crate::metrics::Refusal;
use crate::turn::{Turn, seconds};

/// What a tick may do: one part of the base, or a few of the overlay, which is short and urgent.
const EFFORT_PER_TICK: u32 = 8;
/// Without any snapshot everything is unknown: then a tick does more.
const EFFORT_FOR_THE_FIRST: u32 = 32;
const EFFORT_BASE_PART: u32 = 8;
const EFFORT_OVERLAY_PART: u32 = 2;
const EFFORT_CHECK: u32 = 2;
const ITEMS_PER_CHECK: usize = 50_000;
/// By then a writer that is alive has shown it, and its note says nothing.
const SURE_MICROS: u64 = 2_000_000;
/// Refusals that are remembered, so that each is said once.
const MAX_REFUSED: usize = 8;

#[derive(Default)]
pub struct Loader {
    /// The signal as last read.
    seen: Option<Vec<u8>>,
    /// The current record has not been looked at since the signal changed.
    pending: bool,
    load: Option<Box<Load>>,
    refused: Vec<SnapshotVersion>,
    held_off: Option<HeldOff>,
}

/// A version that is left alone while the note of a VM that was trying it stands.
struct HeldOff {
    version: SnapshotVersion,
    since_micros: u64,
    said: bool,
}

struct Load {
    record: Record,
    incoming: Incoming,
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

/// Who loads, and when.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub keys: &'a Keys,
    /// By what the other VMs know this one.
    pub nonce: u64,
    pub started_micros: u64,
    pub now_micros: u64,
}

/// What a tick brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The operator's modes, if they may have changed.
    pub modes: Option<Vec<ModeOverride>>,
    /// There is more to do: tick soon.
    pub busy: bool,
}

/// Why a load ended without a new snapshot.
enum Stop {
    Refused(Refusal, String),
    /// Its places were written over while it read them: there is something newer.
    Moved,
}

impl Loader {
    pub fn on_tick<H: Host>(
        &mut self,
        turn: &mut Turn<'_, H>,
        place: Place<'_>,
        snapshot: &mut Snapshot,
    ) -> Report {
        self.look_at_the_note(turn, place);
        let modes = self.look(turn.host, place);
        if self.load.is_none() && self.pending {
            self.pending = false;
            self.load = self.choose(turn, place, snapshot);
        }
        self.work(turn, place, snapshot);
        Report {
            modes,
            busy: self.load.is_some(),
        }
    }

    /// Goes on with what was held off once the note is gone; says so once if it stays.
    fn look_at_the_note<H: Host>(&mut self, turn: &mut Turn<'_, H>, place: Place<'_>) {
        let Some(held_off) = &mut self.held_off else {
            return;
        };
        let version = held_off.version;
        if !is_tried(turn.host, place, version) {
            self.held_off = None;
            self.pending = true;
        } else if !held_off.said && place.now_micros.abs_diff(held_off.since_micros) >= SURE_MICROS
        {
            held_off.said = true;
            turn.metrics.refused(Refusal::Poison);
            log::warn!(
                "portcullis: snapshot {version} was refused: a VM that was trying it has ended"
            );
        }
    }

    /// Reads the signal, the one thing that is read on every tick.
    fn look<H: Host>(&mut self, host: &H, place: Place<'_>) -> Option<Vec<ModeOverride>> {
        let signal = host.shared(&place.keys.signal).map(|(bytes, _)| bytes);
        if signal == self.seen {
            return None;
        }
        self.seen = signal;
        self.pending = true;
        let (modes, _) = host.shared(&place.keys.modes)?;
        serde_json::from_slice(&modes).ok()
    }

    /// Which record to load, if any: the current one, or the one before while that is held off.
    fn choose<H: Host>(
        &mut self,
        turn: &mut Turn<'_, H>,
        place: Place<'_>,
        snapshot: &mut Snapshot,
    ) -> Option<Box<Load>> {
        let current = record::read(turn.host, &place.keys.current)?;
        let version = current.version();
        if !self.wants(turn, place, snapshot, &current) {
            return None;
        }
        if !is_tried(turn.host, place, version) {
            return Some(Load::begin(current, snapshot));
        }
        let known = self.held_off.as_ref().map(|held_off| held_off.version);
        if known != Some(version) {
            self.held_off = Some(HeldOff {
                version,
                since_micros: place.now_micros,
                said: false,
            });
        }
        let previous = record::read(turn.host, &place.keys.previous)?;
        let loadable = self.wants(turn, place, snapshot, &previous)
            && !is_tried(turn.host, place, previous.version());
        loadable.then(|| Load::begin(previous, snapshot))
    }

    fn wants<H: Host>(
        &mut self,
        turn: &mut Turn<'_, H>,
        place: Place<'_>,
        snapshot: &Snapshot,
        record: &Record,
    ) -> bool {
        let version = record.version();
        if self.refused.contains(&version) || snapshot.version() == Some(version) {
            return false;
        }
        if snapshot.version().is_some_and(|active| version < active) {
            let message = "a newer one is active".to_owned();
            self.refuse(turn, version, Refusal::Older, message);
            return false;
        }
        if record.manifest.valid_until <= seconds(place.now_micros) {
            let message = "it is past its valid_until".to_owned();
            self.refuse(turn, version, Refusal::Expired, message);
            return false;
        }
        true
    }

    fn work<H: Host>(&mut self, turn: &mut Turn<'_, H>, place: Place<'_>, snapshot: &mut Snapshot) {
        let most = match snapshot.version() {
            Some(_) => EFFORT_PER_TICK,
            None => EFFORT_FOR_THE_FIRST,
        };
        let mut effort = 0;
        while effort < most
            && let Some(mut load) = self.load.take()
        {
            effort += load.effort();
            let version = load.record.version();
            match load.advance(turn.host, place, snapshot) {
                Ok(()) if matches!(load.step, Step::Done) => {
                    self.finish(turn, place, snapshot, *load);
                }
                Ok(()) => self.load = Some(load),
                Err(stop) => {
                    load.give_back(snapshot);
                    match stop {
                        Stop::Moved => self.pending = true,
                        Stop::Refused(cause, why) => self.refuse(turn, version, cause, why),
                    }
                }
            }
        }
    }

    fn finish<H: Host>(
        &mut self,
        turn: &mut Turn<'_, H>,
        place: Place<'_>,
        snapshot: &mut Snapshot,
        load: Load,
    ) {
        let manifest = &load.record.manifest;
        let version = manifest.version;
        if let Err(mismatch) = snapshot.check(manifest, &load.incoming) {
            let (cause, why) = match mismatch {
                Mismatch::Kind => (
                    Refusal::Image,
                    "base and overlay are not what they should be",
                ),
                Mismatch::Base => (Refusal::Base, "its overlay is for another base"),
            };
            return self.refuse(turn, version, cause, why.to_owned());
        }
        let changes = load.incoming.base.is_some() || load.incoming.overlay.is_some();
        if changes {
            trying::note(
                turn.host,
                place.keys,
                place.nonce,
                version,
                place.now_micros,
            );
        }
        let first = snapshot.version().is_none();
        snapshot.activate(manifest, load.incoming, place.now_micros);
        if first {
            log::info!("portcullis: first snapshot {version} is active");
        } else {
            log::debug!("portcullis: snapshot {version} is active");
        }
    }

    fn refuse<H: Host>(
        &mut self,
        turn: &mut Turn<'_, H>,
        version: SnapshotVersion,
        cause: Refusal,
        why: String,
    ) {
        if self.refused.contains(&version) {
            return;
        }
        if self.refused.len() >= MAX_REFUSED {
            self.refused.remove(0);
        }
        self.refused.push(version);
        turn.metrics.refused(cause);
        log::warn!("portcullis: snapshot {version} was refused: {why}");
    }
}

impl Load {
    fn begin(record: Record, snapshot: &mut Snapshot) -> Box<Self> {
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

    fn effort(&self) -> u32 {
        match &self.step {
            Step::Copy { layer, .. } => match layer {
                Layer::Base => EFFORT_BASE_PART,
                Layer::Overlay => EFFORT_OVERLAY_PART,
            },
            Step::Check { .. } => EFFORT_CHECK,
            Step::Done => 0,
        }
    }

    fn advance<H: Host>(
        &mut self,
        host: &H,
        place: Place<'_>,
        snapshot: &mut Snapshot,
    ) -> Result<(), Stop> {
        self.step = match std::mem::replace(&mut self.step, Step::Done) {
            Step::Copy {
                layer,
                mut bytes,
                next,
            } => match self.record.image(layer).parts.get(next) {
                Some(digest) => {
                    if let Err(stop) = self.copy(host, place, layer, next, *digest, &mut bytes) {
                        snapshot.give_back(layer, bytes);
                        return Err(stop);
                    }
                    Step::Copy {
                        layer,
                        bytes,
                        next: next + 1,
                    }
                }
                None => self.open(layer, bytes)?,
            },
            Step::Check {
                layer,
                image,
                mut checker,
            } => match checker.step(image.as_ref(), ITEMS_PER_CHECK) {
                Ok(Progress::More) => Step::Check {
                    layer,
                    image,
                    checker,
                },
                Ok(Progress::Done) => {
                    match layer {
                        Layer::Base => self.incoming.base = Some(*image),
                        Layer::Overlay => self.incoming.overlay = Some(*image),
                    }
                    self.next_image(Some(layer), snapshot)
                }
                Err(error) => {
                    snapshot.give_back(layer, image.into_bytes());
                    return Err(Stop::Refused(Refusal::Image, error.to_string()));
                }
            },
            Step::Done => Step::Done,
        };
        Ok(())
    }

    fn copy<H: Host>(
        &self,
        host: &H,
        place: Place<'_>,
        layer: Layer,
        index: usize,
        digest: Digest,
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
            Err(error) => Err(Stop::Refused(
                Refusal::Image,
                format!("its {layer:?} cannot be opened: {error}"),
            )),
        }
    }

    /// Gives the buffers of what was loaded so far back for the next load.
    fn give_back(self: Box<Self>, snapshot: &mut Snapshot) {
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

fn is_tried<H: Host>(host: &H, place: Place<'_>, version: SnapshotVersion) -> bool {
    trying::is_tried_by_another(host, place.keys, place.nonce, place.started_micros, version)
}
