//! What each feed, provider and database says of an address, and what becomes of it in the arithmetic.

use std::sync::Arc;

use reputation::score::{Indicator, Stance, Weighed, weighed};
use reputation::{ClientAddress, UnixSeconds};

use super::super::answers::{ByProvider, Key};
use super::super::databases::{Facts, Slot, Word};
use super::super::feeds::{Hearing, Hit};
use super::super::providers::Gate;
use super::super::sources::View;
use super::shown::{Context, SourceWord};
use crate::config::FeedRole;

/// The arithmetic, to be shown word by word.
pub(super) struct Words<'a> {
    indicators: &'a [Indicator],
    weighed: Vec<Weighed>,
}

impl<'a> Words<'a> {
    pub(super) fn of(indicators: &'a [Indicator], now: UnixSeconds) -> Self {
        Self {
            indicators,
            weighed: weighed(indicators, now),
        }
    }

    /// What became of this word. Lists and providers may have the same names.
    pub(super) fn find(&self, said: &Indicator) -> Option<Weighed> {
        let at = self.indicators.iter().position(|other| other == said)?;
        self.weighed.get(at).copied()
    }
}

impl Context {
    fn of(facts: Facts) -> Self {
        let flags = facts.flags.iter();
        Self {
            flags: flags.map(|flag| flag.name().to_owned()).collect(),
            asn: facts.asn.map(|asn| asn.to_string()),
            organisation: facts.organisation,
            country: facts.country.map(|country| country.to_string()),
        }
    }
}

impl SourceWord {
    fn weighed(self, weighed: Option<Weighed>) -> Self {
        let rounded = |number: f64| (number * 1000.0).round() / 1000.0;
        Self {
            part: weighed.map(|weighed| weighed.part),
            left: weighed.map(|weighed| rounded(weighed.left)),
            points: weighed.map(|weighed| rounded(weighed.share * 100.0)),
            ..self
        }
    }
}

impl View {
    pub(super) fn feed_words(
        &self,
        address: ClientAddress,
        words: &Words<'_>,
        now: UnixSeconds,
    ) -> Vec<SourceWord> {
        let word = |hit: &Hit<'_>| {
            let config = &hit.feed.config;
            let soft = matches!(config.role, FeedRole::Score { .. });
            let said = soft.then(|| hit.feed.indicator(hit.score));
            let word = SourceWord {
                source: config.name.clone(),
                family: config.family.clone(),
                role: config.role.name().to_owned(),
                score: hit.score,
                weight: soft.then(|| hit.feed.weight.get()),
                stance: Stance::Rated,
                part: None,
                left: None,
                points: None,
                in_shadow: hit.in_shadow,
                prefix: hit.cidr,
                age_s: hit.feed.fetched.until(now),
                categories: Vec::new(),
                observed: None,
                context: None,
            };
            let said = said.filter(|_| !hit.in_shadow);
            word.weighed(said.and_then(|said| words.find(&said)))
        };
        self.feeds
            .hits(address, Hearing::All)
            .iter()
            .map(word)
            .collect()
    }

    pub(super) fn provider_words(
        &self,
        address: ClientAddress,
        answers: &ByProvider,
        words: &Words<'_>,
        now: UnixSeconds,
    ) -> Vec<SourceWord> {
        let word = |gate: &Arc<Gate>| {
            let answer = answers.of(gate.name())?;
            let said = answer.said.as_ref().filter(|_| answer.counts(now))?;
            let indicator = gate.indicator(said);
            let weighed = words.find(&indicator);
            let word = SourceWord {
                source: indicator.source,
                family: indicator.family,
                role: "provider".to_owned(),
                score: indicator.score,
                weight: Some(indicator.weight.get()),
                stance: indicator.stance,
                part: None,
                left: None,
                points: None,
                in_shadow: !gate.has_say_on(Key::of(address).address()),
                prefix: Key::of(address).prefix(),
                age_s: said.fetched.until(now),
                categories: indicator.categories,
                observed: said.observed,
                context: None,
            };
            Some(word.weighed(weighed))
        };
        self.setup.gates.iter().filter_map(word).collect()
    }

    pub(super) fn database_words(
        &self,
        address: ClientAddress,
        words: &Words<'_>,
        now: UnixSeconds,
    ) -> Vec<SourceWord> {
        let word = |(slot, said): (&Slot, Word)| {
            let scoring = slot.has_a_say();
            let indicator = slot.indicator_of(&said);
            let word = SourceWord {
                source: indicator.source.clone(),
                family: indicator.family.clone(),
                role: "database".to_owned(),
                score: indicator.score,
                weight: scoring.then(|| indicator.weight.get()),
                stance: indicator.stance,
                part: None,
                left: None,
                points: None,
                in_shadow: scoring && !slot.is_heard(address, Hearing::InForce),
                prefix: said.network,
                age_s: said.built.until(now),
                categories: indicator.categories.clone(),
                observed: None,
                context: Some(Context::of(said.facts)),
            };
            word.weighed(scoring.then(|| words.find(&indicator)).flatten())
        };
        let said = self.setup.databases.words(address);
        said.into_iter().map(word).collect()
    }
}
