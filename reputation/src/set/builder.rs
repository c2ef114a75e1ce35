//! The builder. Owns the collecting of entries and the order of sections; how each section is laid out
//! is its own module's.

use std::collections::{BTreeMap, HashMap};

use thiserror::Error;

use super::class::{self, Class, ClassId};
use super::decided::{self, Entry};
use super::format::{self, Kind, Meta, Row, Tag};
use super::masks;
use super::place::Place;
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
    listed: Vec<(Cidr, ClassId)>,
    decided: Vec<(Cidr, ClassId, Decided)>,
    masks: Vec<Cidr>,
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
        Self {
            meta,
            classes: Vec::new(),
            interned: HashMap::new(),
            listed: Vec::new(),
            decided: Vec::new(),
            masks: Vec::new(),
        }
    }

    /// The id of `class` in this image; the same for the same class.
    pub fn class(&mut self, class: &Class) -> ClassId {
        let class = class.cut();
        let next = ClassId(u32::try_from(self.classes.len()).unwrap_or(u32::MAX));
        *self.interned.entry(class).or_insert_with_key(|class| {
            self.classes.push(class.clone());
            next
        })
    }

    /// Adds an entry that has neither an id nor an end.
    pub fn list(&mut self, cidr: Cidr, class: ClassId) {
        self.listed.push((cidr, class));
    }

    /// Adds an entry that is kept by itself, beside others on the same prefix.
    pub fn decide(&mut self, cidr: Cidr, class: ClassId, decided: Decided) {
        self.decided.push((cidr, class, decided));
    }

    /// Hides the base inside `cidr`. Means something in an overlay only; a base ignores it.
    pub fn mask(&mut self, cidr: Cidr) {
        self.masks.push(cidr);
    }

    pub fn build(self) -> Result<Vec<u8>, BuildError> {
        if self.classes.len() > class::MAX_CLASSES {
            return Err(BuildError::TooManyClasses(self.classes.len()));
        }
        let mut out = Sections::default();
        if !self.classes.is_empty() {
            let (records, text) = class::write(&self.classes);
            out.add(Row::new(Tag::Classes, 0, self.classes.len()), &records);
            out.add(Row::new(Tag::Text, 0, text.len()), &text);
        }
        self.write_decided(&mut out);
        if self.meta.kind != Kind::Base {
            self.write_masks(&mut out);
        }
        format::write(&self.meta, &out.rows, &out.body).ok_or(BuildError::TooLarge)
    }

    fn write_decided(&self, out: &mut Sections) {
        let strengths = self.strengths();
        let (mut v4, mut v6, mut v6_long) = (Lengths::new(), Lengths::new(), Lengths::new());
        let never = Decided {
            id: None,
            created: UnixSeconds(0),
            expires: None,
        };
        let listed = self
            .listed
            .iter()
            .map(|(cidr, class)| (*cidr, *class, never));
        for (cidr, class, decided) in self.decided.iter().copied().chain(listed) {
            let entry = Entry {
                key: (),
                class,
                strength: strengths.get(&class).copied().unwrap_or_default(),
                created: decided.created,
                expires: decided.expires.unwrap_or(UnixSeconds::MAX),
                id: decided.id.map_or(decided::NO_ID, |id| id.0),
            };
            match Place::of(cidr) {
                Place::V4(key) => v4.entry(cidr.len()).or_default().push(entry.at(key)),
                Place::V6(key) => v6.entry(cidr.len()).or_default().push(entry.at(key)),
                Place::V6Long(key) => v6_long.entry(cidr.len()).or_default().push(entry.at(key)),
            }
        }
        let rank = |class| self.rank(class);
        out.add_lengths(Tag::Decided4, v4, |entries, body| {
            decided::write(entries, rank, body)
        });
        out.add_lengths(Tag::Decided6, v6, |entries, body| {
            decided::write(entries, rank, body)
        });
        out.add_lengths(Tag::Decided6Long, v6_long, |entries, body| {
            decided::write(entries, rank, body)
        });
    }

    fn write_masks(&self, out: &mut Sections) {
        let (mut v4, mut v6, mut v6_long) = (Lengths::new(), Lengths::new(), Lengths::new());
        for cidr in &self.masks {
            match Place::of(*cidr) {
                Place::V4(key) => v4.entry(cidr.len()).or_default().push(key),
                Place::V6(key) => v6.entry(cidr.len()).or_default().push(key),
                Place::V6Long(key) => v6_long.entry(cidr.len()).or_default().push(key),
            }
        }
        out.add_lengths(Tag::Masks4, v4, masks::write);
        out.add_lengths(Tag::Masks6, v6, masks::write);
        out.add_lengths(Tag::Masks6Long, v6_long, masks::write);
    }

    fn rank(&self, class: ClassId) -> u8 {
        let at = usize::try_from(class.0).unwrap_or(usize::MAX);
        self.classes.get(at).map_or(0, |class| class.rank as u8)
    }

    /// Each class's place among all by strength.
    fn strengths(&self) -> HashMap<ClassId, u32> {
        let mut order: Vec<_> = self.interned.iter().collect();
        order.sort_by(|(one, _), (other, _)| one.strength().cmp(&other.strength()));
        (0..)
            .zip(order)
            .map(|(place, (_, id))| (*id, place))
            .collect()
    }
}

/// What is kept by prefix length.
type Lengths<T> = BTreeMap<u8, Vec<T>>;

/// The sections written so far.
#[derive(Debug, Default)]
struct Sections {
    rows: Vec<Row>,
    body: Vec<u8>,
}

impl Sections {
    fn add(&mut self, row: Row, bytes: &[u8]) {
        self.rows.push(row);
        self.body.extend_from_slice(bytes);
    }

    fn add_lengths<T>(
        &mut self,
        tag: Tag,
        lengths: Lengths<T>,
        write: impl Fn(Vec<T>, &mut Vec<u8>) -> usize,
    ) {
        for (len, items) in lengths {
            let count = write(items, &mut self.body);
            self.rows.push(Row::new(tag, len, count));
        }
    }
}
