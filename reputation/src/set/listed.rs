//! The listed part on its way into an image. Owns what becomes a dense set and what becomes ranges.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::attributes::Numbering;
use super::class::ClassId;
use super::flatten::{Prefix, flatten};
use super::order::Order;
use super::place::{Key, Place};
use super::row::{Row, Tag};
use super::sections::Sections;
use super::{dense, ranges};
use crate::cidr::Cidr;

/// From here on a set of its own is smaller than ranges.
pub(super) const DENSE_FROM: usize = 16 * 1024;
/// Each set is one more place to look: the smaller ones become ranges.
const MAX_DENSE: usize = 16;

#[derive(Debug)]
pub(super) struct Listed {
    /// How many addresses of a class make a set.
    dense_from: usize,
    /// Single IPv4 addresses, which are most of what is listed.
    hosts: Vec<(u32, ClassId)>,
    v4: Vec<Prefix<u32>>,
    v6: Vec<Prefix<u64>>,
    v6_long: Vec<Prefix<u128>>,
}

impl Listed {
    pub fn new(dense_from: usize) -> Self {
        Self {
            dense_from,
            hosts: Vec::new(),
            v4: Vec::new(),
            v6: Vec::new(),
            v6_long: Vec::new(),
        }
    }

    pub fn add(&mut self, cidr: Cidr, class: ClassId) {
        let len = cidr.len();
        match Place::of(cidr) {
            Place::V4(key) if len == u32::WIDTH => self.hosts.push((key, class)),
            Place::V4(key) => self.v4.push(Prefix { key, len, class }),
            Place::V6(key) => self.v6.push(Prefix { key, len, class }),
            Place::V6Long(key) => self.v6_long.push(Prefix { key, len, class }),
        }
    }

    pub fn write(mut self, order: &Order, out: &mut Sections) {
        self.renumber(order);
        for (class, addresses) in self.take_dense() {
            out.add(|bytes| dense::write(class, &addresses, bytes));
        }
        let hosts = self.hosts.into_iter();
        self.v4.extend(hosts.map(|(key, class)| Prefix {
            key,
            len: u32::WIDTH,
            class,
        }));
        let rank = |class| order.rank(class);
        let v4 = flatten(self.v4, rank);
        let v6 = flatten(self.v6, rank);
        let v6_long = flatten(self.v6_long, rank);
        let v4_attributes = v4.iter().filter_map(|range| range.attribute);
        let v6_attributes = v6.iter().filter_map(|range| range.attribute);
        let long_attributes = v6_long.iter().filter_map(|range| range.attribute);
        let numbering = Numbering::of(v4_attributes.chain(v6_attributes).chain(long_attributes));
        let (wide, id) = (numbering.is_wide(), |attribute| numbering.id(attribute));
        out.add(|bytes| ranges::write(Tag::Ranges4, &v4, wide, id, bytes));
        out.add(|bytes| ranges::write(Tag::Ranges6, &v6, wide, id, bytes));
        out.add(|bytes| ranges::write(Tag::Ranges6Long, &v6_long, wide, id, bytes));
        out.add(|bytes| {
            numbering.write(bytes);
            Row::new(Tag::Attributes, 0, numbering.len())
        });
    }

    fn renumber(&mut self, order: &Order) {
        let renumber = |class: &mut ClassId| match order.place(*class) {
            Some(place) => {
                *class = place;
                true
            }
            None => false,
        };
        self.hosts.retain_mut(|(_, class)| renumber(class));
        self.v4.retain_mut(|prefix| renumber(&mut prefix.class));
        self.v6.retain_mut(|prefix| renumber(&mut prefix.class));
        self.v6_long
            .retain_mut(|prefix| renumber(&mut prefix.class));
    }

    /// Takes the single addresses of the largest classes out, sorted. An address that is in several
    /// classes stays in the strongest.
    fn take_dense(&mut self) -> BTreeMap<ClassId, Vec<u32>> {
        self.hosts
            .sort_unstable_by_key(|(key, class)| (*key, Reverse(*class)));
        self.hosts.dedup_by_key(|(key, _)| *key);
        let mut counts: BTreeMap<ClassId, usize> = BTreeMap::new();
        self.hosts
            .iter()
            .for_each(|(_, class)| *counts.entry(*class).or_default() += 1);
        let mut large: Vec<_> = counts
            .into_iter()
            .filter(|(_, n)| *n >= self.dense_from)
            .collect();
        large.sort_by_key(|(class, count)| Reverse((*count, *class)));
        let large = large.into_iter().take(MAX_DENSE);
        let mut sets: BTreeMap<_, _> = large
            .map(|(class, count)| (class, Vec::with_capacity(count)))
            .collect();
        self.hosts.retain(|(key, class)| match sets.get_mut(class) {
            Some(set) => {
                set.push(*key);
                false
            }
            None => true,
        });
        sets
    }
}
