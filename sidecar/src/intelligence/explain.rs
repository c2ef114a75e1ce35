//! Why an address is treated as it is: the rule that decides, and everything that anybody says of it.

use std::sync::Arc;
use std::time::Duration;

use reputation::lookup::Found;
use reputation::score::{Cap, Indicator, Part, Stance, Weighed, weighed};
use reputation::{
    Action, Band, Cidr, ClientAddress, Decision, DecisionId, DecisionKind, Rank, Shadow,
    UnixSeconds, Verdict,
};
use serde::{Deserialize, Serialize};

use super::answers::{ByProvider, Key};
use super::crowdsec::Heard;
use super::databases::{Facts, Slot, Word};
use super::feeds::Hearing;
use super::lookup::Lookup;
use super::providers::Gate;
use super::sources::View;
use super::weigh::{Life, verdict_by, verdict_of};
use crate::config::FeedRole;
use crate::snapshot::class_of;

/// How long a Local API in live mode is waited for.
const LIVE_WAIT: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Explanation {
    pub address: ClientAddress,
    /// What happens to a request from it, under the shipped actions per band.
    pub action: Action,
    pub band: Band,
    pub score: u8,
    pub reason: String,
    /// The id that a refused client of this address sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision_id: Option<DecisionId>,
    /// The rule that decides; absent if nothing speaks of the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Rule>,
    /// Every decision whose prefix holds the address.
    pub decisions: Vec<Decision>,
    pub sources: Vec<SourceWord>,
    /// What the sources' words add up to, whichever rule decides.
    #[serde(default)]
    pub combined: u8,
    /// Who vouches for the address, if it would have a higher score without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap: Option<Vouched>,
    /// What would happen if every source had a say, if that is something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Shadow>,
    pub coverage: Coverage,
}

/// That a score is lower than what was said against the address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vouched {
    pub by: String,
    /// What the score would be.
    pub from: u8,
}

/// The rule that decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub rank: Rank,
    pub action: Action,
    pub reason: String,
    pub prefix: Cidr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<UnixSeconds>,
}

/// What one feed, provider or database says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SourceWord {
    pub source: String,
    pub family: String,
    /// `score`, `block` or `allow` for a feed, otherwise `provider` or `database`.
    pub role: String,
    pub score: u8,
    /// How far it is believed; absent where it is outside the arithmetic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// Whether it says how bad the address is, or vouches for it.
    #[serde(default)]
    pub stance: Stance,
    /// What becomes of it in the arithmetic; absent where it is outside of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// What its age leaves of it: 1 is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<f64>,
    /// What it says against the address in all: weight times score times what is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points: Option<f64>,
    /// It has no say: what it would lead to is counted only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_shadow: bool,
    /// For which prefix it was said.
    pub prefix: Cidr,
    /// How long ago we got it, in seconds; of a database, how long ago it was built.
    pub age_s: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// When the source last saw something, as it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<UnixSeconds>,
    /// What a database says of whose the address is, and where, whether that has a score or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Context>,
}

/// What is no word for or against anybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// The autonomous system, such as `AS64500`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asn: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organisation: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
}

/// How many of the sources that should have a word had one. A missing word is not a clean one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    pub answered: usize,
    pub asked: usize,
}

impl SourceWord {
    /// What becomes of it, where that is not plain.
    pub fn remark(&self) -> &'static str {
        match self.part {
            _ if self.in_shadow => "in shadow: counted only",
            Some(Part::Outweighed) => "outweighed in its family",
            Some(Part::Caps) => "vouches for it",
            Some(Part::Powerless) => "vouches no more",
            Some(Part::Expired) => "expired",
            Some(Part::Counts) | None => "",
        }
    }
}

