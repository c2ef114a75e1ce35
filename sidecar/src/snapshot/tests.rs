//! The overlay's promise, over random changes: read on top of its base it says what a fresh base of
//! the current state would say.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use hyper::body::Bytes;
use proptest::prelude::*;
use reputation::decision::Origin;
use reputation::lookup::find;
use reputation::manifest::SnapshotVersion;
use reputation::set::{Basis, Class, Image, Kind, Meta};
use reputation::{
    Action, Band, Cidr, ClientAddress, Decision, DecisionId, DecisionKind, Rank, UnixSeconds,
};

use super::compile::{Catalogue, Listed, Mark};
use super::image;
use super::overlay::{ListedDelta, MAX_ENTRIES, State, plan};
use crate::intelligence::prefixes::PrefixMapBuilder;
use crate::intelligence::words::{Phrase, Phrasebook, Strength, Word, Words};

const BUILT: UnixSeconds = UnixSeconds(1000);
const NOW: UnixSeconds = UnixSeconds(1100);

#[derive(Debug, Clone)]
enum Step {
    List {
        cidr: Cidr,
        class: usize,
    },
    Unlist {
        at: usize,
    },
    Decide {
        cidr: Cidr,
        word: usize,
        expires: Option<u32>,
    },
    Undecide {
        at: usize,
    },
    Say {
        cidr: Cidr,
        strength: Strength,
        expires: Option<u32>,
    },
    Unsay {
        at: usize,
    },
}

/// What a test builds states from.
#[derive(Default)]
struct World {
    listed: BTreeMap<(Cidr, Rank), Mark>,
    decisions: BTreeMap<u64, Arc<Decision>>,
    words: BTreeMap<u64, (Cidr, Word)>,
    phrasebook: Phrasebook,
    catalogue: Catalogue,
    steps: u32,
}

impl World {
    fn take(&mut self, step: &Step) {
        self.steps += 1;
        match step {
            Step::List { cidr, class } => {
                let mark = self.catalogue.mark(classes().swap_remove(*class));
                self.listed.insert((*cidr, mark.rank), mark);
            }
            Step::Unlist { at } => {
                let there = self
                    .listed
                    .keys()
                    .nth(at % self.listed.len().max(1))
                    .copied();
                there.map(|key| self.listed.remove(&key));
            }
            Step::Decide {
                cidr,
                word,
                expires,
            } => {
                let decision = self.decision(*cidr, *word, *expires);
                self.decisions.insert(decision.id.0, Arc::new(decision));
            }
            Step::Undecide { at } => {
                let there = self
                    .decisions
                    .keys()
                    .nth(at % self.decisions.len().max(1))
                    .copied();
                there.map(|id| self.decisions.remove(&id));
            }
            Step::Say {
                cidr,
                strength,
                expires,
            } => {
                let phrase = Phrase {
                    source: Arc::from("crowdsec"),
                    author: String::new(),
                    reason: format!("step {}", self.steps % 3),
                };
                let word = Word {
                    strength: *strength,
                    seen: UnixSeconds(self.steps),
                    expires: expires.map_or(UnixSeconds::MAX, UnixSeconds),
                    id: DecisionId(u64::from(self.steps)),
                    phrase: self.phrasebook.number(phrase),
                };
                self.words.insert(word.id.0, (*cidr, word));
            }
            Step::Unsay { at } => {
                let there = self.words.keys().nth(at % self.words.len().max(1)).copied();
                there.map(|id| self.words.remove(&id));
            }
        }
    }

    fn decision(&self, cidr: Cidr, word: usize, expires: Option<u32>) -> Decision {
        let (origin, kind) = [
            (Origin::Operator, DecisionKind::Ban),
            (Origin::Operator, DecisionKind::Allow),
            (Origin::Operator, DecisionKind::Throttle),
        ][word]
            .clone();
        Decision {
            id: DecisionId(u64::from(self.steps)),
            cidr,
            kind,
            origin,
            reason: format!("step {}", self.steps),
            author: String::new(),
            created: UnixSeconds(self.steps),
            expires: expires.map(UnixSeconds),
        }
    }

    fn words(&self) -> Words {
        let mut entries = PrefixMapBuilder::new();
        for (cidr, word) in self.words.values() {
            entries.push(*cidr, *word);
        }
        Words::new(Arc::new(entries.build()), &self.phrasebook)
    }

    fn state(&mut self) -> State {
        let mut entries = PrefixMapBuilder::new();
        for ((cidr, _), mark) in &self.listed {
            entries.push(*cidr, *mark);
        }
        let classes = self.catalogue.classes();
        let decisions: HashMap<_, _> = self
            .decisions
            .values()
            .map(|decision| (decision.id, Arc::clone(decision)))
            .collect();
        State {
            listed: Arc::new(Listed {
                entries: entries.build(),
                classes,
            }),
            decisions: Arc::new(decisions),
            words: Arc::new(self.words()),
        }
    }
}

fn classes() -> Vec<Class> {
    let class = |rank, band, score, reason: &str| Class {
        rank,
        basis: Basis::Band(band),
        band,
        score,
        reason: reason.to_owned(),
    };
    vec![
        class(Rank::Score, Band::Suspicious, 60, "one"),
        class(Rank::Score, Band::Malicious, 90, "two"),
        class(Rank::HardSource, Band::Malicious, 100, "hard"),
        Class {
            basis: Basis::Action(Action::Allow),
            ..class(Rank::Trusted, Band::Clean, 0, "trusted")
        },
    ]
}

