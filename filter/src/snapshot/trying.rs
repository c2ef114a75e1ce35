//! The note `trying V`, so that a poisonous snapshot does not trap each reloaded VM again.
//!
//! A VM writes it before it takes V up at its start, and before it decides its first request by V, and takes
//! it away when that is done, so that what ends a VM at any other moment is not put down to V. One that starts and finds the notes of several
//! others leaves V alone, unless they show that they are alive: then V did not end them.

use reputation::manifest::SnapshotVersion;

use super::fleet;
use super::keys::Keys;
use super::loader::Place;
use crate::host::Host;

/// More VMs than a process has workers; older notes give way.
const MAX_NOTES: usize = 256;
/// How many VMs must have ended on V. A single one may have met a request that would have ended it under
/// any snapshot; to be without a snapshot for that would be worse than two more failed requests.
const STRIKES: usize = 3;
/// How long a note counts. V is then tried again: what ended the VMs may have been a passing cause, and
/// three requests a minute are what a poisonous V costs at most.
const COUNTS_MICROS: u64 = 60_000_000;
const ATTEMPTS: u32 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Note {
    nonce: u64,
    version: SnapshotVersion,
    written_micros: u64,
}

impl Note {
    /// A clock that was set back does not make a note count for longer.
    fn counts(&self, now: u64) -> bool {
        now.abs_diff(self.written_micros) <= COUNTS_MICROS
    }
}

/// Whether enough other VMs, which may have ended since, were already trying `version` when the one at
/// `place` started. A note that came later is of a VM that goes the same way at the same time, and says
/// nothing.
pub fn is_poisonous<H: Host>(host: &H, place: Place<'_>, version: SnapshotVersion) -> bool {
    let mut notes = read(host, place.keys);
    notes.retain(|note| {
        note.nonce != place.nonce
            && note.version == version
            && note.written_micros < place.started_micros
            && note.counts(place.now_micros)
    });
    notes.len() >= STRIKES && {
        let alive = fleet::alive_since(host, place.keys, place.started_micros);
        let ended = notes.iter().filter(|note| !alive.contains(&note.nonce));
        ended.count() >= STRIKES
    }
}

/// Notes that this VM is about to decide by `version`. Notes that say nothing any more are dropped.
pub fn note<H: Host>(host: &H, keys: &Keys, nonce: u64, version: SnapshotVersion, now: u64) {
    change(host, keys, |notes| {
        notes.retain(|note| note.nonce != nonce && note.version >= version && note.counts(now));
        notes.push(Note {
            nonce,
            version,
            written_micros: now,
        });
        let beyond = notes.len().saturating_sub(MAX_NOTES);
        notes.drain(..beyond.min(notes.len()));
    });
}

/// Takes this VM's note away.
pub fn clear<H: Host>(host: &H, keys: &Keys, nonce: u64) {
    change(host, keys, |notes| notes.retain(|note| note.nonce != nonce));
}

fn change<H: Host>(host: &H, keys: &Keys, change: impl Fn(&mut Vec<Note>)) {
    for _ in 0..ATTEMPTS {
        let (bytes, cas) = match host.shared(&keys.trying) {
            Some((bytes, cas)) => (bytes, Some(cas)),
            None => (Vec::new(), None),
        };
        let mut notes = decode(&bytes);
        change(&mut notes);
        if host.set_shared(&keys.trying, &encode(&notes), cas).is_ok() {
            return;
        }
    }
    log::warn!("portcullis: the note on the snapshot being tried could not be written");
}

fn read<H: Host>(host: &H, keys: &Keys) -> Vec<Note> {
    let bytes = host.shared(&keys.trying).map(|(bytes, _)| bytes);
    decode(&bytes.unwrap_or_default())
}

fn encode(notes: &[Note]) -> Vec<u8> {
    let fields = notes.iter().flat_map(|note| {
        let SnapshotVersion { epoch, version } = note.version;
        [note.nonce, epoch, version, note.written_micros]
    });
    fields.flat_map(u64::to_le_bytes).collect()
}

