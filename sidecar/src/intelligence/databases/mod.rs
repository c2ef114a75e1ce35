//! Databases in MaxMind's format that lie on the disk: whoever has one need ask nobody, spends no quota
//! and waits for nothing.
//!
//! `record` reads what they say, `volume` (with `tree`) checks a file whole, `slot` holds one database and weighs its
//! words, `keeper` watches the files. This module owns what they say together.

mod keeper;
mod record;
mod slot;
#[cfg(test)]
mod tests;
mod tree;
mod volume;

use std::sync::Arc;

use reputation::score::Indicator;
use reputation::{Cidr, ClientAddress, UnixSeconds};

use super::feeds::Hearing;
pub use keeper::{Keeper, Needs};
pub use record::Facts;
pub use slot::{DatabaseStatus, Slot, VolumeStatus, Word};

/// All databases, in the order of the configuration.
#[derive(Clone, Default)]
pub struct Databases {
    slots: Vec<Arc<Slot>>,
}

impl Databases {
    pub fn slots(&self) -> &[Arc<Slot>] {
        &self.slots
    }

    /// What those that score and are heard say of `address`.
    pub fn indicators(&self, address: ClientAddress, hearing: Hearing) -> Vec<Indicator> {
        self.scoring()
            .filter(|slot| slot.is_heard(address, hearing))
            .filter_map(|slot| slot.indicator(address))
            .collect()
    }

    /// Whether one of them has something against `address`.
    pub fn speak_against(&self, address: ClientAddress) -> bool {
        let heard = self.scoring();
        let heard = heard.filter(|slot| slot.is_heard(address, Hearing::InForce));
        let mut words = heard.filter_map(|slot| slot.word(address));
        words.any(|word| word.score > 0)
    }

    /// Whether one that scores has a say on anybody.
    pub fn have_say(&self) -> bool {
        self.scoring().any(|slot| !slot.config.say.is_none())
    }

    /// How many of them are heard about `address`.
    pub fn scoring_on(&self, address: ClientAddress, hearing: Hearing) -> usize {
        let heard = |slot: &&Arc<Slot>| slot.is_heard(address, hearing);
        self.scoring().filter(heard).count()
    }

    /// Whether one that scores has not the whole say.
    pub fn have_shadow(&self) -> bool {
        self.scoring().any(|slot| !slot.config.say.is_whole())
    }

    /// What each says of `address`, those too that only explain.
    pub fn words(&self, address: ClientAddress) -> Vec<(&Slot, Word)> {
        let slots = self.slots.iter().map(Arc::as_ref);
        slots
            .filter_map(|slot| Some((slot, slot.word(address)?)))
            .collect()
    }

    /// Whether one that scores tells addresses inside `network` apart.
    pub fn splits(&self, network: Cidr) -> bool {
        let mut volumes = self.scoring().filter_map(|slot| slot.volume());
        volumes.any(|volume| volume.splits(network))
    }

    pub fn statuses(&self, now: UnixSeconds) -> Vec<DatabaseStatus> {
        self.slots.iter().map(|slot| slot.status(now)).collect()
    }

    fn scoring(&self) -> impl Iterator<Item = &Arc<Slot>> {
        self.slots.iter().filter(|slot| slot.has_a_say())
    }
}
