//! What came of trying a secret on whomever it opens. Who that is, and how it is asked, is for others to
//! know.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::Secrets;
use crate::config::SecretName;
use crate::telemetry::chain;

/// One value of a secret, tried on one who takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    pub secret: SecretName,
    /// Such as `provider abuseipdb`; absent if nothing refers to the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_by: Option<String>,
    pub value: Which,
    #[serde(flatten)]
    pub result: TrialResult,
    /// How many calls of a provider's quota it took.
    pub calls: u32,
}

/// Which of a secret's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    Current,
    /// The one before it, which is kept for a day.
    Previous,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "result", content = "detail")]
pub enum TrialResult {
    Taken,
    Refused(String),
    /// There is no value to try.
    Missing(String),
    /// Nobody answered who could have said.
    Unknown(String),
    /// Nobody was asked, and nothing is wrong with that.
    NotTried(String),
}

/// The values that may be in use.
pub struct Both {
    pub current: SecretString,
    pub previous: Option<SecretString>,
}

impl Trial {
    pub fn new(secret: &SecretName, used_by: &str, value: Which, result: TrialResult) -> Self {
        Self {
            secret: secret.clone(),
            used_by: Some(used_by.to_owned()),
            value,
            result,
            calls: 0,
        }
    }

    /// Whether somebody has to do something. That the value before is refused ends each rotation.
    pub fn falls_short(&self) -> bool {
        match self.result {
            TrialResult::Taken | TrialResult::NotTried(_) => false,
            TrialResult::Refused(_) => self.value == Which::Current,
            TrialResult::Missing(_) | TrialResult::Unknown(_) => true,
        }
    }
}

impl Which {
    pub fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Previous => "previous",
        }
    }
}

impl TrialResult {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Refused(_) => "refused",
            Self::Missing(_) => "missing",
            Self::Unknown(_) => "unknown",
            Self::NotTried(_) => "not tried",
        }
    }

    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Taken => None,
            Self::Refused(why) | Self::Missing(why) | Self::Unknown(why) | Self::NotTried(why) => {
                Some(why)
            }
        }
    }
}

impl Both {
    pub fn each(self) -> impl Iterator<Item = (Which, SecretString)> {
        let previous = self.previous.map(|value| (Which::Previous, value));
        std::iter::once((Which::Current, self.current)).chain(previous)
    }
}

impl Secrets {
    /// Has `ask` try each value of the secret.
    pub async fn try_each<F, A>(&self, name: &SecretName, used_by: &str, ask: F) -> Vec<Trial>
    where
        F: Fn(SecretString) -> A,
        A: Future<Output = TrialResult>,
    {
        let both = match self.both(name) {
            Ok(both) => both,
            Err(error) => {
                let missing = TrialResult::Missing(chain(&error));
                return vec![Trial::new(name, used_by, Which::Current, missing)];
            }
        };
        let mut trials = Vec::new();
        for (which, value) in both.each() {
            trials.push(Trial::new(name, used_by, which, ask(value).await));
        }
        trials
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_current_value_lacks_falls_short() {
        let name = SecretName::parse("key").unwrap();
        let short = |value, result| Trial::new(&name, "feed a", value, result).falls_short();
        let why = || "why".to_owned();
        assert!(short(Which::Current, TrialResult::Refused(why())));
        assert!(!short(Which::Previous, TrialResult::Refused(why())));
        assert!(!short(Which::Current, TrialResult::NotTried(why())));
        assert!(!short(Which::Current, TrialResult::Taken));
        assert!(short(Which::Current, TrialResult::Unknown(why())));
        assert!(short(Which::Current, TrialResult::Missing(why())));
    }

    #[test]
    fn a_trial_is_read_as_it_was_written() {
        let name = SecretName::parse("key").unwrap();
        let refused = TrialResult::Refused("401".to_owned());
        for result in [TrialResult::Taken, refused] {
            let trial = Trial::new(&name, "feed a", Which::Previous, result);
            let text = serde_json::to_string(&trial).unwrap();
            assert_eq!(
                serde_json::from_str::<Trial>(&text).unwrap(),
                trial,
                "{text}"
            );
        }
    }
}
