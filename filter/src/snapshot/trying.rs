//! The note `trying V`, so that a poisonous snapshot does not trap each reloaded VM again.
//!
//! A VM writes it before it activates V and takes it away after its first served requests. One that
//! starts and finds it leaves V alone, unless the writer shows that it is alive: then V did not end it.

use reputation::manifest::SnapshotVersion;

use super::fleet;
use super::keys::Keys;
use crate::host::Host;

/// More VMs than a process has workers; older notes give way.
const MAX_NOTES: usize = 256;
const ATTEMPTS: u32 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Note {
    nonce: u64,
    version: SnapshotVersion,
    written_micros: u64,
}

/// Whether another VM that may have ended since was already trying `version` when this one, known as
/// `nonce`, started. A note that came later is of a VM that goes the same way at the same time, and says
/// nothing.
pub fn is_tried_by_another<H: Host>(
    host: &H,
    keys: &Keys,
    nonce: u64,
    started_micros: u64,
    version: SnapshotVersion,
) -> bool {
    let mut notes = read(host, keys);
    notes.retain(|note| {
        note.nonce != nonce && note.version == version && note.written_micros < started_micros
    });
    !notes.is_empty() && {
        let alive = fleet::alive_since(host, keys, started_micros);
        notes.iter().any(|note| !alive.contains(&note.nonce))
    }
}

/// Notes that this VM is about to activate `version`. Notes on older versions are dropped.
pub fn note<H: Host>(host: &H, keys: &Keys, nonce: u64, version: SnapshotVersion, now: u64) {
    change(host, keys, |notes| {
        notes.retain(|note| note.nonce != nonce && note.version >= version);
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

    #[test]
    fn a_vm_that_starts_after_the_note_finds_it_and_one_that_started_before_does_not() {
        let (host, keys) = (MockHost::default(), Keys::new(&config("{}").sidecar));
        note(&host, &keys, 1, version(5), 100);
        let tried =
            |nonce, started, v| is_tried_by_another(&host, &keys, nonce, started, version(v));
        assert!(tried(2, 101, 5));
        assert!(!tried(2, 99, 5), "both go the same way");
        assert!(!tried(1, 101, 5), "its own note");
        assert!(!tried(2, 101, 6), "another version");
        let status = fleet::Status {
            nonce: 1,
            epoch: 1,
            version: 5,
            built_at: 0,
        };
        fleet::Beat::default().tell(&host, &keys, status, 101);
        assert!(
            tried(2, 102, 5),
            "its last beat may have been before its end"
        );
        assert!(!tried(2, 101, 5), "its writer is alive");
        clear(&host, &keys, 1);
        assert!(!tried(2, 101, 5));
    }

    #[test]
    fn notes_on_older_versions_are_dropped_and_their_number_is_bounded() {
        let (host, keys) = (MockHost::default(), Keys::new(&config("{}").sidecar));
        note(&host, &keys, 1, version(5), 100);
        note(&host, &keys, 2, version(6), 100);
        assert!(!is_tried_by_another(&host, &keys, 3, 200, version(5)));
        (0..1_000).for_each(|nonce| note(&host, &keys, nonce, version(6), 100));
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
