//! How a provider stands, for people.

use reputation::UnixSeconds;
use serde::{Deserialize, Serialize};

use super::availability::Closed;
use crate::config::Say;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProviderStatus {
    pub name: String,
    /// Whether a call would go out now.
    pub available: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Closed>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_until: Option<UnixSeconds>,
    /// Calls a day, by the configuration or by the provider's word, whichever is fewer.
    pub daily_quota: u32,
    pub remaining: u32,
    /// How many of these may go out now about anybody, and how many more about suspicious addresses.
    #[serde(default)]
    pub released: u32,
    #[serde(default)]
    pub reserved: u32,
    /// How often an address must have been seen to be asked about now, if nothing speaks against it.
    #[serde(default)]
    pub sightings_needed: u8,
    /// `shadow = true` is 0.
    #[serde(default)]
    pub enforce_percent: Say,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<UnixSeconds>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

impl ProviderStatus {
    /// Whether and about whom it is asked now, in a few words.
    pub fn state(&self) -> &'static str {
        match self.closed {
            Some(Closed::Failing) => "failing",
            Some(Closed::Quota) => "quota used up",
            Some(Closed::Key) => "no good key",
            Some(Closed::Store) => "store is away",
            None if self.remaining == 0 => "quota used up",
            None if self.released > 0 => "available",
            None if self.reserved > 0 => "suspicious only",
            None => "until more is released",
        }
    }
}