fn cidr() -> impl Strategy<Value = Cidr> {
    let v4 = (0_u32..32, 26_u8..=32)
        .prop_map(|(low, len)| Cidr::new(ClientAddress::V4(0xc612_0000 + low), len).unwrap());
    let v6 =
        (0_u128..4, 0_u128..4, 58_u8..=66, any::<bool>()).prop_map(|(net, host, len, full)| {
            let bits = (0x2001_0db8 << 96) | (net << 64) | (host << 62);
            Cidr::new(ClientAddress::V6(bits), if full { 128 } else { len }).unwrap()
        });
    prop_oneof![3 => v4, 2 => v6]
}

fn step() -> impl Strategy<Value = Step> {
    let expires = proptest::option::of(1050_u32..1300);
    let said = proptest::option::of(1050_u32..1300);
    let strength = prop_oneof![Just(Strength::Ban), Just(Strength::Throttle)];
    prop_oneof![
        4 => (cidr(), 0_usize..4).prop_map(|(cidr, class)| Step::List { cidr, class }),
        2 => any::<usize>().prop_map(|at| Step::Unlist { at }),
        3 => (cidr(), 0_usize..3, expires)
            .prop_map(|(cidr, word, expires)| Step::Decide { cidr, word, expires }),
        2 => any::<usize>().prop_map(|at| Step::Undecide { at }),
        4 => (cidr(), strength, said)
            .prop_map(|(cidr, strength, expires)| Step::Say { cidr, strength, expires }),
        2 => any::<usize>().prop_map(|at| Step::Unsay { at }),
    ]
}

fn meta(kind: Kind) -> Meta {
    Meta {
        kind,
        version: SnapshotVersion {
            epoch: 1,
            version: 1,
        },
        built_at: BUILT,
        valid_until: UnixSeconds(2000),
    }
}

fn addresses() -> impl Iterator<Item = ClientAddress> {
    let v4 = (0_u32..70).map(|low| ClientAddress::V4(0xc612_0000 + low));
    let v6 = (0_u128..6).flat_map(|net| {
        (0_u128..4).flat_map(move |host| {
            let bits = (0x2001_0db8 << 96) | (net << 64) | (host << 62);
            [ClientAddress::V6(bits), ClientAddress::V6(bits + 1)]
        })
    });
    v4.chain(v6)
}

type Read = (
    Rank,
    Basis,
    Band,
    u8,
    String,
    Option<DecisionId>,
    Option<UnixSeconds>,
);

fn read(
    base: &Image<Bytes>,
    overlay: Option<&Image<Bytes>>,
    address: ClientAddress,
    now: UnixSeconds,
) -> Option<Read> {
    let found = find(Some(base), overlay, address, now)?;
    let reason = found.reason.to_owned();
    Some((
        found.rank,
        found.basis,
        found.band,
        found.score,
        reason,
        found.decision,
        found.expires,
    ))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn an_overlay_on_its_base_reads_as_a_fresh_base(
        before in proptest::collection::vec(step(), 0..40),
        after in proptest::collection::vec(step(), 0..30),
    ) {
        let mut world = World::default();
        before.iter().for_each(|step| world.take(step));
        let then = world.state();
        after.iter().for_each(|step| world.take(step));
        let current = world.state();

        let base = image::base(&then, meta(Kind::Base), BUILT).unwrap();
        let delta = ListedDelta::between(&then.listed, &current.listed);
        let plan = plan(&then, &current, &delta, MAX_ENTRIES, NOW).unwrap();
        let kind = Kind::Overlay { base: base.reference.digest };
        let overlay = image::overlay(&plan, &current, meta(kind)).unwrap();
        let fresh = image::base(&current, meta(Kind::Base), NOW).unwrap();

        for address in addresses() {
            for now in [NOW, UnixSeconds(1200), UnixSeconds(1400)] {
                prop_assert_eq!(
                    read(&base.image, Some(&overlay.image), address, now),
                    read(&fresh.image, None, address, now),
                    "{} at {}", address, now.0
                );
            }
        }
    }
}

#[test]
fn nothing_changed_is_an_empty_overlay() {
    let mut world = World::default();
    let cidr = "198.18.0.0/24".parse().unwrap();
    world.take(&Step::List { cidr, class: 2 });
    world.take(&Step::Decide {
        cidr,
        word: 0,
        expires: None,
    });
    let state = world.state();
    let delta = ListedDelta::between(&state.listed, &state.listed);
    assert_eq!(plan(&state, &state, &delta, 0, NOW).unwrap().count(), 0);
}

#[test]
fn an_overlay_that_grows_too_large_is_not_planned() {
    let mut world = World::default();
    let then = world.state();
    for low in 0..10 {
        let cidr = Cidr::host(ClientAddress::V4(0xc612_0000 + low));
        world.take(&Step::Decide {
            cidr,
            word: 0,
            expires: None,
        });
    }
    let now = world.state();
    let delta = ListedDelta::default();
    assert!(plan(&then, &now, &delta, 9, NOW).is_none());
    assert!(plan(&then, &now, &delta, 10, NOW).is_some());
}
