//! Bytes that are not an image, or are one no more: refused or answered, never a trap.

use proptest::prelude::*;
use proptest::sample::Index;

use super::model::{self, Entry};
use super::{builder, check};
use crate::address::ClientAddress;
use crate::digest::Digest;
use crate::lookup::find;
use crate::set::{Image, ImageError, Kind};
use crate::time::UnixSeconds;

fn bytes(entries: &[Entry]) -> Vec<u8> {
    let mut builder = builder(Kind::Overlay {
        base: Digest::of(b"base"),
    });
    entries.iter().for_each(|entry| entry.add(&mut builder));
    entries
        .iter()
        .take(3)
        .for_each(|entry| builder.mask(entry.cidr));
    builder.build().unwrap()
}

/// Does everything with the bytes that can be done. What it gives does not matter.
fn use_all(bytes: Vec<u8>, addresses: &[ClientAddress]) {
    let Ok(image) = Image::open(bytes) else {
        return;
    };
    let _ = check(&image, 100);
    let _ = image.counts();
    for address in addresses {
        let _ = find(Some(&image), Some(&image), *address, UnixSeconds(5));
        let _ = image
            .lookup(*address, UnixSeconds(5))
            .map(|found| image.class(found.class));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_images_never_trap(
        entries in prop::collection::vec(model::entry(), 1..40),
        flips in prop::collection::vec((any::<Index>(), any::<u8>(), any::<bool>()), 1..20),
        others in prop::collection::vec(model::address(), 20),
    ) {
        let mut bytes = bytes(&entries);
        let length = bytes.len();
        for (index, value, near_the_head) in flips {
            let within = if near_the_head { length.min(600) } else { length };
            // The magic, the format and the length would be refused at once.
            bytes[index.index(within - 16) + 16] = value;
        }
        use_all(bytes, &model::addresses_of_interest(&entries, &others));
    }

    #[test]
    fn any_bytes_behind_a_good_head_never_trap(
        tail in prop::collection::vec(any::<u8>(), 64..600),
        sections in 0..8_u32,
        others in prop::collection::vec(model::address(), 20),
    ) {
        let mut bytes = bytes(&[])[..16].to_vec();
        bytes.extend(tail);
        let length = u32::try_from(bytes.len()).unwrap();
        bytes[12..16].copy_from_slice(&length.to_le_bytes());
        bytes[16..20].copy_from_slice(&1_u32.to_le_bytes());
        bytes[20..24].copy_from_slice(&sections.to_le_bytes());
        use_all(bytes, &others);
    }

    #[test]
    fn truncated_images_are_refused(
        entries in prop::collection::vec(model::entry(), 0..10),
        at in any::<Index>(),
    ) {
        let mut bytes = bytes(&entries);
        bytes.truncate(at.index(bytes.len()));
        let length = u32::try_from(bytes.len()).unwrap();
        prop_assert!(Image::open(&bytes).is_err());
        // Not even with a length that says so.
        if let Some(stated) = bytes.get_mut(12..16) {
            stated.copy_from_slice(&length.to_le_bytes());
            prop_assert!(Image::open(bytes).is_err());
        }
    }
}

#[test]
fn foreign_bytes_are_refused_by_name() {
    let good = bytes(&[]);
    let refused = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        Image::open(bytes).unwrap_err()
    };
    assert_eq!(refused(0, b'X'), ImageError::Magic);
    assert_eq!(refused(8, 9), ImageError::Format(9));
    assert!(matches!(refused(12, 1), ImageError::Length { .. }));
    assert_eq!(refused(16, 5), ImageError::Kind(5));
    assert_eq!(Image::open(b"").unwrap_err(), ImageError::Magic);
    assert_eq!(Image::open(b"<html>").unwrap_err(), ImageError::Magic);
}
