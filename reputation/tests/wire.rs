//! What builds of before said on the wire, as they said it: this build reads it, and says it in a way
//! that they read. `tests/wire/N` has what a sidecar of wire version N answered; of version 0 that is the
//! last build before the header. Nothing there is ever changed, and a folder goes with its version.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that finds something else than expected shall panic"
)]

use reputation::lookup::find;
use reputation::manifest::{Manifest, SnapshotVersion};
use reputation::mode::Mode;
use reputation::set::{Checker, Image, Progress};
use reputation::{Action, Rank, UnixSeconds, Verdict};
use serde_json::Value;

const MANIFEST: &[u8] = include_bytes!("wire/0/manifest.json");
const BASE: &[u8] = include_bytes!("wire/0/base.image");
const OVERLAY: &[u8] = include_bytes!("wire/0/overlay.image");
const BANNED: &[u8] = include_bytes!("wire/0/banned.json");
const LISTED: &[u8] = include_bytes!("wire/0/listed.json");
const CLEAN: &[u8] = include_bytes!("wire/0/clean.json");

/// Every field that was said is said as it was; others may have come.
fn says_as_before(before: &[u8], now: impl serde::Serialize) {
    let before: Value = serde_json::from_slice(before).unwrap();
    let now = serde_json::to_value(now).unwrap();
    for (field, value) in before.as_object().unwrap() {
        assert_eq!(now.get(field), Some(value), "{field}");
    }
}

fn checked(bytes: &'static [u8]) -> Image<&'static [u8]> {
    let image = Image::open(bytes).unwrap();
    let mut checker = Checker::new();
    while checker.step(&image, 1_000).unwrap() == Progress::More {}
    image
}

#[test]
fn a_manifest_of_before_is_read_and_written_alike() {
    let manifest = Manifest::parse(MANIFEST).unwrap();
    let version = SnapshotVersion {
        epoch: 1_795_385_709,
        version: 6,
    };
    assert_eq!(manifest.version, version);
    assert_eq!(manifest.base.length, BASE.len());
    assert_eq!(manifest.modes[0].mode, Mode::Monitor);
    assert_eq!(manifest.modes[0].route.as_deref(), Some("shop*"));
    says_as_before(MANIFEST, manifest);
}

#[test]
fn verdicts_of_before_are_read_and_written_alike() {
    for (before, action, rank) in [
        (BANNED, Action::Deny, Some(Rank::OperatorBan)),
        (LISTED, Action::Deny, Some(Rank::HardSource)),
        (CLEAN, Action::Allow, None),
    ] {
        let verdict = Verdict::parse(before).unwrap();
        assert_eq!((verdict.action, verdict.rank), (action, rank));
        says_as_before(before, verdict);
    }
}

#[test]
fn images_of_before_are_taken_up() {
    let (base, overlay) = (checked(BASE), checked(OVERLAY));
    let now = Manifest::parse(MANIFEST).unwrap().built_at;
    let rank = |address: &str, now: UnixSeconds| {
        let found = find(Some(&base), Some(&overlay), address.parse().unwrap(), now);
        found.map(|found| found.rank)
    };
    assert_eq!(rank("203.0.113.7", now), Some(Rank::OperatorBan));
    assert_eq!(
        rank("203.0.113.7", now.plus(86_400)),
        None,
        "its day is over"
    );
    assert_eq!(rank("203.0.113.10", now), Some(Rank::OperatorAllow));
    assert_eq!(rank("192.0.2.255", now), Some(Rank::HardSource));
    assert_eq!(rank("2001:db8:0:1::1", now), Some(Rank::HardSource));
    assert_eq!(rank("198.51.100.127", now), Some(Rank::HardSource));
    assert_eq!(rank("198.51.100.128", now), None);
}
