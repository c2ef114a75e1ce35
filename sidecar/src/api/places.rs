//! Who may hold how many of a listener's connections, so that one client cannot take them all.
//!
//! There is no fixed share, since a whole fleet may come through one address: what an address may hold
//! shrinks with the square of what is free. So one alone gets three quarters; where a quarter is free the
//! bound is 3072, where a tenth is 491, where a hundredth is 4. An IPv6 address counts by itself: the pods of
//! a Kubernetes node share a /64.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::listener::Peer;

pub struct Places {
    all: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    together: usize,
    /// Of those that are not on this machine.
    by: HashMap<IpAddr, usize>,
}

/// One connection's, free again when it is dropped.
pub struct Place {
    places: Arc<Places>,
    peer: Peer,
}

/// An address may hold all places, times the square of the part that is free, times this. Beside one that
/// crowds, an Envoy with the shipped clusters still opens what it needs, and it takes dozens of addresses to
/// leave nothing for one more.
const STEEPNESS: usize = 12;
/// One in so many is kept for this machine: whoever looks what is wrong must get in.
const KEPT_FOR_HERE: usize = 64;

impl Places {
    pub fn new(all: usize) -> Arc<Self> {
        let held = Mutex::default();
        Arc::new(Self { all, held })
    }

    /// A place for a connection of `peer`, if there is one for it.
    pub fn take(self: &Arc<Self>, peer: Peer) -> Option<Place> {
        let mut held = self.held();
        let free = self.all.saturating_sub(held.together);
        match stranger(peer) {
            None if free == 0 => return None,
            None => {}
            Some(address) => {
                let has = held.by.get(&address).copied().unwrap_or(0);
                if has >= self.share(free) {
                    return None;
                }
                held.by.insert(address, has + 1);
            }
        }
        held.together += 1;
        let places = Arc::clone(self);
        Some(Place { places, peer })
    }

    /// How many an address that is not on this machine may hold while so many are free.
    fn share(&self, free: usize) -> usize {
        match free.saturating_sub(self.all / KEPT_FOR_HERE) {
            0 => 0,
            free => (STEEPNESS * free * free / self.all.max(1)).max(1),
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.places.held();
        held.together = held.together.saturating_sub(1);
        let Some(address) = stranger(self.peer) else {
            return;
        };
        if let Some(has) = held.by.get_mut(&address) {
            *has = has.saturating_sub(1);
            if *has == 0 {
                held.by.remove(&address);
            }
        }
    }
}

/// Its address, unless it is on this machine: Envoy beside us, a person, a tunnel that a person opened.
fn stranger(peer: Peer) -> Option<IpAddr> {
    match peer {
        Peer::Address(address) if !address.is_loopback() => Some(address),
        Peer::Address(_) | Peer::Socket => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::server::MAX_CONNECTIONS;
    use super::*;

    fn pod(number: u8) -> Peer {
        Peer::Address([10, 0, 0, number].into())
    }

    /// All that `peer` gets.
    fn crowd(places: &Arc<Places>, peer: Peer) -> Vec<Place> {
        std::iter::from_fn(|| places.take(peer)).collect()
    }

    /// As many connections as an Envoy opens for look-ups with the shipped clusters.
    const LOOK_UPS: usize = 512;

    #[test]
    fn a_fleet_behind_one_address_gets_three_quarters_and_leaves_an_envoy_what_it_needs() {
        let places = Places::new(MAX_CONNECTIONS);
        let fleet = crowd(&places, pod(1));
        assert!((3000..3072).contains(&fleet.len()), "{}", fleet.len());
        let envoy = crowd(&places, pod(2));
        assert!(envoy.len() >= LOOK_UPS, "{}", envoy.len());
        drop(fleet);
        assert!(crowd(&places, pod(3)).len() > 2 * MAX_CONNECTIONS / 3 - LOOK_UPS);
    }

    #[test]
    fn forty_that_crowd_leave_a_place_for_one_more_and_this_machine_always_has_some() {
        let places = Places::new(MAX_CONNECTIONS);
        let mut crowding: Vec<_> = (1..=40).flat_map(|it| crowd(&places, pod(it))).collect();
        assert!(places.take(pod(41)).is_some());
        crowding.extend((41..=200).flat_map(|it| crowd(&places, pod(it))));
        assert!(places.take(pod(201)).is_none());
        let of_here = crowd(&places, Peer::Address([127, 0, 0, 1].into())).len();
        assert_eq!(of_here, MAX_CONNECTIONS / KEPT_FOR_HERE);
        drop(crowding);
        // Whoever is turned away leaves nothing behind.
        assert_eq!(places.held().by.get(&[10, 0, 0, 201].into()), None);
    }

    #[test]
    fn this_machine_may_have_all_of_them_and_what_is_given_back_is_free() {
        let places = Places::new(4);
        for peer in [
            Peer::Socket,
            Peer::Address([127, 0, 0, 1].into()),
            Peer::Address(std::net::Ipv6Addr::LOCALHOST.into()),
        ] {
            assert_eq!(crowd(&places, peer).len(), 4);
        }
        assert_eq!(crowd(&places, pod(1)).len(), 3);
        assert_eq!(places.held().by.len(), 0);
        assert_eq!(places.held().together, 0);
    }
}
