//! From what is known to a verdict: an image's entry as it stands, or the arithmetic over everything
//! that soft feeds, providers and databases say.

use std::sync::Arc;

use reputation::lookup::Found;
use reputation::score::{Indicator, Score, Stance, combine};
use reputation::set::Basis;
use reputation::{
    Band, Cidr, ClientAddress, Decision, DecisionId, Rank, Shadow, UnixSeconds, Verdict,
};

use super::answers::{ByProvider, Key};
use super::crowdsec::Heard;
use super::feeds::Hearing;
use super::providers::Gate;
use super::sources::View;
use crate::config::FeedRole;
use crate::snapshot::{Published, class_of};
use crate::store::StoredVerdict;

/// The longest that an answer may be kept, in seconds.
pub const LONGEST_TTL: u32 = 3600;

/// How long a weighed answer lives.
#[derive(Debug, Clone, Copy)]
pub enum Life {
    Final { ttl_s: u32 },
    Provisional,
}

impl Life {
    /// The same where Local APIs were asked as well.
    pub fn with(self, heard: &Heard) -> Self {
        match (self, heard.for_s) {
            _ if heard.waiting => Self::Provisional,
            (Self::Final { ttl_s }, Some(for_s)) => Self::Final {
                ttl_s: ttl_s.min(for_s),
            },
            (life, _) => life,
        }
    }
}

impl View {
    /// What the soft feeds, the providers and the databases say of `address`, and their score.
    pub fn score(
        &self,
        address: ClientAddress,
        answers: &ByProvider,
        hearing: Hearing,
        now: UnixSeconds,
    ) -> (Vec<Indicator>, Score) {
        let indicators = self.indicators(address, answers, hearing, now, |_| true);
        let asked = self.feeds.soft_feeds(hearing) + self.gates(address, hearing).count();
        let asked = asked + self.setup.databases.scoring_on(address, hearing);
        let score = combine(&indicators, asked, self.setup.policy, now);
        (indicators, score)
    }

    /// What is said of `address`, by providers only what `counts`.
    fn indicators(
        &self,
        address: ClientAddress,
        answers: &ByProvider,
        hearing: Hearing,
        now: UnixSeconds,
        counts: impl Fn(&StoredVerdict) -> bool,
    ) -> Vec<Indicator> {
        let mut indicators = self.feeds.indicators(address, hearing);
        for gate in self.gates(address, hearing) {
            let counting = answers.of(gate.name()).filter(|answer| answer.counts(now));
            let said = counting.and_then(|answer| answer.said.as_ref());
            let said = said.filter(|said| counts(said));
            indicators.extend(said.map(|said| gate.indicator(said)));
        }
        indicators.extend(self.setup.databases.indicators(address, hearing));
        indicators
    }

    /// The providers that are heard about `address`.
    fn gates(&self, address: ClientAddress, hearing: Hearing) -> impl Iterator<Item = &Arc<Gate>> {
        let client = Key::of(address).address();
        let heard = move |gate: &&Arc<Gate>| hearing == Hearing::All || gate.has_say_on(client);
        self.setup.gates.iter().filter(heard)
    }

    /// The verdict of an address that no image's entry decides about.
    pub fn weigh(
        &self,
        address: ClientAddress,
        scope: Cidr,
        answers: &ByProvider,
        life: Life,
        now: UnixSeconds,
    ) -> Verdict {
        // Most answers have nothing against the address: what changes no score is not even copied.
        let matters = |said: &StoredVerdict| said.score > 0 || said.stance == Stance::Trusted;
        let indicators = self.indicators(address, answers, Hearing::InForce, now, matters);
        let score = combine(&indicators, indicators.len(), self.setup.policy, now);
        let band = self.setup.policy.band(score.value);
        let top = score.top.and_then(|at| indicators.get(at));
        let (ttl_s, provisional) = match life {
            Life::Final { ttl_s } => (ttl_s, false),
            Life::Provisional => (Verdict::PROVISIONAL_TTL_S, true),
        };
        let flagged = band != Band::Clean;
        let reason = match top {
            Some(top) if flagged => top.source.as_str(),
            _ if provisional => "unknown",
            _ => "clean",
        };
        Verdict {
            action: band.default_action(),
            band,
            score: score.value,
            reason: reason.to_owned(),
            decision: flagged.then(|| DecisionId::for_listing(reason, address)),
            ttl_s,
            provisional,
            rank: flagged.then_some(Rank::Score),
            scope,
            shadow: None,
        }
    }

