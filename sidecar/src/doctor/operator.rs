//! What people ordered and may have forgotten, and whether it and everything else is published.

use std::time::Duration;

use reputation::decision::is_very_wide;
use reputation::manifest::SnapshotVersion;
use reputation::mode::{Mode, ModeOverride};
use reputation::{Decision, DecisionKind, UnixSeconds};

use super::{Check, Finding, count};
use crate::intelligence::Rule;
use crate::snapshot::canary;

/// A snapshot is built anew every 12 hours even if nothing changes; an hour of grace.
pub const SNAPSHOT_OLD: u32 = 13 * 3600;

#[derive(Debug, Clone, Copy)]
pub struct SnapshotFacts {
    pub version: SnapshotVersion,
    pub built_at: UnixSeconds,
}

pub fn modes(modes: &[ModeOverride]) -> Finding {
    let check = Check::OperatorModes;
    let loose = || modes.iter().filter(|mode| mode.mode != Mode::Enforce);
    let words: Vec<_> = loose().map(word).collect();
    if words.is_empty() {
        return Finding::ok(check, "each proxy follows its own configuration");
    }
    let remedy = "if it was forgotten: portcullis mode --clear";
    if loose().any(|mode| mode.until.is_none()) {
        return Finding::attention(check, words.join(", "), remedy);
    }
    Finding::note(check, words.join(", ")).hint(remedy)
}

/// Wide decisions without an end: a ban locks a part of the world out, an allow lets it in.
pub fn decisions(decisions: &[Decision]) -> Finding {
    let check = Check::OperatorDecisions;
    let wide = decisions
        .iter()
        .filter(|decision| decision.expires.is_none() && is_very_wide(decision.cidr));
    let word = |decision: &Decision| {
        let kind = match decision.kind {
            DecisionKind::Ban => "banned",
            DecisionKind::Throttle => "throttled",
            DecisionKind::Allow => "allowed",
        };
        format!("{} is {kind} without an end", decision.cidr)
    };
    let words: Vec<_> = wide.map(word).collect();
    if words.is_empty() {
        let number = count(decisions.len(), "decision");
        return Finding::ok(
            check,
            format!("{number}, none both very wide and without an end"),
        );
    }
    let remedy = "if that is not meant: portcullis unallow or unban, or give it an end by --for";
    Finding::attention(check, words.join(", "), remedy)
}

pub fn published(snapshot: Option<SnapshotFacts>, now: UnixSeconds) -> Finding {
    let check = Check::SnapshotPublished;
    let remedy = "see what the sidecar's log says of `no new snapshot`";
    let Some(SnapshotFacts { version, built_at }) = snapshot else {
        return Finding::failing(check, "no snapshot is published", remedy);
    };
    let age = built_at.until(now);
    let shown = crate::duration::show(Duration::from_secs(age.into()));
    let seen = format!("version {version}, built {shown} ago");
    if age > SNAPSHOT_OLD {
        return Finding::failing(check, seen, remedy);
    }
    Finding::ok(check, seen)
}

/// `rules` is what decides each canary address.
pub fn canary(rules: &[Option<Rule>]) -> Finding {
    let check = Check::SnapshotCanary;
    let hidden = rules.iter().find(|rule| {
        rule.as_ref()
            .is_none_or(|rule| rule.reason != canary::REASON)
    });
    match hidden {
        None => Finding::ok(check, "both canary addresses are refused"),
        Some(None) => Finding::failing(
            check,
            "a canary address is in no image",
            "see snapshot.published",
        ),
        Some(Some(rule)) => Finding::attention(
            check,
            format!(
                "{} by {} on {} hides a canary",
                rule.action.name(),
                rule.rank.name(),
                rule.prefix
            ),
            format!(
                "take it back, or narrow it: portcullis unallow {}",
                rule.prefix
            ),
        ),
    }
}

fn word(mode: &ModeOverride) -> String {
    let route = mode.route.as_ref().map_or_else(
        || "every route".to_owned(),
        |route| format!("route {route}"),
    );
    let end = mode.until.map_or_else(
        || "until it is taken back".to_owned(),
        |until| match jiff::Timestamp::from_second(until.0.into()) {
            Ok(until) => format!("until {until}"),
            Err(_) => "for long".to_owned(),
        },
    );
    format!("{} on {route} {end}", mode.mode.name())
}

#[cfg(test)]
mod tests {
    use reputation::decision::Origin;
    use reputation::{Action, DecisionId, Rank};

    use super::*;
    use crate::doctor::State;

    fn mode(mode: Mode, until: Option<u32>) -> ModeOverride {
        ModeOverride {
            mode,
            route: None,
            until: until.map(UnixSeconds),
        }
    }

    fn decision(cidr: &str, kind: DecisionKind, expires: Option<u32>) -> Decision {
        Decision {
            id: DecisionId(1),
            cidr: cidr.parse().unwrap(),
            kind,
            origin: Origin::Operator,
            reason: String::new(),
            author: String::new(),
            created: UnixSeconds(1),
            expires: expires.map(UnixSeconds),
        }
    }

    #[test]
    fn a_mode_without_an_end_may_have_been_forgotten() {
        assert_eq!(modes(&[]).state, State::Ok);
        assert_eq!(modes(&[mode(Mode::Enforce, None)]).state, State::Ok);
        assert_eq!(modes(&[mode(Mode::Off, Some(9))]).state, State::Note);
        assert_eq!(modes(&[mode(Mode::Off, None)]).state, State::Attention);
        assert_eq!(modes(&[mode(Mode::Monitor, None)]).state, State::Attention);
    }

    #[test]
    fn wide_decisions_need_an_end() {
        let state = |cidr, kind, expires| decisions(&[decision(cidr, kind, expires)]).state;
        assert_eq!(
            state("10.0.0.0/8", DecisionKind::Allow, None),
            State::Attention
        );
        assert_eq!(
            state("10.0.0.0/8", DecisionKind::Ban, None),
            State::Attention
        );
        assert_eq!(
            state("2001:d00::/24", DecisionKind::Allow, None),
            State::Attention
        );
        assert_eq!(state("10.0.0.0/8", DecisionKind::Allow, Some(9)), State::Ok);
        assert_eq!(state("10.0.0.0/16", DecisionKind::Allow, None), State::Ok);
    }

    #[test]
    fn a_snapshot_is_there_and_young() {
        let now = UnixSeconds(1_800_000_000);
        let aged = |age| {
            let version = "7.3".parse().unwrap();
            let built_at = UnixSeconds(now.0 - age);
            published(Some(SnapshotFacts { version, built_at }), now).state
        };
        assert_eq!(published(None, now).state, State::Failing);
        assert_eq!(aged(60), State::Ok);
        assert_eq!(aged(SNAPSHOT_OLD + 1), State::Failing);
    }

    #[test]
    fn whatever_hides_the_canary_is_named() {
        let rule = |reason: &str| Rule {
            rank: Rank::OperatorAllow,
            action: Action::Allow,
            reason: reason.to_owned(),
            prefix: "192.0.2.0/24".parse().unwrap(),
            decision: None,
            expires: None,
        };
        let good = Some(rule(canary::REASON));
        assert_eq!(canary(&[good.clone(), good.clone()]).state, State::Ok);
        assert_eq!(canary(&[good.clone(), None]).state, State::Failing);
        let hidden = canary(&[good, Some(rule("operator"))]);
        assert_eq!(hidden.state, State::Attention);
        assert!(
            hidden.seen.contains("operator_allow on 192.0.2.0/24"),
            "{hidden:?}"
        );
    }
}
