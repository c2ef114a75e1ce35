//! The addresses that were lately answered clean: whom a very wide ban would hit, and, among them, those who
//! came back, against whom a new version of a feed is tried. Bounded; kept in memory only.
//!
//! That somebody was answered clean once says nothing for him: whoever attacks from many addresses is
//! answered clean until a list names them, and must not hold that list up.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use moka::sync::Cache;
use reputation::{Cidr, ClientAddress, UnixSeconds};

use super::providers::network_of;

const KEPT: usize = 4096;
/// So many of a network at most: whoever holds one whole has as many addresses as he likes.
const OF_A_NETWORK: usize = 4;
/// So many seconds after its first clean answer another one makes an address one that was served well.
const SPAN: u32 = 3600;
/// Of how many addresses the first clean answer is remembered. A flood of new ones does not displace those
/// that were looked up more often.
const FIRST: u64 = 32_768;

pub struct RecentlyClean {
    last: Mutex<Ring>,
    served_well: Mutex<Ring>,
    first: Cache<ClientAddress, UnixSeconds>,
}

/// The last addresses, each once: whoever asks often does not weigh more.
#[derive(Debug, Default)]
struct Ring {
    order: VecDeque<ClientAddress>,
    present: HashSet<ClientAddress>,
    networks: HashMap<Cidr, usize>,
}

impl Default for RecentlyClean {
    fn default() -> Self {
        Self {
            last: Mutex::default(),
            served_well: Mutex::default(),
            first: Cache::new(FIRST),
        }
    }
}

impl RecentlyClean {
    pub fn note(&self, address: ClientAddress, now: UnixSeconds) {
        lock(&self.last).push(address);
        match self.first.get(&address) {
            None => self.first.insert(address, now),
            Some(first) if first.until(now) >= SPAN => lock(&self.served_well).push(address),
            Some(_) => {}
        }
    }

    /// Those who were answered clean at all.
    pub fn all(&self) -> Vec<ClientAddress> {
        lock(&self.last).order.iter().copied().collect()
    }

    /// Those who were answered clean, and came back much later and were again.
    pub fn served_well(&self) -> Vec<ClientAddress> {
        lock(&self.served_well).order.iter().copied().collect()
    }
}

impl Ring {
    fn push(&mut self, address: ClientAddress) {
        if self.present.contains(&address) {
            return;
        }
        let of_network = self.networks.entry(network_of(address)).or_default();
        if *of_network >= OF_A_NETWORK {
            return;
        }
        *of_network += 1;
        self.present.insert(address);
        self.order.push_back(address);
        if self.order.len() > KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.forget(oldest);
        }
    }

    fn forget(&mut self, oldest: ClientAddress) {
        self.present.remove(&oldest);
        let network = network_of(oldest);
        if let Some(left) = self.networks.get_mut(&network) {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.networks.remove(&network);
            }
        }
    }
}

fn lock(ring: &Mutex<Ring>) -> MutexGuard<'_, Ring> {
    ring.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_795_000_000);

    /// The address number `index` of as many, each in another network.
    fn rotating(index: u32) -> ClientAddress {
        ClientAddress::V4(index << 8)
    }

    #[test]
    fn the_ring_holds_each_address_once_and_forgets_the_oldest() {
        let recent = RecentlyClean::default();
        for index in 0..5000 {
            recent.note(rotating(index), NOW);
            recent.note(rotating(index), NOW);
        }
        let all = recent.all();
        assert_eq!(all.len(), KEPT);
        assert_eq!(all.last(), Some(&rotating(4999)));
        assert_eq!(lock(&recent.last).networks.len(), KEPT);
    }

    #[test]
    fn who_comes_back_after_an_hour_was_served_well_and_who_comes_once_was_not() {
        let recent = RecentlyClean::default();
        recent.note(rotating(1), NOW);
        recent.note(rotating(1), NOW.plus(SPAN - 1));
        recent.note(rotating(2), NOW.plus(SPAN));
        assert_eq!(recent.served_well(), []);
        recent.note(rotating(1), NOW.plus(SPAN));
        assert_eq!(recent.served_well(), [rotating(1)]);
        assert_eq!(recent.all(), [rotating(1), rotating(2)]);
    }

    #[test]
    fn one_network_is_a_few_voices_however_many_addresses_it_has() {
        let recent = RecentlyClean::default();
        for now in [NOW, NOW.plus(SPAN)] {
            for low in 0..=255 {
                recent.note(ClientAddress::V4(0xc612_0000 + low), now);
                recent.note(format!("2001:db8:7:{low:x}::1").parse().unwrap(), now);
            }
        }
        assert_eq!(recent.served_well().len(), 2 * OF_A_NETWORK);
        assert_eq!(recent.all().len(), 2 * OF_A_NETWORK);
    }
}
