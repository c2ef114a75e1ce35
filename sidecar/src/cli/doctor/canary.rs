//! The proof from end to end: a request as an address that the snapshot always refuses.
//!
//! It is seen as the canary wherever it is sent from this machine, and behind trusted hops from elsewhere.
//! How it is sent is `crate::patrol`'s, which sends it every so often.

use crate::doctor::{Check, Finding};
use crate::patrol;
use crate::plain_http::{Answer, FetchError, Url};
use crate::proxies::Stats;
use crate::snapshot::canary;

pub struct CanaryFacts<'a> {
    pub answer: &'a Result<Answer, FetchError>,
    /// The verdicts of all proxies, before and after.
    pub before: Option<Verdicts>,
    pub after: Option<Verdicts>,
    /// Whether something hides the canary in the snapshot itself.
    pub hidden: bool,
    /// Whether an operator switched every route off.
    pub off: bool,
}

/// What may have been said of the canary.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verdicts {
    pub refused: u64,
    pub would_refuse: u64,
    /// Passed by the proxy's own allow list.
    pub allowed: u64,
    pub all: u64,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Refused,
    /// Passed, and counted as one that would be refused.
    Noted,
    Allowed,
    /// A verdict was counted, but not on the canary.
    Mistaken,
    Unseen,
    Unknown,
}

const VERDICTS: &str = "portcullis_verdicts_total";

pub fn findings(edge: &Url, facts: &CanaryFacts<'_>) -> [Finding; 3] {
    let answer = match facts.answer {
        Ok(answer) => answer,
        Err(error) => return unreachable(error),
    };
    let fate = fate(answer, facts);
    [
        canary(edge, answer, fate, facts),
        mode(fate, facts),
        request_id(answer),
    ]
}

impl Verdicts {
    pub fn of(stats: &Stats) -> Self {
        let count = |labels: &[_]| stats.count(VERDICTS, labels);
        Self {
            refused: count(&[("action", "deny"), ("mode", "enforce")]),
            would_refuse: count(&[("action", "deny"), ("mode", "monitor")]),
            allowed: count(&[("source", "local")]),
            all: count(&[]).saturating_sub(count(&[("mode", "shadow")])),
        }
    }

    pub fn plus(self, other: Self) -> Self {
        Self {
            refused: self.refused + other.refused,
            would_refuse: self.would_refuse + other.would_refuse,
            allowed: self.allowed + other.allowed,
            all: self.all + other.all,
        }
    }
}

fn fate(answer: &Answer, facts: &CanaryFacts<'_>) -> Fate {
    if patrol::is_refusal(answer) {
        return Fate::Refused;
    }
    let (Some(before), Some(after)) = (facts.before, facts.after) else {
        return Fate::Unknown;
    };
    if after.would_refuse > before.would_refuse {
        Fate::Noted
    } else if after.refused > before.refused && answer.status.is_client_error() {
        Fate::Refused
    } else if after.allowed > before.allowed {
        Fate::Allowed
    } else if after.all > before.all {
        Fate::Mistaken
    } else {
        Fate::Unseen
    }
}

fn canary(edge: &Url, answer: &Answer, fate: Fate, facts: &CanaryFacts<'_>) -> Finding {
    let check = Check::EdgeCanary;
    let status = answer.status.as_u16();
    match fate {
        Fate::Refused => Finding::ok(check, format!("{edge} refused the canary with {status}")),
        Fate::Noted => Finding::ok(
            check,
            format!("{edge} noted that it would refuse the canary, and passed it"),
        ),
        _ if facts.off => Finding::skipped(check, "mode off passes everybody: see operator.modes"),
        _ if facts.hidden => Finding::skipped(check, "see snapshot.canary"),
        fate => passed(edge, answer, fate),
    }
}

/// Who had to be refused was not.
fn passed(edge: &Url, answer: &Answer, fate: Fate) -> Finding {
    let check = Check::EdgeCanary;
    let status = answer.status.as_u16();
    match fate {
        Fate::Allowed => Finding::attention(
            check,
            format!("the proxy's own allow list passed the canary (status {status})"),
            format!(
                "narrow `allow` in the plugin's configuration so that it holds neither {} nor {}",
                canary::LOCAL,
                canary::NAMED
            ),
        ),
        _ if !answer.from_wished && fate != Fate::Unseen => Finding::attention(
            check,
            format!(
                "{edge} passed the canary (status {status}): it may have taken us for who we are"
            ),
            "run the doctor on the proxy's machine, or from a hop that it trusts",
        ),
        Fate::Mistaken => Finding::failing(
            check,
            format!("{edge} passed the canary (status {status}): it took it for somebody else"),
            "see envoy.clients and envoy.snapshot; more trusted hops than there are let clients choose their address",
        ),
        Fate::Unseen => Finding::failing(
            check,
            format!("{edge} passed the canary (status {status}), and no verdict was counted"),
            "the plugin is not in this listener, is disabled on this route, or its mode is off",
        ),
        Fate::Refused | Fate::Noted | Fate::Unknown => Finding::failing(
            check,
            format!("{edge} passed the canary (status {status})"),
            "whether it was noted cannot be seen without the proxy's statistics: name them by --stats",
        ),
    }
}

