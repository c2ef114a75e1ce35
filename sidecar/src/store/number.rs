//! What a snapshot is numbered with: its version, and when something was last taken back.

use reputation::digest::Digest;
use reputation::manifest::SnapshotVersion;

/// What a snapshot changes against the one before it at the same sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It adds at most.
    Adds,
    /// Something that was in force is no more, or is something else.
    TakesBack,
}

/// The number of a snapshot. Sidecars that share a store draw from one row of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Number {
    pub version: SnapshotVersion,
    /// Names the last snapshot of the epoch, whoever's, that took something back: by its version, or by
    /// chance where it was numbered without the others.
    pub taken_back: u64,
}

impl Number {
    /// Proxies drop what they keep of answers when it is another one. Epoch and take-back are mixed, not
    /// added: a later epoch at a lower version must not meet an earlier one again.
    pub fn generation(self) -> u32 {
        let epoch = self.version.epoch.to_be_bytes();
        let mixed = Digest::of(&[epoch, self.taken_back.to_be_bytes()].concat());
        let [a, b, c, d, ..] = mixed.0;
        u32::from_be_bytes([a, b, c, d])
    }

    /// The one after it, in a row that nobody else counts.
    pub fn next(self, step: Step) -> Self {
        let version = self.version.version.saturating_add(1);
        Self {
            version: SnapshotVersion {
                version,
                ..self.version
            },
            taken_back: match step {
                Step::Adds => self.taken_back,
                Step::TakesBack => version,
            },
        }
    }

    /// Of two, the one with the higher version; of equal ones `self`.
    pub fn or_newer(self, other: Self) -> Self {
        if self.version < other.version {
            other
        } else {
            self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: u64, version: u64) -> Number {
        Number {
            version: SnapshotVersion { epoch, version },
            taken_back: 0,
        }
    }

    #[test]
    fn a_generation_stays_while_things_are_added_and_is_another_after_a_take_back() {
        let first = at(1_800_000_000, 6).next(Step::TakesBack);
        let added = first.next(Step::Adds).next(Step::Adds);
        assert_eq!(added.generation(), first.generation());
        assert_ne!(added.next(Step::TakesBack).generation(), first.generation());
    }

    #[test]
    fn a_later_epoch_at_a_lower_version_is_another_generation() {
        let before = at(1_800_000_000, 6).next(Step::TakesBack);
        for later in 1..6 {
            let lost = at(1_800_000_000 + later, 6 - later).next(Step::TakesBack);
            assert_ne!(lost.generation(), before.generation(), "{later} s later");
        }
    }
}
