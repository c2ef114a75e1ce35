//! Why an address is treated as it is: the rule that decides, and everything that anybody says of it.

mod shown;
mod words;

pub use shown::{Context, Coverage, Explanation, Rule, SourceWord, Vouched};

use std::time::Duration;

use reputation::lookup::Found;
use reputation::score::{Cap, Indicator};
use reputation::{Action, Cidr, ClientAddress, Decision, DecisionKind, UnixSeconds, Verdict};

use super::answers::{ByProvider, Key};
use super::crowdsec::Heard;
use super::feeds::Hearing;
use super::lookup::Lookup;
use super::sources::View;
use super::weigh::{Life, verdict_by, verdict_of};
use crate::snapshot::class_of;
use words::Words;

/// How long a Local API in live mode is waited for.
const LIVE_WAIT: Duration = Duration::from_secs(1);

impl Lookup {
    /// Explains `address` from what is known; asks no provider, only a Local API in live mode.
    pub async fn explain(&self, address: ClientAddress) -> Explanation {
        let now = self.clock.now();
        let view = self.sources.view();
        let answers = self.kept_answers(&view.setup, address, now).await;
        let (indicators, score) = view.score(address, &answers, Hearing::InForce, now);
        let published = self.publisher.current();
        let found = published
            .as_ref()
            .and_then(|images| images.find(address, now))
            .filter(|found| !found.is_open());
        let heard = match &found {
            Some(_) => Heard::default(),
            None => {
                let deadline = tokio::time::Instant::now() + LIVE_WAIT;
                self.streams.hear(&view.setup, address, deadline).await
            }
        };
        let (verdict, rule) = ruling(&view, found.as_ref(), &heard, address, &answers, now);
        let shadow = view.in_shadow(&verdict, address, &answers, now);
        Explanation {
            address,
            action: verdict.action,
            band: verdict.band,
            score: verdict.score,
            reason: verdict.reason,
            decision_id: verdict.decision,
            rule,
            decisions: self.decisions_on(address, heard.decision, now),
            sources: source_words(&view, address, &answers, &indicators, now),
            combined: score.value,
            cap: score.cap.and_then(|cap| vouched(&indicators, cap)),
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

/// What is done about `address`, and by which rule: by an image's, else by a Local API's, else by what all
/// say together.
fn ruling(
    view: &View,
    found: Option<&Found<'_>>,
    heard: &Heard,
    address: ClientAddress,
    answers: &ByProvider,
    now: UnixSeconds,
) -> (Verdict, Option<Rule>) {
    let host = Cidr::host(address);
    if let Some(found) = found {
        let verdict = verdict_of(found, address, host, now);
        return (verdict, Some(Rule::of(found, address)));
    }
    if let Some(decision) = &heard.decision {
        let verdict = verdict_by(decision, host, 0);
        return (verdict, Some(Rule::of_decision(decision)));
    }
    let verdict = view.weigh(address, host, answers, Life::Final { ttl_s: 0 }, now);
    let rule = Rule::of_score(&verdict, Key::of(address).prefix());
    (verdict, rule)
}

fn source_words(
    view: &View,
    address: ClientAddress,
    answers: &ByProvider,
    indicators: &[Indicator],
    now: UnixSeconds,
) -> Vec<SourceWord> {
    let words = Words::of(indicators, now);
    let mut sources = view.feed_words(address, &words, now);
    sources.extend(view.provider_words(address, answers, &words, now));
    sources.extend(view.database_words(address, &words, now));
    sources
}

fn vouched(indicators: &[Indicator], cap: Cap) -> Option<Vouched> {
    let by = indicators.get(cap.by)?.source.clone();
    Some(Vouched { by, from: cap.from })
}
