//! Decides which snapshot to take up from shared memory, and how much of it per tick or at once. What does not hold
//! is refused and changes nothing.
//!
//! Bringing them there is the `puller`'s, the steps themselves are `load`'s; what is active and how it is
//! swapped is `Snapshot`'s.

use reputation::json;
use reputation::manifest::SnapshotVersion;
use reputation::mode::ModeOverride;

use super::keys::Keys;
use super::load::{Load, Stop};
use super::record::{self, Record};
use super::trying::{self, is_poisonous};
use super::{Mismatch, Snapshot};
use crate::host::Host;
use crate::metrics::Refusal;
use crate::turn::Turn;

/// What a tick may do: one part of the base, or a few of the overlay, which is short and urgent.
const EFFORT_PER_TICK: u32 = 8;
/// Without any snapshot everything is unknown: then a tick does more.
const EFFORT_FOR_THE_FIRST: u32 = 16;
/// A VM that finds a snapshot ready when it starts takes it up before its first request, if it is no
/// larger than this: it replaces one that died, and whoever kills VMs must not win a pass for the others.
const MOST_AT_ONCE: usize = 32 << 20;
/// After this the ticks go on with it: no request should wait for longer.
const AT_ONCE_MICROS: u64 = 50_000;
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

/// A version that is left alone while the notes of VMs that ended on it count.
struct HeldOff {
    version: SnapshotVersion,
    since_micros: u64,
    said: bool,
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

impl Loader {
    pub fn on_tick<H: Host>(
        &mut self,
        turn: &mut Turn<'_, H>,
        place: Place<'_>,
        snapshot: &mut Snapshot,
    ) -> Report {
        self.look_at_the_notes(turn, place);
        let modes = self.begin(turn, place, snapshot);
        self.work(turn, place, snapshot);
        Report {
            modes,
            busy: self.load.is_some(),
        }
    }

    /// Takes up in one go what lies ready when a VM starts; gives the operator's modes. What takes too
    /// long is left to the ticks. Under a note: were it to end the VM, it would end each one that
    /// follows, in its first request.
    pub fn catch_up<H: Host>(
        &mut self,
        turn: &mut Turn<'_, H>,
        place: Place<'_>,
        snapshot: &mut Snapshot,
    ) -> Option<Vec<ModeOverride>> {
        let modes = self.begin(turn, place, snapshot);
        let small = self.load.take_if(|load| load.length() <= MOST_AT_ONCE);
        let Some(load) = small else { return modes };
        let Place {
            keys,
            nonce,
            now_micros,
            ..
        } = place;
        trying::note(turn.host, keys, nonce, load.record.version(), now_micros);
        self.load = Some(load);
        while turn.host.now_micros().saturating_sub(now_micros) < AT_ONCE_MICROS
            && let Some(load) = self.load.take()
        {
            self.step(turn, place, snapshot, load);
        }
        trying::clear(turn.host, keys, nonce);
        modes
    }

    /// Looks for something new, and begins with it.
    fn begin<H: Host>(
        &mut self,
        turn: &mut Turn<'_, H>,
        place: Place<'_>,
        snapshot: &mut Snapshot,
    ) -> Option<Vec<ModeOverride>> {
        let modes = self.look(turn.host, place);
        if self.load.is_none() && self.pending {
            self.pending = false;
            self.load = self.choose(turn, place, snapshot);
        }
        modes
    }

    /// Goes on with what was held off once the notes are gone; says so once if they stay.
    fn look_at_the_notes<H: Host>(&mut self, turn: &mut Turn<'_, H>, place: Place<'_>) {
        let Some(held_off) = &mut self.held_off else {
            return;
        };
        let version = held_off.version;
        if !is_poisonous(turn.host, place, version) {
            self.held_off = None;
            self.pending = true;
        } else if !held_off.said && place.now_micros.abs_diff(held_off.since_micros) >= SURE_MICROS
        {
            held_off.said = true;
            turn.metrics.refused(Refusal::Poison);
            log::warn!(
                "portcullis: snapshot {version} was refused: several VMs that were trying it have ended"
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
        ModeOverride::read_all(json::parse(&modes).ok()?.as_array()?).ok()
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
        if !self.wants(turn, snapshot, &current) {
            return None;
        }
        if !is_poisonous(turn.host, place, version) {
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
        let loadable = self.wants(turn, snapshot, &previous)
            && !is_poisonous(turn.host, place, previous.version());
        loadable.then(|| Load::begin(previous, snapshot))
    }

    fn wants<H: Host>(
        &mut self,
        turn: &mut Turn<'_, H>,
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
        true
    }

    fn work<H: Host>(&mut self, turn: &mut Turn<'_, H>, place: Place<'_>, snapshot: &mut Snapshot) {
        let most = match snapshot.version() {
            Some(_) => EFFORT_PER_TICK,
            None => EFFORT_FOR_THE_FIRST,
        };
        let mut effort = 0;
        while effort < most
            && let Some(load) = self.load.take()
        {
            effort += load.effort();
            self.step(turn, place, snapshot, load);
        }
    }

    fn step<H: Host>(
        &mut self,
        turn: &mut Turn<'_, H>,
        place: Place<'_>,
        snapshot: &mut Snapshot,
        mut load: Box<Load>,
    ) {
        let version = load.record.version();
        match load.advance(turn.host, place, snapshot) {
            Ok(()) if load.is_done() => self.finish(turn, snapshot, *load),
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

    fn finish<H: Host>(&mut self, turn: &mut Turn<'_, H>, snapshot: &mut Snapshot, load: Load) {
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
        let first = snapshot.version().is_none();
        snapshot.activate(manifest, load.incoming);
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
