//! What one answer says, as words: which decisions it adds and takes back, and what was left out of it.
//!
//! Owns what scopes, types, values and durations mean. Does not know what was there before (`book`).

use std::collections::BTreeMap;
use std::sync::Arc;

use reputation::{Cidr, DecisionId, UnixSeconds};

use super::duration;
use super::wire::{Receiver, Row, Scalar};
use crate::clock::Clock;
use crate::config::Guard;
use crate::config::crowdsec::{CrowdSec, Remediation};
use crate::intelligence::feeds::guard::{Dropped, forbidden_to_list};
use crate::intelligence::words::{Phrase, PhraseNumber, Phrasebook, Strength, Word};
use crate::strangers::is_deceptive;

/// The longest text of a decision that is kept, in characters.
const LONGEST_TEXT: usize = 120;
/// How many other scopes and unreadable values are named.
const MOST_NAMED: usize = 8;

/// What one answer says.
#[derive(Debug, Default)]
pub struct Batch {
    pub new: Vec<(Cidr, Word)>,
    pub deleted: Vec<DecisionId>,
    pub left_out: LeftOut,
}

/// What was not taken, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    pub dropped: Dropped,
    pub unreadable: usize,
    /// The first few of them.
    pub examples: Vec<String>,
    /// Decisions of scopes that no address answers to, by scope.
    pub scopes: BTreeMap<String, usize>,
    pub simulated: usize,
    /// Of a type that is to be ignored.
    pub ignored: usize,
}

/// Makes a batch of rows.
pub struct Gatherer {
    source: Arc<str>,
    fallback: Remediation,
    guard: Guard,
    phrasebook: Arc<Phrasebook>,
    clock: Arc<dyn Clock>,
    batch: Batch,
    /// Rows of one phrase mostly stand together.
    last: Option<(Phrase, PhraseNumber)>,
}

impl Gatherer {
    pub fn new(
        config: &CrowdSec,
        guard: Guard,
        phrasebook: Arc<Phrasebook>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            source: Arc::from(config.name.as_str()),
            fallback: config.fallback,
            guard,
            phrasebook,
            clock,
            batch: Batch::default(),
            last: None,
        }
    }

    pub fn finish(self) -> Batch {
        self.batch
    }

    fn take(&mut self, row: &Row) -> Option<()> {
        if row.simulated == Scalar::Truth(true) {
            self.batch.left_out.simulated += 1;
            return None;
        }
        if let Some(other) = row.scope.text().filter(|scope| !is_of_addresses(scope)) {
            self.batch.left_out.scope(other);
            return None;
        }
        let Some((cidr, expires)) = self.place_and_end(row) else {
            self.batch.left_out.unreadable(row);
            return None;
        };
        let Some(strength) = self.strength(row.kind.text().unwrap_or_default()) else {
            self.batch.left_out.ignored += 1;
            return None;
        };
        if let Some(count) = forbidden_to_list(cidr, &self.guard, &mut self.batch.left_out.dropped)
        {
            *count += 1;
            return None;
        }
        let word = Word {
            strength,
            seen: self.clock.now(),
            expires,
            id: self.id(row),
            phrase: self.phrase(row),
        };
        self.batch.new.push((cidr, word));
        Some(())
    }

    fn place_and_end(&self, row: &Row) -> Option<(Cidr, UnixSeconds)> {
        let cidr = Cidr::parse_lenient(row.value.text()?.trim()).ok()?;
        let seconds = duration::parse(row.duration.text()?)?;
        let seconds = u32::try_from(seconds.max(0)).unwrap_or(u32::MAX);
        Some((cidr, self.clock.now().plus(seconds)))
    }

    fn strength(&self, kind: &str) -> Option<Strength> {
        match kind.to_ascii_lowercase().as_str() {
            "ban" => Some(Strength::Ban),
            // Nobody is asked to prove anything yet: slowing down is the nearest that we have.
            "captcha" | "throttle" => Some(Strength::Throttle),
            _ => match self.fallback {
                Remediation::Ban => Some(Strength::Ban),
                Remediation::Throttle => Some(Strength::Throttle),
                Remediation::Ignore => None,
            },
        }
    }

    /// CrowdSec's numbers tell how many decisions it had, and each of its databases begins at one.
    fn id(&self, row: &Row) -> DecisionId {
        match row.id {
            Scalar::Number(number) if number > 0 => {
                DecisionId::for_source(&[&self.source, &number.to_string()])
            }
            _ => {
                let texts = [&row.origin, &row.scenario, &row.kind, &row.value].map(Scalar::text);
                let [origin, scenario, kind, value] = texts.map(Option::unwrap_or_default);
                DecisionId::for_source(&[&self.source, origin, scenario, kind, value])
            }
        }
    }

    fn phrase(&mut self, row: &Row) -> PhraseNumber {
        let origin = row.origin.text().unwrap_or_default();
        let scenario = row.scenario.text().unwrap_or_default();
        let author = match origin {
            // A list's decisions have its name where others have a scenario.
            "lists" => one_line(&format!("lists:{scenario}")),
            origin => one_line(origin),
        };
        let phrase = Phrase {
            source: Arc::clone(&self.source),
            author,
            reason: one_line(scenario),
        };
        if let Some((_, number)) = self.last.as_ref().filter(|(last, _)| *last == phrase) {
            return *number;
        }
        let number = self.phrasebook.number(phrase.clone());
        self.last = Some((phrase, number));
        number
    }
}

impl Receiver for Gatherer {
    fn new_decision(&mut self, row: Row) {
        let _left_out = self.take(&row);
    }

    fn deleted_decision(&mut self, row: Row) {
        let id = self.id(&row);
        self.batch.deleted.push(id);
    }
}

impl LeftOut {
    fn scope(&mut self, scope: &str) {
        let scope = one_line(scope);
        if self.scopes.len() < MOST_NAMED || self.scopes.contains_key(&scope) {
            *self.scopes.entry(scope).or_default() += 1;
        } else {
            *self.scopes.entry("others".to_owned()).or_default() += 1;
        }
    }

    fn unreadable(&mut self, row: &Row) {
        self.unreadable += 1;
        if self.examples.len() < MOST_NAMED {
            let [value, duration] = [&row.value, &row.duration].map(|it| it.text().unwrap_or("?"));
            self.examples
                .push(one_line(&format!("{value} for {duration}")));
        }
    }
}

fn is_of_addresses(scope: &str) -> bool {
    scope.eq_ignore_ascii_case("ip") || scope.eq_ignore_ascii_case("range")
}

/// Reasons reach headers and logs.
pub fn one_line(text: &str) -> String {
    let shown = text.trim().chars().filter(|letter| !is_deceptive(*letter));
    shown.take(LONGEST_TEXT).collect()
}
