//! Which VMs of this process are alive and what they hold, from beats in shared memory, so that the
//! process-wide gauges say the same whoever writes them last.

use super::keys::Keys;
use crate::host::Host;
use crate::metrics::Fleet;

const BEAT_MICROS: u64 = 500_000;
/// A VM that was silent for this long is not counted any more.
const ALIVE_MICROS: u64 = 4_000_000;
const ATTEMPTS: u32 = 4;
const MAX_VMS: usize = 1024;

#[derive(Debug, Default)]
pub struct Beat {
    last_micros: Option<u64>,
}

/// What one VM says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    pub nonce: u64,
    /// Zero without a snapshot.
    pub epoch: u64,
    pub version: u64,
    pub built_at: u64,
}

impl Beat {
    /// Says once a beat that this VM lives; gives what all of them say.
    pub fn tell<H: Host>(
        &mut self,
        host: &H,
        keys: &Keys,
        status: Status,
        now: u64,
    ) -> Option<Fleet> {
        let due = self
            .last_micros
            .is_none_or(|last| now.abs_diff(last) >= BEAT_MICROS);
        if !due {
            return None;
        }
        self.last_micros = Some(now);
        for _ in 0..ATTEMPTS {
            let (bytes, cas) = match host.shared(&keys.fleet) {
                Some((bytes, cas)) => (bytes, Some(cas)),
                None => (Vec::new(), None),
            };
            let mut beats = decode(&bytes);
            beats.retain(|(at, other)| {
                other.nonce != status.nonce && now.abs_diff(*at) <= ALIVE_MICROS
            });
            beats.truncate(MAX_VMS);
            beats.push((now, status));
            if host.set_shared(&keys.fleet, &encode(&beats), cas).is_ok() {
                return Some(summary(&beats));
            }
        }
        None
    }
}

/// The VMs that have shown a sign of life since `micros`.
pub fn alive_since<H: Host>(host: &H, keys: &Keys, micros: u64) -> Vec<u64> {
    let bytes = host.shared(&keys.fleet).map(|(bytes, _)| bytes);
    let beats = decode(&bytes.unwrap_or_default());
    let alive = beats.into_iter().filter(|(at, _)| *at >= micros);
    alive.map(|(_, status)| status.nonce).collect()
}

fn summary(beats: &[(u64, Status)]) -> Fleet {
    let statuses = || beats.iter().map(|(_, status)| status);
    let oldest = statuses().min_by_key(|status| (status.epoch, status.version));
    Fleet {
        vms: u64::try_from(beats.len()).unwrap_or(u64::MAX),
        version_min: oldest.map_or(0, |status| status.version),
        built_min: statuses().map(|status| status.built_at).min().unwrap_or(0),
    }
}

fn encode(beats: &[(u64, Status)]) -> Vec<u8> {
    let fields = beats.iter().flat_map(|(at, status)| {
        [
            *at,
            status.nonce,
            status.epoch,
            status.version,
            status.built_at,
        ]
    });
    fields.flat_map(u64::to_le_bytes).collect()
}

fn decode(bytes: &[u8]) -> Vec<(u64, Status)> {
    let (words, _) = bytes.as_chunks::<8>();
    let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
    let (beats, _) = words.as_chunks::<5>();
    let beat = |&[at, nonce, epoch, version, built_at]: &[u64; 5]| {
        let status = Status {
            nonce,
            epoch,
            version,
            built_at,
        };
        (at, status)
    };
    beats.iter().map(beat).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{MockHost, config};

    fn status(nonce: u64, version: u64) -> Status {
        Status {
            nonce,
            epoch: 1,
            version,
            built_at: version * 10,
        }
    }

    #[test]
    fn the_gauges_say_the_least_of_all_vms_that_live() {
        let (host, keys) = (MockHost::default(), Keys::new(&config("{}").sidecar));
        let tell = |status, now| Beat::default().tell(&host, &keys, status, now);
        tell(status(1, 7), 0);
        let both = Fleet {
            vms: 2,
            version_min: 5,
            built_min: 50,
        };
        assert_eq!(tell(status(2, 5), 1_000_000), Some(both));
        let alone = Fleet {
            vms: 1,
            version_min: 8,
            built_min: 80,
        };
        assert_eq!(
            tell(status(1, 8), 9_000_000),
            Some(alone),
            "the other one is gone"
        );
    }

    #[test]
    fn it_beats_twice_a_second() {
        let (host, keys) = (MockHost::default(), Keys::new(&config("{}").sidecar));
        let mut beat = Beat::default();
        assert!(beat.tell(&host, &keys, status(1, 1), 0).is_some());
        assert!(beat.tell(&host, &keys, status(1, 1), 499_999).is_none());
        assert!(beat.tell(&host, &keys, status(1, 1), 500_000).is_some());
    }
}
