//! The plain model: a list of entries, read from end to end for every question.

use proptest::prelude::*;

use crate::address::ClientAddress;
use crate::cidr::Cidr;
use crate::decision::DecisionId;
use crate::policy::{Action, Band};
use crate::precedence::Rank;
use crate::set::{Basis, Class, ClassView, Decided, Image, ImageBuilder, Match};
use crate::time::UnixSeconds;

#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub cidr: Cidr,
    pub class: Class,
    /// Absent: listed.
    pub decided: Option<Decided>,
}

/// What is compared of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub prefix_len: u8,
    pub class: Class,
    pub decision: Option<DecisionId>,
    pub expires: Option<UnixSeconds>,
}

impl Entry {
    pub fn speaks(&self, address: ClientAddress, now: UnixSeconds) -> bool {
        let expires = self.decided.and_then(|decided| decided.expires);
        self.cidr.contains(address) && expires.is_none_or(|expires| now < expires)
    }

    pub fn answer(&self) -> Answer {
        Answer {
            prefix_len: self.cidr.len(),
            class: self.class.clone(),
            decision: self.decided.and_then(|decided| decided.id),
            expires: self.decided.and_then(|decided| decided.expires),
        }
    }

    pub fn add(&self, builder: &mut ImageBuilder) {
        let class = builder.class(&self.class);
        match self.decided {
            None => builder.list(self.cidr, class),
            Some(decided) => builder.decide(self.cidr, class, decided),
        }
    }

    fn standing(&self) -> impl Ord + use<'_> {
        let end = |decided: Decided| decided.expires.unwrap_or(UnixSeconds::MAX);
        let decided = self
            .decided
            .map(|one| (one.created, self.class.strength(), end(one), one.id));
        (
            self.class.rank,
            self.cidr.len(),
            decided,
            self.class.strength(),
        )
    }
}

impl Answer {
    pub fn of<B: AsRef<[u8]>>(image: &Image<B>, found: Match) -> Self {
        let class = image.class(found.class).unwrap();
        assert_eq!(class.rank, found.rank);
        Self {
            prefix_len: found.prefix_len,
            class: owned(class),
            decision: found.decision,
            expires: found.expires,
        }
    }
}

pub fn owned(class: ClassView<'_>) -> Class {
    let ClassView {
        rank,
        basis,
        band,
        score,
        reason,
    } = class;
    Class {
        rank,
        basis,
        band,
        score,
        reason: reason.to_owned(),
    }
}

pub fn lookup(entries: &[Entry], address: ClientAddress, now: UnixSeconds) -> Option<Answer> {
    let speaking = entries.iter().filter(|entry| entry.speaks(address, now));
    let winner = speaking.max_by(|one, other| one.standing().cmp(&other.standing()));
    winner.map(Entry::answer)
}

/// Every address at which the answer can change, with some others.
pub fn addresses_of_interest(entries: &[Entry], others: &[ClientAddress]) -> Vec<ClientAddress> {
    let mut all = others.to_vec();
    for entry in entries {
        for end in [entry.cidr.network(), entry.cidr.last()] {
            match end {
                ClientAddress::V4(end) => {
                    let around = [end.wrapping_sub(1), end, end.wrapping_add(1)];
                    all.extend(around.map(ClientAddress::V4));
                }
                ClientAddress::V6(end) => {
                    let around = [end.wrapping_sub(1), end, end.wrapping_add(1)];
                    all.extend(around.map(ClientAddress::V6));
                }
            }
        }
    }
    all
}

/// Addresses that meet often, at the ends of the space, and any.
pub fn address() -> impl Strategy<Value = ClientAddress> {
    let v4 = prop_oneof![
        Just(0_u32),
        Just(u32::MAX),
        (0..64_u32).prop_map(|low| 0xcb00_7100 | low),
        (0..4_u32).prop_map(|high| 0xcb00_7100 | high << 30),
        any::<u32>(),
    ];
    let documentation = 0x2001_0db8_u128 << 96;
    let v6 = prop_oneof![
        Just(0_u128),
        Just(u128::MAX),
        (0..64_u128).prop_map(move |low| documentation | low),
        (0..64_u128).prop_map(move |subnet| documentation | subnet << 64),
        (0..4_u128).prop_map(move |both| documentation | both << 64 | both),
        any::<u128>(),
    ];
    prop_oneof![
        v4.prop_map(ClientAddress::V4),
        v6.prop_map(ClientAddress::V6)
    ]
}

pub fn cidr() -> impl Strategy<Value = Cidr> {
    let len = prop_oneof![
        Just(32_u8),
        Just(128),
        Just(64),
        56..=72_u8,
        24..=32_u8,
        0..=128_u8
    ];
    (address(), len)
        .prop_map(|(address, len)| Cidr::new(address, len.min(address.width())).unwrap())
}

pub fn entry() -> impl Strategy<Value = Entry> {
    let basis = prop_oneof![
        prop::sample::select(&Band::ALL[..]).prop_map(Basis::Band),
        prop::sample::select(&Action::ALL[..]).prop_map(Basis::Action),
    ];
    let class = (
        prop::sample::select(&Rank::ALL[..]),
        basis,
        0..3_u8,
        "[ab]?",
    )
        .prop_map(|(rank, basis, score, reason)| Class {
            rank,
            basis,
            band: Band::Suspicious,
            score,
            reason,
        });
    let expires = prop::option::of((0..40_u32).prop_map(UnixSeconds));
    let id = prop::option::of((1..9_u64).prop_map(DecisionId));
    let decided =
        (id, (0..5_u32).prop_map(UnixSeconds), expires).prop_map(|(id, created, expires)| {
            Decided {
                id,
                created,
                expires,
            }
        });
    (cidr(), class, prop::option::of(decided)).prop_map(|(cidr, class, decided)| Entry {
        cidr,
        class,
        decided,
    })
}
