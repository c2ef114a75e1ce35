//! Trying a provider's keys: one booked call for each value, about an address of which everybody may
//! know that it was asked for. No provider has a question about a key alone that is sure to cost nothing.

use std::collections::BTreeSet;
use std::time::Instant;

use reputation::{ClientAddress, UnixSeconds};
use secrecy::SecretString;

use super::super::availability::Closed;
use super::super::{Keys, Outcome, rotation};
use super::Gate;
use crate::clock::Day;
use crate::config::SecretName;
use crate::secrets::{Both, Trial, TrialResult, Which};
use crate::store::Booking;
use crate::telemetry::chain;

/// 1.1.1.1, a public resolver that every source knows.
const ASKED_ABOUT: ClientAddress = ClientAddress::V4(0x0101_0101);

impl Gate {
    /// Tries its keys: all current values together, then each that was before in place of its current one.
    pub async fn try_secrets(&self) -> Vec<Trial> {
        let names: BTreeSet<_> = self.config.secrets().cloned().collect();
        let (mut held, mut missing) = (Vec::new(), Vec::new());
        for name in names {
            match self.needs.secrets.both(&name) {
                Ok(both) => held.push((name, both)),
                Err(error) => {
                    let why = TrialResult::Missing(chain(&error));
                    missing.push(self.trial(&name, Which::Current, why));
                }
            }
        }
        if held.is_empty() || !missing.is_empty() {
            let why = || TrialResult::NotTried("another of its keys is missing".to_owned());
            let others = held.iter();
            missing.extend(others.map(|(name, _)| self.trial(name, Which::Current, why())));
            return missing;
        }
        self.try_held(&held).await
    }

    async fn try_held(&self, held: &[(SecretName, Both)]) -> Vec<Trial> {
        let (result, calls) = self.try_keys(&keys(held, None)).await;
        let mut trials: Vec<_> = held
            .iter()
            .map(|(name, _)| self.trial(name, Which::Current, result.clone()))
            .collect();
        if let Some(first) = trials.first_mut() {
            first.calls = calls;
        }
        if result == TrialResult::Taken {
            rotation::taken(&keys(held, None), &self.needs.secrets);
        }
        for (name, both) in held {
            if let Some(previous) = &both.previous {
                let (result, calls) = self.try_keys(&keys(held, Some((name, previous)))).await;
                let trial = self.trial(name, Which::Previous, result);
                trials.push(Trial { calls, ..trial });
            }
        }
        trials
    }

    /// Asks with `keys` and says how many calls that took. The pace does not hold it up, the quota does.
    async fn try_keys(&self, keys: &Keys) -> (TrialResult, u32) {
        let booked = match self.book_trial().await {
            Ok(booked) => booked,
            Err(why) => return (TrialResult::Unknown(why), 0),
        };
        let began = Instant::now();
        let reply = self.check(ASKED_ABOUT, keys).await;
        match &reply.outcome {
            // That is what was to be found out, and no reason to leave the provider alone.
            refused @ Outcome::KeyRefused(_) => self.count(refused, began.elapsed()),
            _ => self.learn(&reply, booked, began.elapsed()).await,
        }
        (judge(reply.outcome), 1)
    }

    /// Says when it was booked.
    async fn book_trial(&self) -> Result<UnixSeconds, String> {
        let now = self.needs.clock.now();
        let today = Day::of(now);
        let used_up = || "the day's calls are used up: nobody was asked".to_owned();
        let closed = self.state().availability.closed_at(now);
        if closed.is_some_and(|(why, _)| why == Closed::Quota) {
            return Err(used_up());
        }
        let quota = self.state().ledger.budget.limit(today);
        match self.book_below(quota, today).await {
            Ok(Booking::Made(_)) => Ok(now),
            Ok(Booking::Full(_)) => Err(used_up()),
            Err(error) => Err(format!("the call cannot be booked: {}", chain(&error))),
        }
    }

    fn trial(&self, name: &SecretName, which: Which, result: TrialResult) -> Trial {
        let used_by = format!("provider {}", self.name());
        Trial::new(name, &used_by, which, result)
    }
}

/// The current values, but for one that is given.
fn keys(held: &[(SecretName, Both)], given: Option<(&SecretName, &SecretString)>) -> Keys {
    let value = |(name, both): &(SecretName, Both)| {
        let given = given.filter(|(other, _)| *other == name);
        let value = given.map_or(&both.current, |(_, value)| value);
        (name.clone(), value.clone())
    };
    held.iter().map(value).collect()
}

fn judge(outcome: Outcome) -> TrialResult {
    match outcome {
        Outcome::Said(_) => TrialResult::Taken,
        Outcome::KeyRefused(why) => TrialResult::Refused(why),
        Outcome::BadQuestion(why)
        | Outcome::QuotaUsed(why)
        | Outcome::TimedOut(why)
        | Outcome::Unavailable(why)
        | Outcome::Malformed(why) => TrialResult::Unknown(why),
    }
}
