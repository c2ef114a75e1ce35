//! From a score to a band, and from a band to an action.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What happens to a request. Ordered by severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Action {
    Allow = 0,
    /// Passed on with headers that tell the upstream.
    Tag = 1,
    /// Passed on, but limited harder than others.
    Throttle = 2,
    Deny = 3,
}

/// How bad an address is, whatever is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Band {
    Clean = 0,
    Suspicious = 1,
    Malicious = 2,
}

/// Where the bands begin. Scores are 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    suspicious: u8,
    malicious: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PolicyError {
    #[error("suspicious = {0} must be from 1 to 100")]
    Suspicious(u8),
    #[error("malicious = {malicious} must be above suspicious = {suspicious} and at most 100")]
    Malicious { suspicious: u8, malicious: u8 },
}

impl Action {
    pub const ALL: [Self; 4] = [Self::Allow, Self::Tag, Self::Throttle, Self::Deny];

    pub fn from_u8(value: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|action| *action as u8 == value)
    }

    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Tag => "tag",
            Self::Throttle => "throttle",
            Self::Deny => "deny",
        }
    }
}

impl Band {
    pub const ALL: [Self; 3] = [Self::Clean, Self::Suspicious, Self::Malicious];

    pub fn from_u8(value: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|band| *band as u8 == value)
    }

    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|band| band.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Suspicious => "suspicious",
            Self::Malicious => "malicious",
        }
    }

    /// The action of the shipped policy; the filter's `actions` may map bands otherwise.
    pub fn default_action(self) -> Action {
        match self {
            Self::Clean => Action::Allow,
            Self::Suspicious => Action::Tag,
            Self::Malicious => Action::Deny,
        }
    }
}

impl Policy {
    pub fn new(suspicious: u8, malicious: u8) -> Result<Self, PolicyError> {
        if !(1..=100).contains(&suspicious) {
            return Err(PolicyError::Suspicious(suspicious));
        }
        if malicious <= suspicious || malicious > 100 {
            return Err(PolicyError::Malicious {
                suspicious,
                malicious,
            });
        }
        Ok(Self {
            suspicious,
            malicious,
        })
    }

    /// The least score of a suspicious address.
    pub fn suspicious(self) -> u8 {
        self.suspicious
    }

    /// The least score of a malicious address.
    pub fn malicious(self) -> u8 {
        self.malicious
    }

    pub fn band(self, score: u8) -> Band {
        if score >= self.malicious {
            Band::Malicious
        } else if score >= self.suspicious {
            Band::Suspicious
        } else {
            Band::Clean
        }
    }

    /// The highest score of an address that somebody vouches for: well under suspicious.
    pub fn trusted_at_most(self) -> u8 {
        (self.suspicious / 2).min(TRUSTED_AT_MOST)
    }
}

/// Whatever the bands: so much says that others disagree, and no more.
const TRUSTED_AT_MOST: u8 = 20;

impl Default for Policy {
    fn default() -> Self {
        Self {
            suspicious: 50,
            malicious: 80,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_begin_exactly_at_their_thresholds() {
        let policy = Policy::default();
        assert_eq!(policy.band(49), Band::Clean);
        assert_eq!(policy.band(50), Band::Suspicious);
        assert_eq!(policy.band(79), Band::Suspicious);
        assert_eq!(policy.band(80), Band::Malicious);
    }

    #[test]
    fn thresholds_that_leave_no_room_are_refused() {
        assert!(Policy::new(0, 80).is_err());
        assert!(Policy::new(80, 80).is_err());
        assert!(Policy::new(50, 101).is_err());
        assert!(Policy::new(99, 100).is_ok());
    }
}
