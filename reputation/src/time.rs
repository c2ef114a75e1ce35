//! Points in time as they stand in decisions, images and manifests. Reading a clock is the caller's.

use serde::{Deserialize, Serialize};

/// Whole seconds since 1970-01-01T00:00:00Z. 32 bits last until 2106 and halve an image's expiry column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixSeconds(pub u32);

impl UnixSeconds {
    /// The last point that can be expressed; stands for "never" inside images only.
    pub const MAX: Self = Self(u32::MAX);

    /// Converts a count of seconds, saturating at [`Self::MAX`].
    pub fn from_secs(seconds: u64) -> Self {
        Self(u32::try_from(seconds).unwrap_or(u32::MAX))
    }

    /// This point moved into the future by `seconds`, saturating.
    pub fn plus(self, seconds: u32) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// Seconds from `self` until `later`, zero if `later` has passed.
    pub fn until(self, later: Self) -> u32 {
        later.0.saturating_sub(self.0)
    }
}
