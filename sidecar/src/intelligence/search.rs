//! Finding decisions among very many, a page at a time: those of operators and those of sources.

use std::cmp::Reverse;
use std::sync::Arc;

use reputation::{Cidr, Decision, DecisionId, DecisionKind, UnixSeconds};

use super::Intelligence;
use super::words::{Phrase, Word, Words};

/// What is looked for.
#[derive(Debug, Clone, Default)]
pub struct Search {
    pub what: Wanted,
    pub kind: Option<DecisionKind>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Wanted {
    #[default]
    Anything,
    /// On a prefix that holds this one or lies inside it.
    About(Cidr),
    Id(DecisionId),
    /// In reason, author or source, in small letters.
    Text(String),
}

/// One page of what was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub decisions: Vec<Decision>,
    /// On all pages.
    pub total: usize,
}

/// Which of what was found.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    pub skip: usize,
    pub most: usize,
}

/// A decision with what it is sorted by.
type Placed<'a> = (Reverse<UnixSeconds>, DecisionId, &'a Arc<Decision>);

impl Wanted {
    /// An address, a prefix, an id, or else a text.
    pub fn of(text: &str) -> Self {
        let text = text.trim();
        if text.is_empty() {
            return Self::Anything;
        }
        let about = Cidr::parse_lenient(text).ok().map(Self::About);
        let id = || text.parse().ok().map(Self::Id);
        let found = about.or_else(id);
        found.unwrap_or_else(|| Self::Text(text.to_lowercase()))
    }

    fn is_in(&self, texts: &[&str]) -> bool {
        match self {
            Self::Text(wanted) => texts
                .iter()
                .any(|text| text.to_lowercase().contains(wanted.as_str())),
            _ => true,
        }
    }
}

impl Search {
    fn finds(&self, decision: &Decision) -> bool {
        let is_it = match &self.what {
            Wanted::Anything => true,
            Wanted::About(cidr) => cidr.overlaps(decision.cidr),
            Wanted::Id(id) => decision.id == *id,
            Wanted::Text(_) => self.what.is_in(&[&decision.reason, &decision.author]),
        };
        is_it && self.is_kind(decision.kind)
    }

    fn is_kind(&self, kind: DecisionKind) -> bool {
        self.kind.is_none_or(|wanted| wanted == kind)
    }
}

impl Intelligence {
    /// Operators' decisions in force, the newest first.
    pub fn find_decisions(&self, search: &Search, window: Window) -> Found {
        let (all, now) = (self.sources.decisions(), self.clock.now());
        let in_force = all.values().filter(|decision| decision.in_force(now));
        let found = in_force.filter(|it| search.finds(it));
        // The keys beside their decisions: comparing must not go and look for them.
        let mut found: Vec<_> = found.map(|it| (Reverse(it.created), it.id, it)).collect();
        let total = found.len();
        let order = |one: &Placed<'_>, other: &Placed<'_>| (one.0, one.1).cmp(&(other.0, other.1));
        let until = window.skip.saturating_add(window.most);
        // Only what is in the window has to be in order.
        if until < found.len() {
            found.select_nth_unstable_by(until, order);
            found.truncate(until);
        }
        if 0 < window.skip && window.skip < found.len() {
            found.select_nth_unstable_by(window.skip, order);
        }
        let mut shown: Vec<_> = found.into_iter().skip(window.skip).collect();
        shown.sort_unstable_by(order);
        let shown = shown.into_iter();
        Found {
            decisions: shown.map(|(_, _, it)| it.as_ref().clone()).collect(),
            total,
        }
    }

    /// Sources' decisions in force, by address.
    pub fn find_words(&self, search: &Search, window: Window) -> Found {
        let (words, now) = (self.sources.words(), self.clock.now());
        let mut found = Vec::new();
        let mut total = 0;
        words.each_of(search, now, |cidr, word| {
            if (window.skip..window.skip.saturating_add(window.most)).contains(&total) {
                found.extend(words.decision(cidr, &word));
            }
            total += 1;
        });
        Found {
            decisions: found,
            total,
        }
    }
}

impl Words {
    fn each_of(&self, search: &Search, now: UnixSeconds, mut see: impl FnMut(Cidr, Word)) {
        let speaks = |phrase: &Phrase| {
            let texts = [phrase.reason.as_str(), &phrase.author, &phrase.source];
            search.what.is_in(&texts)
        };
        // A text is looked for once in each phrase, not in each word.
        let spoken = self.phrases_that(speaks);
        let id = match &search.what {
            Wanted::Id(id) => Some(*id),
            _ => None,
        };
        let mut judge = |(cidr, word): (Cidr, Word)| {
            let wanted = id.is_none_or(|id| word.id == id)
                && search.is_kind(word.strength.kind())
                && word.in_force(now)
                && spoken.contains(word.phrase);
            if wanted {
                see(cidr, word);
            }
        };
        match &search.what {
            Wanted::About(cidr) => {
                let around = self.entries.covering(*cidr).into_iter();
                let around = around.filter(|(other, _)| other != cidr);
                around.chain(self.entries.inside(*cidr)).for_each(judge);
            }
            _ => self.entries.iter().for_each(&mut judge),
        }
    }
}
