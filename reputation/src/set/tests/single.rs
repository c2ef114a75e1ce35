//! One image against the model.

use proptest::prelude::*;

use super::model::{self, Answer, Entry};
use super::{builder, check};
use crate::digest::Digest;
use crate::policy::{Action, Band};
use crate::precedence::Rank;
use crate::set::{Basis, Class, Decided, Image, Kind};
use crate::time::UnixSeconds;

fn image(entries: &[Entry]) -> Image<Vec<u8>> {
    let mut builder = builder(Kind::Base);
    entries.iter().for_each(|entry| entry.add(&mut builder));
    let image = Image::open(builder.build().unwrap()).unwrap();
    check(&image, usize::MAX).unwrap();
    image
}

fn ban(cidr: &str, created: u32, expires: Option<u32>) -> Entry {
    let class = Class {
        rank: Rank::OperatorBan,
        basis: Basis::Action(Action::Deny),
        band: Band::Malicious,
        score: 100,
        reason: "operator".to_owned(),
    };
    let (created, expires) = (UnixSeconds(created), expires.map(UnixSeconds));
    let decided = Decided {
        id: None,
        created,
        expires,
    };
    Entry {
        cidr: cidr.parse().unwrap(),
        class,
        decided: Some(decided),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn an_image_answers_as_the_model_does(
        entries in prop::collection::vec(model::entry(), 0..40),
        others in prop::collection::vec(model::address(), 0..20),
        now in 0..45_u32,
    ) {
        let image = image(&entries);
        for address in model::addresses_of_interest(&entries, &others) {
            let now = UnixSeconds(now);
            let found = image.lookup(address, now).map(|found| Answer::of(&image, found));
            prop_assert_eq!(found, model::lookup(&entries, address, now), "{}", address);
        }
    }

    #[test]
    fn the_order_of_entries_changes_nothing(
        entries in prop::collection::vec(model::entry(), 0..30),
    ) {
        let reversed: Vec<_> = entries.iter().rev().cloned().collect();
        prop_assert_eq!(image(&entries).into_bytes(), image(&reversed).into_bytes());
    }

    #[test]
    fn masks_hold_what_their_prefixes_contain(
        masks in prop::collection::vec(model::cidr(), 0..20),
        others in prop::collection::vec(model::address(), 20),
    ) {
        let mut builder = builder(Kind::Overlay { base: Digest::of(b"base") });
        masks.iter().for_each(|mask| builder.mask(*mask));
        let image = Image::open(builder.build().unwrap()).unwrap();
        check(&image, 3).unwrap();
        let ends = masks.iter().flat_map(|mask| [mask.network(), mask.last()]);
        for address in others.into_iter().chain(ends) {
            let expected = masks.iter().any(|mask| mask.contains(address));
            prop_assert_eq!(image.masks(address), expected, "{}", address);
        }
    }
}

#[test]
fn what_lies_beneath_a_lapsed_ban_shows_again() {
    let mut listed = ban("203.0.113.0/24", 0, None);
    listed.class.rank = Rank::Score;
    listed.decided = None;
    let entries = [
        ban("203.0.113.7/32", 1, Some(20)),
        ban("203.0.113.7/32", 2, Some(10)),
        listed,
    ];
    let image = image(&entries);
    let address = "203.0.113.7".parse().unwrap();
    let found = |now| image.lookup(address, UnixSeconds(now)).unwrap();
    assert_eq!(found(9).expires, Some(UnixSeconds(10)));
    assert_eq!(found(10).expires, Some(UnixSeconds(20)));
    assert_eq!((found(20).rank, found(20).prefix_len), (Rank::Score, 24));
}

#[test]
fn an_empty_overlay_is_smaller_than_a_kibibyte_and_says_what_it_is() {
    let kind = Kind::Overlay {
        base: Digest::of(b"base"),
    };
    let bytes = builder(kind).build().unwrap();
    assert!(bytes.len() < 1024, "{}", bytes.len());
    let image = Image::open(bytes).unwrap();
    assert_eq!(*image.meta(), super::meta(kind));
    assert!(
        image
            .lookup("192.0.2.1".parse().unwrap(), UnixSeconds(0))
            .is_none()
    );
    assert!(!image.masks("2001:db8::1".parse().unwrap()));
    check(&image, 1).unwrap();
}

#[test]
fn a_long_reason_is_cut_between_characters() {
    let mut entry = ban("203.0.113.7/32", 0, None);
    entry.class.reason = "ü".repeat(200) + "x";
    let image = image(&[entry]);
    let found = image
        .lookup("203.0.113.7".parse().unwrap(), UnixSeconds(0))
        .unwrap();
    assert_eq!(image.class(found.class).unwrap().reason, "ü".repeat(128));
}

#[test]
fn counts_say_what_is_inside() {
    let mut entries: Vec<_> = (0..5)
        .map(|host| ban(&format!("203.0.113.{host}"), 0, None))
        .collect();
    entries.push(ban("2001:db8::/32", 0, None));
    entries.iter_mut().for_each(|entry| entry.decided = None);
    entries.push(ban("2001:db8::/96", 0, None));
    entries.push(ban("198.51.100.0/24", 0, None));
    let counts = image(&entries).counts();
    assert_eq!(
        (counts.addresses_v4, counts.ranges_v4, counts.ranges_v6),
        (5, 0, 1)
    );
    assert_eq!(
        (counts.decided_v4, counts.decided_v6, counts.masks),
        (1, 1, 0)
    );
}