impl Context {
    /// What a database says besides its score, in one line.
    pub fn in_words(&self) -> Option<String> {
        let system = match (&self.asn, &self.organisation) {
            (Some(asn), Some(organisation)) => Some(format!("{asn} {organisation}")),
            (asn, organisation) => asn.clone().or_else(|| organisation.clone()),
        };
        let parts = system.into_iter().chain(self.country.clone());
        let parts: Vec<_> = parts.chain(self.flags.iter().cloned()).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

impl Lookup {
    /// Explains `address` from what is known; asks no provider, only a Local API in live mode.
    pub async fn explain(&self, address: ClientAddress) -> Explanation {
        let now = self.clock.now();
        let view = self.sources.view();
        let answers = self.kept_answers(&view.setup, address, now).await;
        let (indicators, score) = view.score(address, &answers, Hearing::InForce, now);
        let words = Words::of(&indicators, now);
        let published = self.publisher.current();
        let found = published
            .as_ref()
            .and_then(|images| images.find(address, now))
            .filter(|found| !found.is_open());
        let host = Cidr::host(address);
        let heard = match &found {
            Some(_) => Heard::default(),
            None => {
                let deadline = tokio::time::Instant::now() + LIVE_WAIT;
                self.streams.hear(&view.setup, address, deadline).await
            }
        };
        let by_live = heard.decision.as_ref();
        let verdict = match (&found, by_live) {
            (Some(found), _) => verdict_of(found, address, host, now),
            (None, Some(decision)) => verdict_by(decision, host, 0),
            (None, None) => view.weigh(address, host, &answers, Life::Final { ttl_s: 0 }, now),
        };
        let shadow = view.in_shadow(&verdict, address, &answers, now);
        let rule = match (&found, by_live) {
            (Some(found), _) => Some(Rule::of(found, address)),
            (None, Some(decision)) => Some(Rule::of_decision(decision)),
            (None, None) => Rule::of_score(&verdict, Key::of(address).prefix()),
        };
        let mut sources = view.feed_words(address, &words, now);
        sources.extend(view.provider_words(address, &answers, &words, now));
        sources.extend(view.database_words(address, &words, now));
        let vouched = |cap: Cap| {
            let by = indicators.get(cap.by)?.source.clone();
            Some(Vouched { by, from: cap.from })
        };
        Explanation {
            address,
            action: verdict.action,
            band: verdict.band,
            score: verdict.score,
            reason: verdict.reason,
            decision_id: verdict.decision,
            rule,
            decisions: self.decisions_on(address, heard.decision, now),
            sources,
            combined: score.value,
            cap: score.cap.and_then(vouched),
            shadow,
            coverage: Coverage {
                answered: score.coverage.answered,
                asked: score.coverage.asked,
            },
        }
    }

    /// The rule that refuses `address`, if one does.
    pub async fn refusing_rule(&self, address: ClientAddress) -> Option<Rule> {
        let rule = self.explain(address).await.rule;
        rule.filter(|rule| matches!(rule.action, Action::Deny | Action::Throttle))
    }

    fn decisions_on(
        &self,
        address: ClientAddress,
        live: Option<Decision>,
        now: UnixSeconds,
    ) -> Vec<Decision> {
        let decisions = self.sources.decisions();
        let speaking = decisions
            .values()
            .filter(|decision| decision.in_force(now) && decision.cidr.contains(address));
        let mut speaking: Vec<_> = speaking.map(|decision| decision.as_ref().clone()).collect();
        speaking.extend(self.sources.words().on(address, now));
        speaking.extend(live);
        speaking.sort_by_key(|decision| {
            let kind = decision.kind == DecisionKind::Ban;
            std::cmp::Reverse((decision.rank(), decision.cidr.len(), kind, decision.created))
        });
        speaking
    }
}

/// The arithmetic, to be shown word by word.
struct Words<'a> {
    indicators: &'a [Indicator],
    weighed: Vec<Weighed>,
}

impl<'a> Words<'a> {
    fn of(indicators: &'a [Indicator], now: UnixSeconds) -> Self {
        Self {
            indicators,
            weighed: weighed(indicators, now),
        }
    }

    /// What became of this word. Lists and providers may have the same names.
    fn find(&self, said: &Indicator) -> Option<Weighed> {
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
    fn feed_words(
        &self,
        address: ClientAddress,
        words: &Words<'_>,
        now: UnixSeconds,
    ) -> Vec<SourceWord> {
        let word = |hit: &super::feeds::Hit<'_>| {
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

    fn provider_words(
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

    fn database_words(
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

impl Rule {
    pub fn of(found: &Found<'_>, address: ClientAddress) -> Self {
        let host = Cidr::host(address);
        let verdict = verdict_of(found, address, host, UnixSeconds(0));
        Self {
            rank: found.rank,
            action: verdict.action,
            reason: found.reason.to_owned(),
            prefix: Cidr::new(address, found.prefix_len).unwrap_or(host),
            decision: found.decision,
            expires: found.expires,
        }
    }

    fn of_decision(decision: &Decision) -> Self {
        let class = class_of(decision);
        Self {
            rank: class.rank,
            action: decision.action(),
            reason: class.reason,
            prefix: decision.cidr,
            decision: Some(decision.id),
            expires: decision.expires,
        }
    }

    /// What sources say together, if it amounts to something.
    fn of_score(verdict: &Verdict, prefix: Cidr) -> Option<Self> {
        Some(Self {
            rank: verdict.rank?,
            action: verdict.action,
            reason: verdict.reason.clone(),
            prefix,
            decision: None,
            expires: None,
        })
    }
}