fn decode(bytes: &[u8]) -> Vec<Note> {
    let (words, _) = bytes.as_chunks::<8>();
    let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
    let (notes, _) = words.as_chunks::<4>();
    notes
        .iter()
        .map(|&[nonce, epoch, version, written_micros]| Note {
            nonce,
            version: SnapshotVersion { epoch, version },
            written_micros,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{MockHost, config};

    fn version(version: u64) -> SnapshotVersion {
        SnapshotVersion { epoch: 1, version }
    }

    const SECOND: u64 = 1_000_000;

    /// A VM that started at `started` and looks at `now`.
    fn place(keys: &Keys, nonce: u64, started: u64, now: u64) -> Place<'_> {
        Place {
            keys,
            nonce,
            started_micros: started,
            now_micros: now,
        }
    }

    #[test]
    fn three_vms_that_ended_on_it_count_and_two_do_not() {
        let (host, keys) = (MockHost::default(), Keys::new(&config("{}").sidecar));
        let poisonous = |nonce, started, v| {
            is_poisonous(&host, place(&keys, nonce, started, started), version(v))
        };
        note(&host, &keys, 1, version(5), 100);
        note(&host, &keys, 2, version(5), 101);
        assert!(!poisonous(9, 200, 5), "two");
        note(&host, &keys, 3, version(5), 102);
        assert!(poisonous(9, 200, 5), "three");
        assert!(!poisonous(9, 102, 5), "the third goes the same way");
        assert!(!poisonous(3, 200, 5), "one is its own");
        assert!(!poisonous(9, 200, 6), "another version");
        clear(&host, &keys, 2);
        assert!(!poisonous(9, 200, 5), "one decided well");
    }

    #[test]
    fn a_note_whose_writer_lives_does_not_count() {
        let (host, keys) = (MockHost::default(), Keys::new(&config("{}").sidecar));
        (1..=3).for_each(|nonce| note(&host, &keys, nonce, version(5), 100));
        let status = fleet::Status {
            nonce: 1,
            epoch: 1,
            version: 5,
            built_at: 0,
        };
        fleet::Beat::default().tell(&host, &keys, status, 201);
        let poisonous =
            |started| is_poisonous(&host, place(&keys, 9, started, started), version(5));
        assert!(poisonous(202), "its last beat may have been before its end");
        assert!(!poisonous(201), "its writer is alive");
    }

    #[test]
    fn a_minute_later_it_is_tried_again() {
        let (host, keys) = (MockHost::default(), Keys::new(&config("{}").sidecar));
        (1..=3).for_each(|nonce| note(&host, &keys, nonce, version(5), nonce * SECOND));
        let poisonous = |now| is_poisonous(&host, place(&keys, 9, 4 * SECOND, now), version(5));
        assert!(poisonous(61 * SECOND));
        assert!(!poisonous(61 * SECOND + 1));
    }

    #[test]
    fn notes_that_say_nothing_are_dropped_and_their_number_is_bounded() {
        let (host, keys) = (MockHost::default(), Keys::new(&config("{}").sidecar));
        note(&host, &keys, 1, version(5), 100);
        note(&host, &keys, 2, version(6), 100);
        assert_eq!(read(&host, &keys).len(), 1, "an older version");
        note(&host, &keys, 3, version(6), 101 + COUNTS_MICROS);
        assert_eq!(read(&host, &keys).len(), 1, "too long ago");
        (0..1_000).for_each(|nonce| note(&host, &keys, nonce, version(6), 200));
        assert_eq!(read(&host, &keys).len(), MAX_NOTES);
    }

    #[test]
    fn a_write_that_another_vm_beat_is_done_again() {
        let (host, keys) = (MockHost::default(), Keys::new(&config("{}").sidecar));
        note(&host, &keys, 1, version(5), 100);
        host.beat_next_writes(3);
        note(&host, &keys, 2, version(5), 100);
        assert_eq!(read(&host, &keys).len(), 2);
    }
}
