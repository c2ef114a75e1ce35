//! Base and overlay against the model, after any order of additions and removals.

use proptest::prelude::*;
use proptest::sample::Index;

use super::model::{self, Answer, Entry};
use super::{builder, check};
use crate::cidr::Cidr;
use crate::digest::Digest;
use crate::lookup::{Found, Layer, find};
use crate::set::{ClassView, Image, Kind};
use crate::time::UnixSeconds;

#[derive(Debug, Clone)]
enum Step {
    Add(Entry),
    Remove(Index),
    /// A new base is built of what is current.
    Rebase,
}

/// The state of a sidecar: what is current, and what the base was built of.
#[derive(Default)]
struct State {
    current: Vec<Entry>,
    base: Vec<Entry>,
}

impl State {
    fn take(&mut self, step: Step) {
        match step {
            Step::Add(entry) => self.current.push(entry),
            Step::Remove(index) if !self.current.is_empty() => {
                let at = index.index(self.current.len());
                let taken_back = self.current.swap_remove(at);
                // What stands twice is gone only when all of it is.
                self.current.retain(|entry| *entry != taken_back);
            }
            Step::Remove(_) => {}
            Step::Rebase => self.base = self.current.clone(),
        }
    }

    fn base(&self) -> Image<Vec<u8>> {
        let mut base = builder(Kind::Base);
        self.base.iter().for_each(|entry| entry.add(&mut base));
        Image::open(base.build().unwrap()).unwrap()
    }

    /// Masks what was taken back, restates what overlaps a mask, and adds what is new.
    fn overlay(&self) -> Image<Vec<u8>> {
        let mut overlay = builder(Kind::Overlay {
            base: Digest::of(b"base"),
        });
        let gone = self
            .base
            .iter()
            .filter(|entry| !self.current.contains(entry));
        let masks: Vec<Cidr> = gone.map(|entry| entry.cidr).collect();
        masks.iter().for_each(|mask| overlay.mask(*mask));
        let restated = |entry: &Entry| masks.iter().any(|mask| mask.overlaps(entry.cidr));
        let stands = |entry: &&Entry| restated(entry) || !self.base.contains(entry);
        self.current
            .iter()
            .filter(stands)
            .for_each(|entry| entry.add(&mut overlay));
        Image::open(overlay.build().unwrap()).unwrap()
    }
}

fn answer(found: Found<'_>) -> Answer {
    let Found {
        rank,
        basis,
        band,
        score,
        reason,
        ..
    } = found;
    Answer {
        prefix_len: found.prefix_len,
        class: model::owned(ClassView {
            rank,
            basis,
            band,
            score,
            reason,
        }),
        decision: found.decision,
        expires: found.expires,
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => model::entry().prop_map(Step::Add),
        3 => any::<Index>().prop_map(Step::Remove),
        1 => Just(Step::Rebase),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn base_and_overlay_together_answer_as_what_is_current(
        steps in prop::collection::vec(step(), 0..40),
        others in prop::collection::vec(model::address(), 0..10),
        now in 0..45_u32,
    ) {
        let mut state = State::default();
        let mut seen = Vec::new();
        for step in steps {
            if let Step::Add(entry) = &step {
                seen.push(entry.clone());
            }
            state.take(step);
        }
        let (base, overlay) = (state.base(), state.overlay());
        check(&base, 7).unwrap();
        check(&overlay, 7).unwrap();
        for address in model::addresses_of_interest(&seen, &others) {
            let now = UnixSeconds(now);
            let found = find(Some(&base), Some(&overlay), address, now);
            let expected = model::lookup(&state.current, address, now);
            let standing = |one: &Answer| (one.class.rank, one.prefix_len);
            let got = found.map(answer);
            prop_assert_eq!(
                got.as_ref().map(standing), expected.as_ref().map(standing), "{}", address
            );
            // Of several of one standing the overlay's wins, which is the newer.
            let current = |got: &Answer| {
                state.current.iter().any(|entry| entry.speaks(address, now) && entry.answer() == *got)
            };
            prop_assert!(got.as_ref().is_none_or(current), "{:?} at {}", got, address);
        }
    }
}

#[test]
fn of_equal_entries_the_overlays_wins() {
    let address = "192.0.2.1".parse().unwrap();
    let image = |kind, reason: &str| {
        let mut builder = builder(kind);
        let class = crate::set::Class {
            rank: crate::Rank::Score,
            basis: crate::set::Basis::Band(crate::Band::Malicious),
            band: crate::Band::Malicious,
            score: 90,
            reason: reason.to_owned(),
        };
        let class = builder.class(&class);
        builder.list(Cidr::host(address), class);
        Image::open(builder.build().unwrap()).unwrap()
    };
    let base = image(Kind::Base, "base");
    let overlay = image(
        Kind::Overlay {
            base: Digest::of(b"base"),
        },
        "overlay",
    );
    let found = find(Some(&base), Some(&overlay), address, UnixSeconds(0)).unwrap();
    assert_eq!((found.layer, found.reason), (Layer::Overlay, "overlay"));
    let found = find(Some(&base), None, address, UnixSeconds(0)).unwrap();
    assert_eq!((found.layer, found.reason), (Layer::Base, "base"));
}
