//! The builder. Owns the collecting of entries and the order of sections; how each section is laid out
//! is its own module's.

use std::collections::{BTreeMap, HashMap};

use thiserror::Error;

use super::class::{self, Class, ClassId};
use super::decided::{self, Entry};
use super::format::{Kind, Meta};
use super::listed::{DENSE_FROM, Listed};
use super::masks;
use super::order::Order;
use super::place::{Key, Place};
use super::row::{Tag, saturated};
use super::sections::Sections;
use crate::cidr::Cidr;
use crate::decision::DecisionId;
use crate::manifest::MAX_IMAGE_BYTES;
use crate::time::UnixSeconds;

/// Collects entries and compiles them into an image. The result depends on what was given, not on the
/// order in which it was given.
#[derive(Debug)]
pub struct ImageBuilder {
    meta: Meta,
    classes: Vec<Class>,
    interned: HashMap<Class, ClassId>,
    listed: Listed,
    decided_v4: Lengths<Entry<u32>>,
    decided_v6: Lengths<Entry<u64>>,
    decided_v6_long: Lengths<Entry<u128>>,
    masks_v4: Lengths<u32>,
    masks_v6: Lengths<u64>,
    masks_v6_long: Lengths<u128>,
}

/// What an entry of the decided part has of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decided {
    pub id: Option<DecisionId>,
    /// Of two entries of one rank on one prefix, the newer wins.
    pub created: UnixSeconds,
    pub expires: Option<UnixSeconds>,
}

/// Why no image can be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BuildError {
    #[error(
        "the image would be larger than the {MAX_IMAGE_BYTES} bytes that a proxy accepts: load fewer lists"
    )]
    TooLarge,
    #[error("there are {0} different reasons, ranks and scores, more than an image can hold")]
    TooManyClasses(usize),
}

impl ImageBuilder {
    pub fn new(meta: Meta) -> Self {
        Self::with_dense_from(meta, DENSE_FROM)
    }

    /// As [`Self::new`], with another least size of a dense set.
    pub(super) fn with_dense_from(meta: Meta, dense_from: usize) -> Self {
        Self {
            meta,
            classes: Vec::new(),
            interned: HashMap::new(),
            listed: Listed::new(dense_from),
            decided_v4: Lengths::new(),
            decided_v6: Lengths::new(),
            decided_v6_long: Lengths::new(),
            masks_v4: Lengths::new(),
            masks_v6: Lengths::new(),
            masks_v6_long: Lengths::new(),
        }
    }

    /// The id of `class` in this builder; the same for the same class. Other builders and images do not
    /// know it.
    pub fn class(&mut self, class: &Class) -> ClassId {
        let next = ClassId(saturated(self.classes.len()));
        *self
            .interned
            .entry(class.cut())
            .or_insert_with_key(|class| {
                self.classes.push(class.clone());
                next
            })
    }

    /// Adds an entry that has neither an id nor an end.
    pub fn list(&mut self, cidr: Cidr, class: ClassId) {
        self.listed.add(cidr, class);
    }

    /// Adds an entry that is kept by itself, beside others on the same prefix.
    pub fn decide(&mut self, cidr: Cidr, class: ClassId, decided: Decided) {
        let len = cidr.len();
        match Place::of(cidr) {
            Place::V4(key) => {
                let entries = self.decided_v4.entry(len).or_default();
                entries.push(entry(key, class, decided));
            }
            Place::V6(key) => {
                let entries = self.decided_v6.entry(len).or_default();
                entries.push(entry(key, class, decided));
            }
            Place::V6Long(key) => {
                let entries = self.decided_v6_long.entry(len).or_default();
                entries.push(entry(key, class, decided));
            }
        }
    }

    /// Hides the base inside `cidr`. Means something in an overlay only; a base ignores it.
    pub fn mask(&mut self, cidr: Cidr) {
        let len = cidr.len();
        match Place::of(cidr) {
            Place::V4(key) => self.masks_v4.entry(len).or_default().push(key),
            Place::V6(key) => self.masks_v6.entry(len).or_default().push(key),
            Place::V6Long(key) => self.masks_v6_long.entry(len).or_default().push(key),
        }
    }

    pub fn build(self) -> Result<Vec<u8>, BuildError> {
        if self.classes.len() > class::MAX_CLASSES {
            return Err(BuildError::TooManyClasses(self.classes.len()));
        }
        let order = Order::of(self.classes);
        let mut out = Sections::default();
        class::write(order.classes(), &mut out);
        self.listed.write(&order, &mut out);
        add_decided(Tag::Decided4, self.decided_v4, &order, &mut out);
        add_decided(Tag::Decided6, self.decided_v6, &order, &mut out);
        add_decided(Tag::Decided6Long, self.decided_v6_long, &order, &mut out);
        if self.meta.kind != Kind::Base {
            add_masks(Tag::Masks4, self.masks_v4, &mut out);
            add_masks(Tag::Masks6, self.masks_v6, &mut out);
            add_masks(Tag::Masks6Long, self.masks_v6_long, &mut out);
        }
        out.into_image(&self.meta).ok_or(BuildError::TooLarge)
    }
}

fn entry<K>(key: K, class: ClassId, decided: Decided) -> Entry<K> {
    Entry {
        key,
        class,
        created: decided.created,
        expires: decided.expires.unwrap_or(UnixSeconds::MAX),
        id: decided.id.map_or(decided::NO_ID, |id| id.0),
    }
}

/// What is kept by prefix length.
type Lengths<T> = BTreeMap<u8, Vec<T>>;

fn add_decided<K: Key>(tag: Tag, lengths: Lengths<Entry<K>>, order: &Order, out: &mut Sections) {
    for (len, entries) in lengths {
        out.add(|bytes| decided::write(tag, len, entries, order, bytes));
    }
}

fn add_masks<K: Key>(tag: Tag, lengths: Lengths<K>, out: &mut Sections) {
    for (len, keys) in lengths {
        out.add(|bytes| masks::write(tag, len, keys, bytes));
    }
}
