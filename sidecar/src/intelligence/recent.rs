//! The addresses that were lately answered clean: what a new version of a feed is tried against in
//! shadow. Bounded; kept in memory only.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use reputation::ClientAddress;

const KEPT: usize = 4096;

/// The last addresses, each once: whoever asks often does not weigh more.
#[derive(Debug, Default)]
pub struct RecentlyClean {
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    order: VecDeque<ClientAddress>,
    present: HashSet<ClientAddress>,
}

impl RecentlyClean {
    pub fn note(&self, address: ClientAddress) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if !ring.present.insert(address) {
            return;
        }
        ring.order.push_back(address);
        if ring.order.len() > KEPT
            && let Some(oldest) = ring.order.pop_front()
        {
            ring.present.remove(&oldest);
        }
    }

    pub fn all(&self) -> Vec<ClientAddress> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.order.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_holds_each_address_once_and_forgets_the_oldest() {
        let recent = RecentlyClean::default();
        for bits in 0..5000 {
            recent.note(ClientAddress::V4(bits));
            recent.note(ClientAddress::V4(bits));
        }
        let all = recent.all();
        assert_eq!(all.len(), KEPT);
        assert_eq!(all.last(), Some(&ClientAddress::V4(4999)));
    }
}