fn mode(fate: Fate, facts: &CanaryFacts<'_>) -> Finding {
    let check = Check::EdgeMode;
    match fate {
        Fate::Refused => Finding::ok(check, "enforcing"),
        Fate::Noted => Finding::note(check, "monitoring: nobody is refused")
            .hint("when the access log shows what you want refused: mode: enforce"),
        _ if facts.off => Finding::note(check, "off: nobody is judged"),
        _ => Finding::skipped(check, "see edge.canary"),
    }
}

fn request_id(answer: &Answer) -> Finding {
    let check = Check::EdgeRequestId;
    if answer.headers.contains_key("x-request-id") {
        return Finding::ok(check, "answers carry x-request-id, which the logs have too");
    }
    let remedy = "set generate_request_id and always_set_request_id_in_response";
    Finding::attention(check, "the answer has no x-request-id", remedy)
}

fn unreachable(error: &FetchError) -> [Finding; 3] {
    let seen = crate::telemetry::chain(error);
    let remedy = "is Envoy running? Name another edge by --edge URL";
    [
        Finding::attention(Check::EdgeCanary, seen, remedy),
        Finding::skipped(Check::EdgeMode, "the edge does not answer"),
        Finding::skipped(Check::EdgeRequestId, "the edge does not answer"),
    ]
}

#[cfg(test)]
mod tests {
    use hyper::{HeaderMap, StatusCode};

    use super::*;
    use crate::doctor::State;

    const DECISION: &str = "x-portcullis-decision";
    const BEFORE: Verdicts = Verdicts {
        refused: 5,
        would_refuse: 5,
        allowed: 5,
        all: 50,
    };

    fn answer(status: u16, headers: &[(&'static str, &str)]) -> Answer {
        let headers = headers.iter().map(|(name, value)| {
            (
                hyper::header::HeaderName::from_static(name),
                value.parse().unwrap(),
            )
        });
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::from_iter(headers),
            body: hyper::body::Bytes::new(),
            from_wished: true,
        }
    }

    fn states_of(facts: &CanaryFacts<'_>) -> [State; 3] {
        let edge = "http://127.0.0.1:10000".parse().unwrap();
        findings(&edge, facts).map(|finding| finding.state)
    }

    fn states(answer: Answer, after: Option<Verdicts>) -> [State; 3] {
        let before = after.map(|_| BEFORE);
        let answer = &Ok(answer);
        states_of(&CanaryFacts {
            answer,
            before,
            after,
            hidden: false,
            off: false,
        })
    }

    #[test]
    fn a_refusal_proves_it_by_its_header_or_by_the_counter() {
        let ok = [State::Ok, State::Ok, State::Ok];
        let marked = answer(
            403,
            &[(DECISION, "0d8a70cfa95060ac"), ("x-request-id", "a")],
        );
        assert_eq!(states(marked, None), ok);
        let plain = answer(403, &[("x-request-id", "a")]);
        assert_eq!(
            states(
                plain,
                Some(Verdicts {
                    refused: 6,
                    all: 51,
                    ..BEFORE
                })
            ),
            ok
        );
    }

    #[test]
    fn in_monitor_the_counter_proves_it_and_the_mode_is_a_note() {
        let noted = Verdicts {
            would_refuse: 6,
            all: 51,
            ..BEFORE
        };
        let states = states(answer(200, &[("x-request-id", "a")]), Some(noted));
        assert_eq!(states, [State::Ok, State::Note, State::Ok]);
    }

    #[test]
    fn a_canary_that_passes_unnoticed_fails_and_says_why() {
        let passed = || answer(200, &[]);
        let (failing, skipped) = (State::Failing, State::Skipped);
        let without_id = State::Attention;
        let somebody = Verdicts { all: 51, ..BEFORE };
        let allowed = Verdicts {
            allowed: 6,
            all: 51,
            ..BEFORE
        };
        assert_eq!(
            states(passed(), Some(somebody)),
            [failing, skipped, without_id]
        );
        assert_eq!(
            states(passed(), Some(BEFORE)),
            [failing, skipped, without_id]
        );
        assert_eq!(states(passed(), None), [failing, skipped, without_id]);
        assert_eq!(
            states(passed(), Some(allowed)),
            [State::Attention, skipped, without_id]
        );
        let from_elsewhere = Answer {
            from_wished: false,
            ..passed()
        };
        assert_eq!(
            states(from_elsewhere, Some(somebody)),
            [State::Attention, skipped, without_id]
        );
    }

    #[test]
    fn what_explains_it_already_is_not_told_twice() {
        let answer = &Ok(answer(200, &[("x-request-id", "a")]));
        let (before, after) = (Some(BEFORE), Some(BEFORE));
        let off = CanaryFacts {
            answer,
            before,
            after,
            hidden: false,
            off: true,
        };
        assert_eq!(states_of(&off), [State::Skipped, State::Note, State::Ok]);
        let hidden = CanaryFacts {
            off: false,
            hidden: true,
            ..off
        };
        assert_eq!(
            states_of(&hidden),
            [State::Skipped, State::Skipped, State::Ok]
        );
    }

    #[test]
    fn an_edge_that_does_not_answer_wants_attention() {
        let url: Url = "http://127.0.0.1:1".parse().unwrap();
        let answer = &Err(FetchError::Late(url, crate::plain_http::TIMEOUT));
        let facts = CanaryFacts {
            answer,
            before: None,
            after: None,
            hidden: false,
            off: false,
        };
        assert_eq!(
            states_of(&facts),
            [State::Attention, State::Skipped, State::Skipped]
        );
    }
}
