//! A dense set: the IPv4 addresses of one class, two to three bytes each. Owns its layout.
//!
//! The upper `bits` of an address choose a bucket; the bucket lists the lower bits of its addresses,
//! sorted, as 16-bit words. A bucket whose list would be as long as a bitmap of all its addresses is
//! that bitmap: its length tells the two apart. Buckets have 4 to 8 addresses on average, so that an
//! index of 32-bit offsets adds half a byte to a byte to each.

use super::check::Check;
use super::class::ClassId;
use super::column::{Column, Cursor, Words, append_all};
use super::place::Key;
use super::row::{Fault, Row, Tag, saturated};
use super::tables::Tables;

/// With fewer buckets the lower bits would not fit 16-bit words.
const MIN_BITS: u8 = 16;
const MAX_BITS: u8 = 24;
/// Up to here reading on is faster than halving.
const LINEAR: usize = 16;

#[derive(Debug, Clone, Copy)]
pub(super) struct Dense {
    bits: u8,
    pub class: ClassId,
    offsets: Column<u32>,
    lows: Column<u16>,
}

impl Dense {
    pub fn take(row: &Row, cursor: &mut Cursor) -> Result<Self, Fault> {
        if !(MIN_BITS..=MAX_BITS).contains(&row.bits) {
            return Err(Fault::Parameters);
        }
        let columns = cursor
            .take(buckets(row.bits) + 1)
            .zip(cursor.take(row.count()));
        let (offsets, lows) = columns.ok_or(Fault::Bounds)?;
        Ok(Self {
            bits: row.bits,
            class: ClassId(row.class),
            offsets,
            lows,
        })
    }

    pub fn holds(&self, bytes: &[u8], address: u32) -> bool {
        let Some(bucket) = self.bucket(bytes, address.top(self.bits)) else {
            return false;
        };
        let low = low(address, self.bits);
        if bucket.len() == bitmap_words(self.bits) {
            let word = bucket.get(usize::from(low / 16)).unwrap_or(0);
            word >> (low % 16) & 1 == 1
        } else if bucket.len() <= LINEAR {
            bucket.iter().any(|word| word == low)
        } else {
            bucket.get(bucket.below(low)) == Some(low)
        }
    }

    fn bucket<'a>(&self, bytes: &'a [u8], at: usize) -> Option<Words<'a, u16>> {
        let offsets = self.offsets.of(bytes);
        let (from, to) = (offsets.get(at)?, offsets.get(at + 1)?);
        let range = usize::try_from(from).ok()?..usize::try_from(to).ok()?;
        Some(self.lows.of(bytes).part(range))
    }
}

impl Check for Dense {
    fn items(&self) -> usize {
        buckets(self.bits)
    }

    fn check(&self, bytes: &[u8], tables: &Tables, at: usize) -> Result<usize, Fault> {
        let offsets = self.offsets.of(bytes);
        let (from, to) = offsets
            .get(at)
            .zip(offsets.get(at + 1))
            .ok_or(Fault::Index)?;
        let count = u32::try_from(self.lows.count()).unwrap_or(u32::MAX);
        let begins = at > 0 || from == 0;
        let ends = at + 1 < buckets(self.bits) || to == count;
        if !(begins && ends && from <= to && to <= count) {
            return Err(Fault::Index);
        }
        if !tables.classes.has(self.class.0) {
            return Err(Fault::Class);
        }
        let bucket = self.bucket(bytes, at).ok_or(Fault::Index)?;
        if bucket.len() == bitmap_words(self.bits) {
            return Ok(1);
        }
        let in_order = bucket.is_ascending() && bucket.len() < bitmap_words(self.bits);
        match bucket.last() {
            Some(_) if !in_order => Err(Fault::Unsorted),
            Some(last) if last > low(u32::MAX, self.bits) => Err(Fault::HostBits),
            _ => Ok(1 + bucket.len()),
        }
    }
}

