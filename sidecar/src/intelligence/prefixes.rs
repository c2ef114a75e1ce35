//! Prefixes with a value each, sorted and packed: what a feed lists, and what all feeds together list.
//!
//! Owns the order and the questions "which prefixes hold this address?" and "which overlap this
//! prefix?". What a value means is the caller's. A prefix may stand here with several values.

use reputation::{Cidr, ClientAddress};

/// Sorted by family, network, length, value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefixMap<T> {
    v4: Family<u32, T>,
    v6: Family<u128, T>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry<N, T> {
    pub network: N,
    pub len: u8,
    pub value: T,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Family<N, T> {
    entries: Vec<Entry<N, T>>,
    /// The prefix lengths that occur, ascending.
    lengths: Vec<u8>,
}

/// Network bits of one address family.
pub trait Bits: Copy + Ord {
    const WIDTH: u8;
    /// With the bits after the first `len` cleared.
    fn masked(self, len: u8) -> Self;
    /// With the bits after the first `len` set.
    fn last(self, len: u8) -> Self;
    fn address(self) -> ClientAddress;
}

/// Gathers entries in any order.
#[derive(Debug, Default)]
pub struct PrefixMapBuilder<T> {
    v4: Vec<Entry<u32, T>>,
    v6: Vec<Entry<u128, T>>,
}

impl<T: Copy + Ord> PrefixMapBuilder<T> {
    pub fn new() -> Self {
        Self {
            v4: Vec::new(),
            v6: Vec::new(),
        }
    }

    pub fn push(&mut self, cidr: Cidr, value: T) {
        let len = cidr.len();
        match cidr.network() {
            ClientAddress::V4(network) => self.v4.push(Entry {
                network,
                len,
                value,
            }),
            ClientAddress::V6(network) => self.v6.push(Entry {
                network,
                len,
                value,
            }),
        }
    }

    pub fn count(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Sorts, and drops what stands there twice.
    pub fn build(self) -> PrefixMap<T> {
        PrefixMap {
            v4: Family::new(self.v4, |one, other| one == other),
            v6: Family::new(self.v6, |one, other| one == other),
        }
    }

    /// Sorts, and keeps the least of the values of a prefix that `same` holds to be alike.
    pub fn build_least_of(self, same: impl Fn(T, T) -> bool) -> PrefixMap<T> {
        PrefixMap {
            v4: Family::new(self.v4, |later, earlier| alike(later, earlier, &same)),
            v6: Family::new(self.v6, |later, earlier| alike(later, earlier, &same)),
        }
    }

    /// Sorts, and keeps the greatest value of each prefix.
    pub fn build_greatest(self) -> PrefixMap<T> {
        PrefixMap {
            v4: Family::new(self.v4, keep_greatest),
            v6: Family::new(self.v6, keep_greatest),
        }
    }
}

impl<T> Default for PrefixMap<T> {
    fn default() -> Self {
        Self {
            v4: Family {
                entries: Vec::new(),
                lengths: Vec::new(),
            },
            v6: Family {
                entries: Vec::new(),
                lengths: Vec::new(),
            },
        }
    }
}

impl<T: Copy + Ord> PrefixMap<T> {
    pub fn len(&self) -> usize {
        self.v4.entries.len() + self.v6.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn v4(&self) -> &[Entry<u32, T>] {
        &self.v4.entries
    }

    pub fn v6(&self) -> &[Entry<u128, T>] {
        &self.v6.entries
    }

    pub fn iter(&self) -> impl Iterator<Item = (Cidr, T)> + '_ {
        let v4 = self.v4.entries.iter().filter_map(Entry::parts);
        v4.chain(self.v6.entries.iter().filter_map(Entry::parts))
    }

    /// Every entry whose prefix holds `address`, shortest prefix first.
    pub fn containing(&self, address: ClientAddress) -> Vec<(Cidr, T)> {
        self.covering(Cidr::host(address))
    }

    /// Every entry whose prefix is `cidr` or holds all of it, shortest prefix first.
    pub fn covering(&self, cidr: Cidr) -> Vec<(Cidr, T)> {
        match cidr.network() {
            ClientAddress::V4(network) => self.v4.covering(network, cidr.len()),
            ClientAddress::V6(network) => self.v6.covering(network, cidr.len()),
        }
    }

    /// The values of the very prefix `cidr`.
    pub fn at(&self, cidr: Cidr) -> Vec<T> {
        match cidr.network() {
            ClientAddress::V4(network) => self.v4.at(network, cidr.len()),
            ClientAddress::V6(network) => self.v6.at(network, cidr.len()),
        }
    }

    /// Every entry whose prefix is `cidr` or lies inside it.
    pub fn inside(&self, cidr: Cidr) -> Vec<(Cidr, T)> {
        match cidr.network() {
            ClientAddress::V4(network) => parts_of(self.v4.inside(network, cidr.len())),
            ClientAddress::V6(network) => parts_of(self.v6.inside(network, cidr.len())),
        }
    }

    pub fn count_inside(&self, cidr: Cidr) -> usize {
        match cidr.network() {
            ClientAddress::V4(network) => self.v4.inside(network, cidr.len()).len(),
            ClientAddress::V6(network) => self.v6.inside(network, cidr.len()).len(),
        }
    }

    /// Whether an entry with a longer prefix than `cidr` lies inside it.
    pub fn splits(&self, cidr: Cidr) -> bool {
        match cidr.network() {
            ClientAddress::V4(network) => self.v4.any_longer(network, cidr.len()),
            ClientAddress::V6(network) => self.v6.any_longer(network, cidr.len()),
        }
    }
}

impl<N: Bits, T: Copy> Entry<N, T> {
    pub fn cidr(&self) -> Option<Cidr> {
        Cidr::new(self.network.address(), self.len)
    }

    fn parts(&self) -> Option<(Cidr, T)> {
        Some((self.cidr()?, self.value))
    }
}

impl<N: Bits, T: Copy + Ord> Family<N, T> {
    fn new(
        mut entries: Vec<Entry<N, T>>,
        mut same: impl FnMut(&mut Entry<N, T>, &mut Entry<N, T>) -> bool,
    ) -> Self {
        entries.sort_unstable();
        entries.dedup_by(|later, earlier| same(later, earlier));
        entries.shrink_to_fit();
        let mut present = [false; 129];
        for entry in &entries {
            if let Some(slot) = present.get_mut(usize::from(entry.len)) {
                *slot = true;
            }
        }
        let lengths = (0..=N::WIDTH)
            .filter(|len| present.get(usize::from(*len)).copied().unwrap_or(false))
            .collect();
        Self { entries, lengths }
    }

    fn covering(&self, network: N, longest: u8) -> Vec<(Cidr, T)> {
        let mut found = Vec::new();
        for &len in self.lengths.iter().take_while(|len| **len <= longest) {
            let wanted = (network.masked(len), len);
            let from = self
                .entries
                .partition_point(|entry| (entry.network, entry.len) < wanted);
            let same = self.entries.iter().skip(from);
            found.extend(
                same.take_while(|entry| (entry.network, entry.len) == wanted)
                    .filter_map(Entry::parts),
            );
        }
        found
    }

    fn at(&self, network: N, len: u8) -> Vec<T> {
        let from = self
            .entries
            .partition_point(|entry| (entry.network, entry.len) < (network, len));
        let same = self.entries.iter().skip(from);
        same.take_while(|entry| (entry.network, entry.len) == (network, len))
            .map(|entry| entry.value)
            .collect()
    }

    fn inside(&self, network: N, len: u8) -> &[Entry<N, T>] {
        let from = self
            .entries
            .partition_point(|entry| (entry.network, entry.len) < (network, len));
        let last = network.last(len);
        let until = self.entries.partition_point(|entry| entry.network <= last);
        self.entries.get(from..until).unwrap_or_default()
    }

    fn any_longer(&self, network: N, len: u8) -> bool {
        let inside = self.inside(network, len);
        inside.iter().any(|entry| entry.len > len)
    }
}

impl Bits for u32 {
    const WIDTH: u8 = 32;

    fn masked(self, len: u8) -> Self {
        self & !host_bits_v4(len)
    }

    fn last(self, len: u8) -> Self {
        self | host_bits_v4(len)
    }

    fn address(self) -> ClientAddress {
        ClientAddress::V4(self)
    }
}

impl Bits for u128 {
    const WIDTH: u8 = 128;

    fn masked(self, len: u8) -> Self {
        self & !host_bits_v6(len)
    }

    fn last(self, len: u8) -> Self {
        self | host_bits_v6(len)
    }

    fn address(self) -> ClientAddress {
        ClientAddress::V6(self)
    }
}

fn host_bits_v4(len: u8) -> u32 {
    u32::MAX.checked_shr(u32::from(len)).unwrap_or(0)
}

fn host_bits_v6(len: u8) -> u128 {
    u128::MAX.checked_shr(u32::from(len)).unwrap_or(0)
}

fn alike<N: Bits, T: Copy>(
    later: &Entry<N, T>,
    earlier: &Entry<N, T>,
    same: impl Fn(T, T) -> bool,
) -> bool {
    (later.network, later.len) == (earlier.network, earlier.len) && same(later.value, earlier.value)
}

fn keep_greatest<N: Bits, T: Copy + Ord>(
    later: &mut Entry<N, T>,
    earlier: &mut Entry<N, T>,
) -> bool {
    let same = (later.network, later.len) == (earlier.network, earlier.len);
    if same {
        earlier.value = earlier.value.max(later.value);
    }
    same
}

fn parts_of<N: Bits, T: Copy>(entries: &[Entry<N, T>]) -> Vec<(Cidr, T)> {
    entries.iter().filter_map(Entry::parts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, u8)]) -> PrefixMap<u8> {
        let mut builder = PrefixMapBuilder::new();
        for (cidr, value) in entries {
            builder.push(cidr.parse().unwrap(), *value);
        }
        builder.build_greatest()
    }

    fn texts(found: Vec<(Cidr, u8)>) -> Vec<String> {
        found.iter().map(|(cidr, _)| cidr.to_string()).collect()
    }

    #[test]
    fn every_prefix_that_holds_an_address_is_found() {
        let map = map(&[
            ("198.51.100.0/24", 1),
            ("198.51.100.7", 2),
            ("198.51.0.0/16", 3),
            ("2001:db8::/32", 4),
        ]);
        let found = map.containing("198.51.100.7".parse().unwrap());
        assert_eq!(
            texts(found),
            ["198.51.0.0/16", "198.51.100.0/24", "198.51.100.7/32"]
        );
        assert_eq!(map.containing("2001:db8:1::9".parse().unwrap()).len(), 1);
        assert!(map.containing("192.0.2.1".parse().unwrap()).is_empty());
    }

    #[test]
    fn a_prefix_listed_twice_keeps_its_greatest_value() {
        let map = map(&[("192.0.2.1", 10), ("192.0.2.1", 90), ("192.0.2.1", 40)]);
        assert_eq!(map.len(), 1);
        assert_eq!(map.containing("192.0.2.1".parse().unwrap())[0].1, 90);
    }

    #[test]
    fn what_lies_inside_a_prefix_is_found() {
        let map = map(&[
            ("192.0.0.0/16", 1),
            ("192.0.2.0/24", 1),
            ("192.0.2.0", 1),
            ("192.0.2.255", 1),
            ("192.0.3.0", 1),
        ]);
        let cidr = "192.0.2.0/24".parse().unwrap();
        assert_eq!(
            texts(map.inside(cidr)),
            ["192.0.2.0/24", "192.0.2.0/32", "192.0.2.255/32"]
        );
        assert!(map.splits(cidr));
        assert!(!map.splits("192.0.2.255/32".parse().unwrap()));
        assert_eq!(map.count_inside("0.0.0.0/0".parse().unwrap()), 5);
    }
}
