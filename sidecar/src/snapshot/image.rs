//! From entries to an image, its digest and its parts. Runs for as long as the image is large.

use std::collections::HashMap;
use std::sync::Arc;

use hyper::body::Bytes;
use reputation::digest::Digest;
use reputation::manifest::{ImageRef, MAX_PART_BYTES};
use reputation::set::{
    Basis, BuildError, Checker, Class, ClassId, Decided, Image, ImageBuilder, ImageError, Meta,
    Progress,
};
use reputation::{Band, Cidr, Decision, DecisionKind, UnixSeconds};
use thiserror::Error;

use super::compile::{Listed, Mark};
use super::overlay::{Plan, State};
use crate::intelligence::words::{PhraseNumber, Strength, Word, Words};

/// How many items the checker looks at between two answers; here nobody waits for it.
const CHECK_STEP: usize = 1 << 20;

/// An image that is ready to be handed out.
#[derive(Clone)]
pub struct Built {
    pub image: Arc<Image<Bytes>>,
    pub reference: ImageRef,
    pub parts: Vec<(Digest, Bytes)>,
}

#[derive(Debug, Error)]
pub enum BuildFault {
    #[error("the image cannot be built")]
    Build(#[from] BuildError),
    #[error("the image that was built is not sound")]
    Unsound(#[from] ImageError),
}

/// Everything in `state`, complete by itself.
pub fn base(state: &State, meta: Meta, now: UnixSeconds) -> Result<Built, BuildFault> {
    let mut writer = Writer::new(meta, &state.listed);
    for (cidr, mark) in state.listed.entries.iter() {
        writer.list(cidr, mark);
    }
    let lasting = state.decisions.values();
    lasting
        .filter(|decision| decision.in_force(now))
        .for_each(|decision| writer.decide(decision));
    let words = state.words.entries.iter();
    words
        .filter(|(_, word)| word.in_force(now))
        .for_each(|(cidr, word)| writer.say(cidr, &word, &state.words));
    writer.finish()
}

/// What `plan` says of `state`, on top of a base.
pub fn overlay(plan: &Plan, state: &State, meta: Meta) -> Result<Built, BuildFault> {
    let mut writer = Writer::new(meta, &state.listed);
    for (cidr, mark) in &plan.listed {
        writer.list(*cidr, *mark);
    }
    for decision in &plan.decided {
        writer.decide(decision);
    }
    for (cidr, word) in &plan.spoken {
        writer.say(*cidr, word, &state.words);
    }
    for cidr in &plan.masks {
        writer.builder.mask(*cidr);
    }
    writer.finish()
}

/// Translates our numbers of classes into the image's.
struct Writer<'a> {
    builder: ImageBuilder,
    listed: &'a Listed,
    classes: HashMap<u32, ClassId>,
    phrases: HashMap<(PhraseNumber, Strength), ClassId>,
}

impl<'a> Writer<'a> {
    fn new(meta: Meta, listed: &'a Listed) -> Self {
        Self {
            builder: ImageBuilder::new(meta),
            listed,
            classes: HashMap::new(),
            phrases: HashMap::new(),
        }
    }

    fn list(&mut self, cidr: Cidr, mark: Mark) {
        let known = self.classes.get(&mark.class).copied();
        let Some(class) = known.or_else(|| self.translate(mark)) else {
            return;
        };
        self.builder.list(cidr, class);
    }

    fn translate(&mut self, mark: Mark) -> Option<ClassId> {
        let class = self.builder.class(self.listed.class(mark)?);
        self.classes.insert(mark.class, class);
        Some(class)
    }

    fn decide(&mut self, decision: &Decision) {
        let class = self.builder.class(&class_of(decision));
        let decided = Decided {
            id: Some(decision.id),
            created: decision.created,
            expires: decision.expires,
        };
        self.builder.decide(decision.cidr, class, decided);
    }

    fn say(&mut self, cidr: Cidr, word: &Word, words: &Words) {
        let key = (word.phrase, word.strength);
        let known = self.phrases.get(&key).copied();
        let class = known.or_else(|| {
            let class = class_of(&words.decision(cidr, word)?);
            Some(self.builder.class(&class))
        });
        let Some(class) = class else {
            return;
        };
        self.phrases.insert(key, class);
        let decided = Decided {
            id: Some(word.id),
            // An image only asks which of two is newer: here the stronger word is to win.
            created: UnixSeconds(u32::from(word.strength as u8)),
            expires: word.ends(),
        };
        self.builder.decide(cidr, class, decided);
    }

    fn finish(self) -> Result<Built, BuildFault> {
        let bytes = Bytes::from(self.builder.build()?);
        let image = Image::open(bytes.clone())?;
        // A proxy would refuse a faulty image; better that it never leaves here.
        let mut checker = Checker::new();
        while let Progress::More = checker.step(&image, CHECK_STEP)? {}
        let reference = ImageRef::of(&bytes);
        let cut = (0..bytes.len()).step_by(MAX_PART_BYTES);
        let cut = cut.map(|from| bytes.slice(from..bytes.len().min(from + MAX_PART_BYTES)));
        let parts = reference.parts.iter().copied().zip(cut).collect();
        Ok(Built {
            image: Arc::new(image),
            reference,
            parts,
        })
    }
}

/// What a decision does and how it is told.
pub fn class_of(decision: &Decision) -> Class {
    let (band, score) = match decision.kind {
        DecisionKind::Ban => (Band::Malicious, 100),
        DecisionKind::Throttle => (Band::Suspicious, 50),
        DecisionKind::Allow => (Band::Clean, 0),
    };
    let reason = if decision.reason.is_empty() {
        String::from(decision.origin.clone())
    } else {
        decision.reason.clone()
    };
    Class {
        rank: decision.rank(),
        basis: Basis::Action(decision.action()),
        band,
        score,
        reason,
    }
}
