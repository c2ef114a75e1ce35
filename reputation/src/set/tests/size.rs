//! How large a large list is, and that it answers rightly.

use super::{check, meta};
use crate::address::ClientAddress;
use crate::cidr::Cidr;
use crate::policy::Band;
use crate::precedence::Rank;
use crate::set::{Basis, Class, Image, ImageBuilder, Kind};
use crate::time::UnixSeconds;

/// Numbers that look random and are the same each time (SplitMix64).
struct Numbers(u64);

impl Iterator for Numbers {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from((mixed ^ mixed >> 31) >> 32).ok()
    }
}

/// As lists are: most addresses in few networks, the rest anywhere, and one network full.
fn addresses(count: usize) -> Vec<u32> {
    let networks: Vec<u32> = Numbers(1)
        .take(8000)
        .map(|number| number & 0xffff_0000)
        .collect();
    let mut all: Vec<u32> = (0..5000).map(|host| 0x0b16_0000 | host).collect();
    let mut numbers = Numbers(2);
    while all.len() < count {
        let (Some(number), Some(choice)) = (numbers.next(), numbers.next()) else {
            break;
        };
        let network = networks[usize::try_from(choice).unwrap() % networks.len()];
        all.push(if choice % 10 < 6 {
            network | number & 0xffff
        } else {
            number
        });
        if all.len() == count {
            all.sort_unstable();
            all.dedup();
        }
    }
    all
}

fn image(addresses: &[u32]) -> Image<Vec<u8>> {
    let mut builder = ImageBuilder::new(meta(Kind::Base));
    let class = builder.class(&Class {
        rank: Rank::Score,
        basis: Basis::Band(Band::Malicious),
        band: Band::Malicious,
        score: 90,
        reason: "ipsum".to_owned(),
    });
    for address in addresses {
        builder.list(Cidr::host(ClientAddress::V4(*address)), class);
    }
    Image::open(builder.build().unwrap()).unwrap()
}

#[test]
fn a_million_addresses_take_at_most_3_2_bytes_each_and_a_mebibyte() {
    for count in [1_000_000, 1 << 20] {
        let addresses = addresses(count);
        let image = image(&addresses);
        let bytes = image.counts().bytes;
        assert!(
            bytes * 10 <= count * 32 + 10 * (1 << 20),
            "{bytes} bytes for {count}"
        );
        assert!(check(&image, 65_536).unwrap() > 10);
        let listed = |address: u32| {
            image
                .lookup(ClientAddress::V4(address), UnixSeconds(0))
                .is_some()
        };
        assert!(addresses.iter().all(|address| listed(*address)));
        for number in Numbers(3).take(200_000) {
            assert_eq!(
                listed(number),
                addresses.binary_search(&number).is_ok(),
                "{number}"
            );
        }
    }
}