/// Writes a set of sorted addresses, each once, and gives its row.
pub(super) fn write(class: ClassId, addresses: &[u32], out: &mut Vec<u8>) -> Row {
    let bits = bits_for(addresses.len());
    let mut offsets = Vec::with_capacity(buckets(bits) + 1);
    let mut lows = Vec::with_capacity(addresses.len());
    let mut rest = addresses;
    for at in 0..buckets(bits) {
        offsets.push(lows.len());
        let count = rest
            .iter()
            .take_while(|address| address.top(bits) == at)
            .count();
        let (bucket, behind) = rest.split_at_checked(count).unwrap_or((rest, &[]));
        write_bucket(bucket, bits, &mut lows);
        rest = behind;
    }
    offsets.push(lows.len());
    append_all(offsets.into_iter().map(saturated), out);
    let mut row = Row::new(Tag::Dense, bits, lows.len());
    row.class = class.0;
    row.entries = saturated(addresses.len());
    append_all(lows, out);
    row
}

fn write_bucket(bucket: &[u32], bits: u8, lows: &mut Vec<u16>) {
    if bucket.len() < bitmap_words(bits) {
        lows.extend(bucket.iter().map(|address| low(*address, bits)));
        return;
    }
    let mut bitmap = vec![0_u16; bitmap_words(bits)];
    for address in bucket {
        let low = low(*address, bits);
        if let Some(word) = bitmap.get_mut(usize::from(low / 16)) {
            *word |= 1 << (low % 16);
        }
    }
    lows.extend(bitmap);
}

/// The largest power of two of buckets with at least four addresses in each, within the limits.
fn bits_for(addresses: usize) -> u8 {
    let bits = (addresses / 4).checked_ilog2().unwrap_or(0);
    u8::try_from(bits)
        .unwrap_or(MAX_BITS)
        .clamp(MIN_BITS, MAX_BITS)
}

fn buckets(bits: u8) -> usize {
    1 << bits
}

fn bitmap_words(bits: u8) -> usize {
    1 << (32 - bits - 4)
}

/// The bits of an address that its bucket does not tell.
fn low(address: u32, bits: u8) -> u16 {
    let low = address & !u32::MAX.first(bits);
    u16::try_from(low).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Writes the set, reads it back, and compares it at every address near one of its own.
    fn survives(addresses: &BTreeSet<u32>) -> bool {
        let sorted: Vec<u32> = addresses.iter().copied().collect();
        let mut bytes = Vec::new();
        let row = write(ClassId(0), &sorted, &mut bytes);
        let set = Dense::take(&row, &mut Cursor::new(0, bytes.len())).unwrap();
        let near = |address: &u32| [address.wrapping_sub(1), *address, address.wrapping_add(1)];
        let mut near = sorted.iter().flat_map(near);
        near.all(|address| set.holds(&bytes, address) == addresses.contains(&address))
    }

    #[test]
    fn a_bucket_of_any_length_holds_what_was_put_into_it() {
        let bitmap = bitmap_words(MIN_BITS);
        for count in [
            1,
            LINEAR,
            LINEAR + 1,
            bitmap - 1,
            bitmap,
            bitmap + 1,
            1 << 16,
        ] {
            let step = (1 << 16) / count;
            let hosts = (0..count).map(|host| u32::try_from(host * step).unwrap());
            assert!(
                survives(&hosts.map(|host| 0xffff_0000 | host).collect()),
                "{count}"
            );
        }
    }

    #[test]
    fn the_number_of_buckets_follows_the_number_of_addresses() {
        for (addresses, bits) in [
            (0, 16),
            (16_384, 16),
            (1 << 19, 17),
            ((1 << 19) - 1, 16),
            (1 << 30, 24),
        ] {
            assert_eq!(bits_for(addresses), bits, "{addresses}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn a_set_holds_what_was_put_into_it(
            anywhere in prop::collection::btree_set(any::<u32>(), 0..200),
            close in prop::collection::btree_set(0..5000_u32, 0..300),
            network in any::<u32>(),
        ) {
            let close = close.into_iter().map(|host| network & 0xffff_0000 | host);
            prop_assert!(survives(&anywhere.into_iter().chain(close).collect()));
        }
    }
}
