//! Who is known from before: how often an address was seen lately, and which networks have bad members.
//! This is what tells those who are worth a call from strangers who only pass. Fixed memory, half a MiB.

use std::sync::{Mutex, MutexGuard, PoisonError};

use reputation::{Cidr, ClientAddress, UnixSeconds};

use super::networks::network_of;
use super::sightings::Sightings;
use crate::config;

/// Good for 32,768 addresses in a window; with more the window is shorter.
const ADDRESSES: u32 = 1 << 16;
/// Good for 2,048 networks.
const NETWORKS: u32 = 1 << 12;
/// How long a bad answer about one address is held against its network at least, in seconds, and how many
/// of them make its other addresses suspicious.
const HELD_AGAINST: u32 = 12 * 3600;
const BAD_NEIGHBOURS: u8 = 2;

/// An address that somebody could be asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    pub address: ClientAddress,
    /// How often it was seen lately.
    pub sightings: u8,
    /// Something speaks against it already.
    pub suspicious: bool,
}

pub struct Acquaintances {
    addresses: Mutex<Sightings>,
    /// The networks of addresses that were answered bad.
    bad: Mutex<Sightings>,
}

impl Candidate {
    pub fn network(&self) -> Cidr {
        network_of(self.address)
    }
}

impl Default for Acquaintances {
    fn default() -> Self {
        let window_s = config::Budget::default().window_s();
        Self {
            addresses: Mutex::new(Sightings::new(ADDRESSES, window_s)),
            bad: Mutex::new(Sightings::new(NETWORKS, HELD_AGAINST)),
        }
    }
}

impl Acquaintances {
    /// Sees `address`, which counts as `key`. Sightings count for `window_s` seconds.
    pub fn meet(
        &self,
        address: ClientAddress,
        key: ClientAddress,
        suspicious: bool,
        window_s: u32,
        now: UnixSeconds,
    ) -> Candidate {
        let sightings = {
            let mut addresses = lock(&self.addresses);
            addresses.set_window(window_s);
            addresses.note(&key, now)
        };
        let neighbours = || lock(&self.bad).count(&network_of(address), now);
        Candidate {
            address,
            sightings,
            suspicious: suspicious || neighbours() >= BAD_NEIGHBOURS,
        }
    }

    /// Somebody gave a bad answer about an address in `network`.
    pub fn note_bad(&self, network: Cidr, now: UnixSeconds) {
        lock(&self.bad).note(&network, now);
    }
}

fn lock(sightings: &Mutex<Sightings>) -> MutexGuard<'_, Sightings> {
    sightings.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_795_000_000);

    #[test]
    fn two_bad_neighbours_make_an_address_suspicious_at_first_sight() {
        let acquaintances = Acquaintances::default();
        let meet = |text: &str| {
            let address = text.parse().unwrap();
            acquaintances.meet(address, address, false, 600, NOW)
        };
        acquaintances.note_bad(meet("198.18.0.1").network(), NOW);
        assert!(!meet("198.18.0.3").suspicious);
        acquaintances.note_bad(meet("198.18.0.2").network(), NOW);
        let candidate = meet("198.18.0.4");
        assert!(candidate.suspicious);
        assert_eq!(candidate.sightings, 1);
        assert!(!meet("198.18.1.4").suspicious);
    }
}
