//! What sources such as CrowdSec decided: a word each on a prefix, kept small, since there may be hundreds of
//! thousands. What words have in common is a phrase, kept once.
//!
//! Does not know where words come from (`crowdsec`), nor how they reach an image (`snapshot::spoken`).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use reputation::decision::Origin;
use reputation::{Cidr, ClientAddress, Decision, DecisionId, DecisionKind, UnixSeconds};
use serde::{Deserialize, Serialize};

use super::prefixes::PrefixMap;

/// More different phrases than this are not told apart by their reason any more. Reasons are free text.
const MOST_PHRASES: usize = 4096;

/// One word. Of several on one prefix the greatest counts: the strongest, then the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Word {
    pub strength: Strength,
    /// When we were told first.
    pub seen: UnixSeconds,
    /// The end of time if it has no end.
    pub expires: UnixSeconds,
    pub id: DecisionId,
    pub phrase: PhraseNumber,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Strength {
    Throttle = 1,
    Ban = 2,
}

/// A place in [`Words::phrases`]; the same from one set of words to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhraseNumber(u32);

/// Who said it, and why.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Phrase {
    /// The feed's name.
    pub source: Arc<str>,
    /// Where the source has it from: `cscli`, `CAPI`, a list's name.
    pub author: String,
    pub reason: String,
}

/// Some of the phrases.
pub struct PhraseSet(Vec<bool>);

pub type Entries = PrefixMap<Word>;

/// All words of all sources.
#[derive(Debug, Clone, Default)]
pub struct Words {
    pub entries: Arc<Entries>,
    phrases: Arc<Vec<Phrase>>,
}

/// Numbers phrases. Numbers are never given anew, so that two sets of words can be compared.
#[derive(Debug, Default)]
pub struct Phrasebook {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    phrases: Arc<Vec<Phrase>>,
    numbers: HashMap<Phrase, PhraseNumber>,
}

/// How many words there are of each source and kind.
pub type Counts = BTreeMap<(Arc<str>, Strength), usize>;

impl Word {
    pub fn in_force(&self, now: UnixSeconds) -> bool {
        now < self.expires || self.expires == UnixSeconds::MAX
    }

    pub fn ends(&self) -> Option<UnixSeconds> {
        (self.expires < UnixSeconds::MAX).then_some(self.expires)
    }
}

impl Strength {
    pub fn kind(self) -> DecisionKind {
        match self {
            Self::Throttle => DecisionKind::Throttle,
            Self::Ban => DecisionKind::Ban,
        }
    }
}

impl Words {
    pub fn new(entries: Arc<Entries>, phrasebook: &Phrasebook) -> Self {
        let phrases = phrasebook.phrases();
        Self { entries, phrases }
    }

    /// Which phrases `wanted` holds.
    pub fn phrases_that(&self, wanted: impl Fn(&Phrase) -> bool) -> PhraseSet {
        PhraseSet(self.phrases.iter().map(wanted).collect())
    }

    pub fn phrase(&self, word: &Word) -> Option<&Phrase> {
        self.phrases.get(usize::try_from(word.phrase.0).ok()?)
    }

    /// The word as a decision, for people.
    pub fn decision(&self, cidr: Cidr, word: &Word) -> Option<Decision> {
        let phrase = self.phrase(word)?;
        Some(Decision {
            id: word.id,
            cidr,
            kind: word.strength.kind(),
            origin: Origin::Source(phrase.source.to_string()),
            reason: phrase.reason.clone(),
            author: phrase.author.clone(),
            created: word.seen,
            expires: word.ends(),
        })
    }

    /// Every word on a prefix that holds `address`.
    pub fn on(&self, address: ClientAddress, now: UnixSeconds) -> Vec<Decision> {
        let words = self.entries.containing(address).into_iter();
        let words = words.filter(|(_, word)| word.in_force(now));
        words
            .filter_map(|(cidr, word)| self.decision(cidr, &word))
            .collect()
    }

    pub fn counts(&self, now: UnixSeconds) -> Counts {
        let mut counts = Counts::new();
        let in_force = self.entries.iter().filter(|(_, word)| word.in_force(now));
        for (_, word) in in_force {
            if let Some(phrase) = self.phrase(&word) {
                let key = (Arc::clone(&phrase.source), word.strength);
                *counts.entry(key).or_default() += 1;
            }
        }
        counts
    }
}

impl PhraseSet {
    pub fn contains(&self, phrase: PhraseNumber) -> bool {
        let place = usize::try_from(phrase.0).ok();
        let place = place.and_then(|place| self.0.get(place));
        place.copied().unwrap_or(false)
    }
}

impl Phrasebook {
    /// The number of `phrase`. Where there are too many, its reason is left out.
    pub fn number(&self, mut phrase: Phrase) -> PhraseNumber {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.phrases.len() >= MOST_PHRASES && !kept.numbers.contains_key(&phrase) {
            phrase.reason.clear();
            phrase.author.clear();
        }
        if let Some(number) = kept.numbers.get(&phrase) {
            return *number;
        }
        let number = PhraseNumber(u32::try_from(kept.phrases.len()).unwrap_or(u32::MAX));
        Arc::make_mut(&mut kept.phrases).push(phrase.clone());
        kept.numbers.insert(phrase, number);
        number
    }

    fn phrases(&self) -> Arc<Vec<Phrase>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&kept.phrases)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phrase(reason: &str) -> Phrase {
        Phrase {
            source: Arc::from("crowdsec"),
            author: "cscli".to_owned(),
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn a_phrase_keeps_its_number_and_free_text_does_not_pile_up() {
        let book = Phrasebook::default();
        let first = book.number(phrase("ssh"));
        for number in 0..2 * MOST_PHRASES {
            book.number(phrase(&number.to_string()));
        }
        assert_eq!(book.number(phrase("ssh")), first);
        assert_eq!(
            book.number(phrase("one more")),
            book.number(phrase("another"))
        );
        assert_eq!(book.phrases().len(), MOST_PHRASES + 1);
    }

    #[test]
    fn a_word_is_small() {
        assert!(size_of::<Word>() <= 24);
    }
}
