//! How many of a day's calls went to each network, so that no single one takes them all. Counted in a
//! sketch: whoever has a million networks costs no more memory than whoever has one.

use std::collections::HashMap;

use reputation::{Cidr, ClientAddress};

use super::sketch::Sketch;
use crate::clock::Day;

/// Networks that one hand holds whole.
const V4_NETWORK: u8 = 24;
const V6_NETWORK: u8 = 48;
/// Cells a row: what networks add to each other is a thousandth of the day's calls.
const WIDTH: u32 = 1024;

/// The network that `address` counts with.
pub fn network_of(address: ClientAddress) -> Cidr {
    let length = match address {
        ClientAddress::V4(_) => V4_NETWORK,
        ClientAddress::V6(_) => V6_NETWORK,
    };
    Cidr::new(address, length).unwrap_or(Cidr::host(address))
}

pub struct Networks {
    day: Day,
    calls: Sketch<u32>,
    /// Calls that are being booked: as few as are out at once. The sketch takes nothing back.
    pending: HashMap<Cidr, u32>,
}

impl Networks {
    pub fn new() -> Self {
        Self {
            day: Day(0),
            calls: Sketch::new(WIDTH),
            pending: HashMap::new(),
        }
    }

    pub fn used(&self, network: Cidr, today: Day) -> u32 {
        let pending = self.pending.get(&network).copied().unwrap_or(0);
        let booked = if self.day == today {
            self.calls.count(&network)
        } else {
            0
        };
        booked.saturating_add(pending)
    }

    /// A call is being booked; [`Self::settle`] follows, whatever comes of it.
    pub fn begin(&mut self, network: Cidr) {
        let pending = self.pending.entry(network).or_default();
        *pending = pending.saturating_add(1);
    }

    pub fn settle(&mut self, network: Cidr, booked: bool, today: Day) {
        if let Some(pending) = self.pending.get_mut(&network) {
            *pending = pending.saturating_sub(1);
            if *pending == 0 {
                self.pending.remove(&network);
            }
        }
        if booked {
            self.add(network, today);
        }
    }

    fn add(&mut self, network: Cidr, today: Day) {
        if self.day != today {
            self.calls.clear();
            self.day = today;
        }
        self.calls.add(&network);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_count_together_and_each_day_anew() {
        let network = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(network("198.18.0.1"), network("198.18.0.254"));
        assert_ne!(network("198.18.0.1"), network("198.18.1.1"));
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:ffff::1"));
        assert_ne!(network("2001:db8:1::1"), network("2001:db8:2::1"));
        let mut networks = Networks::new();
        for _ in 0..3 {
            networks.add(network("198.18.0.1"), Day(7));
        }
        assert_eq!(networks.used(network("198.18.0.9"), Day(7)), 3);
        assert_eq!(networks.used(network("198.18.1.9"), Day(7)), 0);
        assert_eq!(networks.used(network("198.18.0.9"), Day(8)), 0);
        networks.add(network("198.18.1.1"), Day(8));
        assert_eq!(networks.used(network("198.18.0.9"), Day(8)), 0);
    }

    #[test]
    fn ten_thousand_networks_do_not_use_up_the_share_of_another() {
        let mut networks = Networks::new();
        for high in 0..10_000_u32 {
            networks.add(network_of(ClientAddress::V4(high << 8)), Day(1));
        }
        let other = network_of(ClientAddress::V4(u32::MAX));
        assert!(networks.used(other, Day(1)) < 100);
    }
}
