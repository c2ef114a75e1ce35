//! What the checker and `open` refuse, fault by fault.

use super::{builder, check};
use crate::cidr::Cidr;
use crate::digest::Digest;
use crate::policy::Band;
use crate::precedence::Rank;
use crate::set::{Basis, Class, Decided, Fault, Image, ImageBuilder, ImageError, Kind};
use crate::time::UnixSeconds;

const OVERLAY: Kind = Kind::Overlay {
    base: Digest([0; 32]),
};
const HEADER: usize = 80;
const ROW: usize = 16;
/// One class of 12 bytes, and its reason `x`.
const CLASSES: usize = 13;

/// The image of one class for which `fill` adds entries.
fn built(kind: Kind, fill: impl FnOnce(&mut ImageBuilder, crate::set::ClassId)) -> Vec<u8> {
    let mut builder = builder(kind);
    let class = builder.class(&Class {
        rank: Rank::Score,
        basis: Basis::Band(Band::Malicious),
        band: Band::Malicious,
        score: 90,
        reason: "x".to_owned(),
    });
    fill(&mut builder, class);
    builder.build().unwrap()
}

/// The image with `bytes` written over it at `at`, opened and checked.
fn damaged(image: &[u8], at: usize, bytes: &[u8]) -> Fault {
    let mut image = image.to_vec();
    image[at..at + bytes.len()].copy_from_slice(bytes);
    let refusal = Image::open(image).and_then(|image| check(&image, 1));
    match refusal.unwrap_err() {
        ImageError::Section { fault, .. } => fault,
        other => panic!("{other}"),
    }
}

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

#[test]
fn faulty_classes_are_refused() {
    let image = built(Kind::Base, |_, _| {});
    let class = HEADER + 2 * ROW;
    for (at, value) in [
        (0, 0),
        (0, 7),
        (1, 3),
        (1, 0x14),
        (2, 3),
        (3, 101),
        (4, 9),
        (8, 2),
        (12, 0xff),
    ] {
        assert_eq!(
            damaged(&image, class + at, &[value]),
            Fault::Standing,
            "octet {at}"
        );
    }
}

#[test]
fn faulty_masks_are_refused() {
    let masks = ["10.0.0.0/24", "10.0.1.0/24"].map(cidr);
    let image = built(OVERLAY, |builder, _| {
        masks.iter().for_each(|mask| builder.mask(*mask))
    });
    let keys = HEADER + 3 * ROW + CLASSES;
    assert_eq!(damaged(&image, keys + 4, &[0, 0]), Fault::Unsorted);
    assert_eq!(damaged(&image, keys, &[1]), Fault::HostBits);
    // A base has none: kind 0 instead of 1.
    assert_eq!(damaged(&image, 16, &[0]), Fault::Place);
}

#[test]
fn faulty_decisions_are_refused() {
    let decided = |expires| Decided {
        id: None,
        created: UnixSeconds(100 - expires),
        expires: Some(UnixSeconds(expires)),
    };
    let image = built(Kind::Base, |builder, class| {
        builder.decide(cidr("2001:db8::/32"), class, decided(5));
        builder.decide(cidr("2001:db8::/32"), class, decided(6));
    });
    let keys = HEADER + 3 * ROW + CLASSES;
    let (expires, classes) = (keys + 16, keys + 24);
    assert_eq!(damaged(&image, keys, &[1]), Fault::HostBits);
    assert_eq!(damaged(&image, expires, &[6]), Fault::Unsorted);
    assert_eq!(damaged(&image, classes, &[1]), Fault::Class);
    let row = HEADER + 2 * ROW;
    assert_eq!(damaged(&image, row + 1, &[65]), Fault::Parameters);
    assert_eq!(damaged(&image, row + 8, &[3]), Fault::Bounds);
    assert_eq!(damaged(&image, row + 8, &[1]), Fault::Bounds);
    assert_eq!(damaged(&image, row + 11, &[0xff]), Fault::Bounds);
}

#[test]
fn faulty_dense_sets_are_refused() {
    let image = built(Kind::Base, |builder, class| {
        (1..5).for_each(|host| builder.list(cidr(&format!("0.0.0.{host}")), class));
    });
    let offsets = HEADER + 3 * ROW + CLASSES;
    let lows = offsets + 4 * 65_537;
    for (at, value) in [(0, 1), (5, 3), (5, 200), (65_536, 3)] {
        assert_eq!(
            damaged(&image, offsets + 4 * at, &[value]),
            Fault::Index,
            "offset {at}"
        );
    }
    assert_eq!(damaged(&image, lows, &[2]), Fault::Unsorted);
    let row = HEADER + 2 * ROW;
    assert_eq!(damaged(&image, row + 4, &[1]), Fault::Class);
    assert_eq!(damaged(&image, row + 1, &[15]), Fault::Parameters);
    assert_eq!(damaged(&image, row + 1, &[25]), Fault::Parameters);
    assert_eq!(damaged(&image, row + 2, &[1]), Fault::Parameters);
}

#[test]
fn faulty_ranges_are_refused() {
    // Four prefixes apart from each other have eight boundaries and a two-way index.
    let image = built(Kind::Base, |builder, class| {
        (1..5).for_each(|net| builder.list(cidr(&format!("{}.0.0.0/24", net * 50)), class));
    });
    let attribute = HEADER + 4 * ROW + CLASSES;
    let starts = attribute + 4;
    let index = starts + 8 * 4;
    let ids = index + 3 * 4;
    assert_eq!(image.len(), ids + 8 * 2);
    assert_eq!(damaged(&image, attribute + 1, &[1]), Fault::Class);
    assert_eq!(damaged(&image, attribute, &[33]), Fault::Parameters);
    assert_eq!(damaged(&image, starts + 3, &[0xff]), Fault::Unsorted);
    for at in 0..3 {
        assert_eq!(
            damaged(&image, index + 4 * at, &[7]),
            Fault::Index,
            "index {at}"
        );
    }
    assert_eq!(damaged(&image, ids, &[2]), Fault::Class);
    let row = HEADER + 3 * ROW;
    assert_eq!(damaged(&image, row + 1, &[17]), Fault::Parameters);
    assert_eq!(damaged(&image, row + 2, &[2]), Fault::Parameters);
}

#[test]
fn faulty_tables_are_refused() {
    let image = built(Kind::Base, |_, _| {});
    assert_eq!(damaged(&image, HEADER, &[0]), Fault::Tag);
    assert_eq!(damaged(&image, HEADER, &[14]), Fault::Tag);
    assert_eq!(damaged(&image, HEADER, &[2]), Fault::Place);
    assert_eq!(damaged(&image, HEADER + 1, &[1]), Fault::Parameters);
    assert_eq!(damaged(&image, 20, &[0]), Fault::Bounds);
    assert_eq!(damaged(&image, 20, &[200]), Fault::Bounds);
    assert_eq!(damaged(&image, 21, &[3]), Fault::TooMany);
}

#[test]
fn a_check_does_no_more_than_it_is_asked_to() {
    let image = built(OVERLAY, |builder, _| {
        (0..100).for_each(|net| builder.mask(cidr(&format!("10.0.{net}.0/24"))));
    });
    let image = Image::open(image).unwrap();
    assert!(check(&image, 10).unwrap() >= 10);
    assert_eq!(check(&image, 1000).unwrap(), 1);
}
