//! Secrets by name: from the environment, a file, or AWS. Owns their values and how they get old; knows
//! nothing of what they open.
//!
//! What is on this machine is read when it is used, so that a replaced file takes effect at once. What
//! AWS holds is kept in memory, asked for on an interval, and at once when somebody refuses a value. The
//! value before the current one is kept for a day, so that a rotation loses no request. Values are never
//! written to a disk and never printed: errors name the secret and the place, not what was there.

mod aws;
mod cell;
mod error;
mod held;
mod reading;
mod seen;
#[cfg(test)]
mod tests;
mod trial;
mod vault;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use reputation::UnixSeconds;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

pub use aws::AwsFault;
pub use cell::ExpiryBy;
pub use error::SecretError;
pub use trial::{Both, Trial, TrialResult, Which};
pub use vault::Vault;

use crate::config::secret::{Secret, SecretName};
use cell::Cell;

/// The secrets of one configuration.
#[derive(Clone)]
pub struct Secrets {
    configured: BTreeMap<SecretName, Secret>,
    cells: BTreeMap<SecretName, Arc<Cell>>,
}

/// What may be said of a secret to an operator.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SecretStatus {
    pub name: SecretName,
    /// Where it comes from, such as `env NAME` or `aws-ssm NAME`.
    pub origin: String,
    /// Whether there is a value to use.
    pub available: bool,
    /// Why the last look found none; one that was found before serves meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// As AWS names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// When this value was first seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<UnixSeconds>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_by: Option<ExpiryBy>,
    /// Whoever it is for refused it, and has not taken it since.
    #[serde(default)]
    pub refused: bool,
}

impl Secrets {
    /// With nothing remembered from before and nothing kept for later.
    pub fn new(configured: BTreeMap<SecretName, Secret>) -> Self {
        Vault::in_memory().secrets(&configured)
    }

    /// Whether these are the configured ones.
    pub fn are(&self, configured: &BTreeMap<SecretName, Secret>) -> bool {
        self.configured == *configured
    }

    /// Whether both look for `name` in the same place.
    pub fn agree_on(&self, name: &SecretName, other: &Self) -> bool {
        let both = self.configured.get(name).zip(other.configured.get(name));
        both.is_some_and(|(one, other)| one.is_read_as(other))
    }

    /// The value to use now.
    pub fn get(&self, name: &SecretName) -> Result<SecretString, SecretError> {
        self.cell(name)?.value()
    }

    /// The values with which somebody may come to us: what is in its place now, and for some minutes what
    /// was there before. An empty place lets nobody in.
    pub fn opening(&self, name: &SecretName) -> Result<Both, SecretError> {
        self.cell(name)?.opening()
    }

    /// What else can be tried after `refused` was refused: its place is read again at once, then the
    /// value before the current one counts.
    pub async fn instead_of(
        &self,
        name: &SecretName,
        refused: &SecretString,
    ) -> Option<SecretString> {
        self.cell(name).ok()?.instead_of(refused).await
    }

    /// What [`Self::instead_of`] gave was taken: it is used first for some minutes.
    pub fn taken(&self, name: &SecretName, value: &SecretString) {
        if let Ok(cell) = self.cell(name) {
            cell.taken(value);
        }
    }

    /// The values that may be in use.
    pub fn both(&self, name: &SecretName) -> Result<Both, SecretError> {
        self.cell(name)?.both()
    }

    /// Reads every place before its time, for somebody who has just put something there.
    pub async fn look_at_all(&self) {
        let mut looks = JoinSet::new();
        for cell in self.cells.values().map(Arc::clone) {
            looks.spawn(async move { cell.look().await });
        }
        while looks.join_next().await.is_some() {}
    }

    /// All that can be read now: what no report may hold.
    pub fn readable(&self) -> impl Iterator<Item = SecretString> {
        self.cells.values().filter_map(|cell| cell.value().ok())
    }

    /// Every configured secret, and whether it can be read now.
    pub fn statuses(&self) -> Vec<SecretStatus> {
        self.cells.values().map(|cell| cell.status()).collect()
    }

    fn cell(&self, name: &SecretName) -> Result<&Arc<Cell>, SecretError> {
        let cell = self.cells.get(name);
        cell.ok_or_else(|| SecretError::Unknown { name: name.clone() })
    }
}

impl SecretStatus {
    /// Whether it can be used, in a few words.
    pub fn state(&self) -> String {
        match (&self.problem, self.refused) {
            (Some(problem), _) if self.available => format!("serves from memory: {problem}"),
            (Some(problem), _) => problem.clone(),
            (None, true) => "refused by whom it is for".to_owned(),
            (None, false) => "available".to_owned(),
        }
    }

    /// When it expires, and whether its age says so.
    pub fn expiry(&self) -> Option<String> {
        let by_age = self.expires_by == Some(ExpiryBy::MaxAge);
        self.expires.as_ref().map(|date| match by_age {
            true => format!("{date} (by age)"),
            false => date.clone(),
        })
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.configured.keys()).finish()
    }
}
