//! Whether those who can be asked take our key, have calls left and answer, and whether most questions
//! are answered without them.

use super::{Check, Finding};
use crate::intelligence::ProviderStatus;
use crate::intelligence::providers::Closed;

/// Fewer calls left than one in so many are few.
const FEW: u32 = 10;
/// So many questions are enough to speak of a rate.
const ENOUGH: u64 = 1000;

/// Where answers were found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheFacts {
    pub asked: u64,
    pub found: u64,
}

pub fn key(providers: &[ProviderStatus]) -> Finding {
    let check = Check::ProvidersKey;
    let refused = closed(providers, Closed::Key);
    match (providers.is_empty(), refused.is_empty()) {
        (true, _) => none(check),
        (false, true) => Finding::ok(check, "no key was refused"),
        (false, false) => Finding::failing(
            check,
            refused.join("; "),
            "put a good key where the configuration says it is; no restart is needed",
        ),
    }
}

pub fn quota(providers: &[ProviderStatus]) -> Finding {
    let check = Check::ProvidersQuota;
    let left = |provider: &ProviderStatus| {
        let ProviderStatus {
            name,
            remaining,
            daily_quota,
            ..
        } = provider;
        format!("{name}: {remaining} of {daily_quota} calls left today")
    };
    let all: Vec<_> = providers.iter().map(left).collect();
    let seen = all.join(", ");
    let used_up = |provider: &ProviderStatus| {
        provider.remaining == 0 || provider.closed == Some(Closed::Quota)
    };
    let few = |provider: &ProviderStatus| provider.remaining < provider.daily_quota / FEW;
    let remedy = "unknown addresses count as unlisted until midnight UTC: see whether an attack \
                  spends the calls, or raise the plan and daily_quota";
    if providers.is_empty() {
        none(check)
    } else if providers.iter().any(used_up) {
        Finding::failing(check, seen, remedy)
    } else if providers.iter().any(few) {
        Finding::attention(check, seen, remedy)
    } else {
        Finding::ok(check, seen)
    }
}

pub fn answering(providers: &[ProviderStatus]) -> Finding {
    let check = Check::ProvidersAnswering;
    let failing = closed(providers, Closed::Failing);
    match (providers.is_empty(), failing.is_empty()) {
        (true, _) => none(check),
        (false, true) => Finding::ok(check, "none failed several times in a row"),
        (false, false) => Finding::attention(
            check,
            failing.join("; "),
            "see whether it can be reached from here; it is tried again by itself",
        ),
    }
}

pub fn cache(providers: &[ProviderStatus], cache: CacheFacts) -> Finding {
    let check = Check::ProvidersCache;
    if providers.is_empty() {
        return none(check);
    }
    let CacheFacts { asked, found } = cache;
    let share = found.saturating_mul(100).checked_div(asked).unwrap_or(0);
    let seen = format!("{found} of {asked} questions answered from memory or store ({share} %)");
    if asked >= ENOUGH && share < 50 {
        return Finding::note(check, seen)
            .hint("many strangers, or an attack with rotating addresses: see providers.quota");
    }
    Finding::ok(check, seen)
}

fn closed(providers: &[ProviderStatus], why: Closed) -> Vec<String> {
    let closed = providers
        .iter()
        .filter(|provider| provider.closed == Some(why));
    let word = |provider: &ProviderStatus| match &provider.last_error {
        Some(error) => format!("{}: {error}", provider.name),
        None => provider.name.clone(),
    };
    closed.map(word).collect()
}

fn none(check: Check) -> Finding {
    Finding::skipped(check, "no provider is configured")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Say;
    use crate::doctor::State;

    fn provider() -> ProviderStatus {
        ProviderStatus {
            name: "abuseipdb".to_owned(),
            available: true,
            closed: None,
            closed_until: None,
            daily_quota: 1000,
            released: 10,
            reserved: 10,
            sightings_needed: 1,
            enforce_percent: Say::WHOLE,
            remaining: 900,
            last_success: None,
            last_error: None,
        }
    }

    fn closed_by(why: Closed) -> [ProviderStatus; 1] {
        [ProviderStatus {
            closed: Some(why),
            ..provider()
        }]
    }

    #[test]
    fn each_reason_for_not_asking_has_its_check() {
        let states = |providers: &[ProviderStatus]| {
            [key(providers), quota(providers), answering(providers)].map(|finding| finding.state)
        };
        assert_eq!(states(&[provider()]), [State::Ok; 3]);
        assert_eq!(states(&[]), [State::Skipped; 3]);
        let (ok, failing) = (State::Ok, State::Failing);
        assert_eq!(states(&closed_by(Closed::Key)), [failing, ok, ok]);
        assert_eq!(states(&closed_by(Closed::Quota)), [ok, failing, ok]);
        assert_eq!(
            states(&closed_by(Closed::Failing)),
            [ok, ok, State::Attention]
        );
    }

    #[test]
    fn few_calls_left_want_attention_and_none_left_fail() {
        let left = |remaining| {
            quota(&[ProviderStatus {
                remaining,
                ..provider()
            }])
            .state
        };
        assert_eq!(left(100), State::Ok);
        assert_eq!(left(99), State::Attention);
        assert_eq!(left(0), State::Failing);
    }

    #[test]
    fn a_low_share_of_remembered_answers_is_a_note_once_there_are_enough_questions() {
        let state = |asked, found| cache(&[provider()], CacheFacts { asked, found }).state;
        assert_eq!(state(0, 0), State::Ok);
        assert_eq!(state(10, 1), State::Ok);
        assert_eq!(state(2000, 900), State::Note);
        assert_eq!(state(2000, 1900), State::Ok);
    }
}