    /// What `verdict` would be if every source had a say, unless it would be the same.
    pub fn in_shadow(
        &self,
        verdict: &Verdict,
        address: ClientAddress,
        answers: &ByProvider,
        now: UnixSeconds,
    ) -> Option<Shadow> {
        if !self.have_shadow() {
            return None;
        }
        let hits = self.feeds.hits(address, Hearing::All);
        let listed = |role: FeedRole| {
            let mut hits = hits.iter().filter(|hit| hit.feed.config.role == role);
            hits.next().map(|hit| hit.feed.config.name.clone())
        };
        let (rank, band, reason) = if let Some(name) = listed(FeedRole::Allow) {
            (Rank::Trusted, Band::Clean, name)
        } else if let Some(name) = listed(FeedRole::Block) {
            (Rank::HardSource, Band::Malicious, name)
        } else {
            let (indicators, score) = self.score(address, answers, Hearing::All, now);
            let top = score.top.and_then(|at| indicators.get(at));
            let reason = top.map_or("clean", |top| top.source.as_str()).to_owned();
            (Rank::Score, self.setup.policy.band(score.value), reason)
        };
        let outranked = verdict.rank.is_some_and(|decided| decided > rank);
        let action = band.default_action();
        let same = (action, band) == (verdict.action, verdict.band);
        (!outranked && !same).then_some(Shadow {
            action,
            band,
            reason,
        })
    }

    /// Whether any source has not the whole say.
    pub fn have_shadow(&self) -> bool {
        let mut gates = self.setup.gates.iter();
        self.feeds.have_shadow()
            || gates.any(|gate| !gate.config().say.is_whole())
            || self.setup.databases.have_shadow()
    }

    /// For which addresses a verdict holds: the client's network as the filter asks for it, unless
    /// something tells its addresses apart.
    pub fn scope(
        &self,
        published: Option<&Published>,
        address: ClientAddress,
        prefix: u8,
        found: Option<u8>,
    ) -> Cidr {
        let host = Cidr::host(address);
        let network = match address {
            ClientAddress::V4(_) => None,
            ClientAddress::V6(_) => Cidr::new(address, prefix),
        };
        let Some(network) = network.filter(|network| network.len() > 0) else {
            return host;
        };
        let split = found.is_some_and(|len| len > network.len())
            || published.is_some_and(|images| images.splits(network))
            || self.feeds.splits(network)
            || self.setup.databases.splits(network);
        if split { host } else { network }
    }
}

/// The verdict by a decision that no image has.
pub fn verdict_by(decision: &Decision, scope: Cidr, ttl_s: u32) -> Verdict {
    let class = class_of(decision);
    Verdict {
        action: decision.action(),
        band: class.band,
        score: class.score,
        reason: class.reason,
        decision: Some(decision.id),
        ttl_s,
        provisional: false,
        rank: Some(class.rank),
        scope,
        shadow: None,
    }
}

/// The verdict that an image's entry is.
pub fn verdict_of(
    found: &Found<'_>,
    address: ClientAddress,
    scope: Cidr,
    now: UnixSeconds,
) -> Verdict {
    let action = match found.basis {
        Basis::Action(action) => action,
        Basis::Band(band) => band.default_action(),
    };
    let listing =
        || (found.band != Band::Clean).then(|| DecisionId::for_listing(found.reason, address));
    let lasts = found
        .expires
        .map_or(LONGEST_TTL, |expires| now.until(expires));
    Verdict {
        action,
        band: found.band,
        score: found.score,
        reason: found.reason.to_owned(),
        decision: found.decision.or_else(listing),
        ttl_s: lasts.min(LONGEST_TTL),
        provisional: false,
        rank: Some(found.rank),
        scope,
        shadow: None,
    }
}
