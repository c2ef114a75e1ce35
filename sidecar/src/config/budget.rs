//! `[budget]`: how the day's calls to providers are dealt out.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::section::Section;
use super::value;

/// The same for every provider: shares of what each of them permits a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// Kept for addresses that are suspicious already.
    pub reserve_percent: u8,
    /// What may go out at once at the beginning of a day; the rest is released evenly over it.
    pub burst_percent: u8,
    /// What one network may take: an IPv4 /24, an IPv6 /48.
    pub network_percent: u8,
    /// How often an address must have been seen, at most, before it is asked about.
    pub sightings: u8,
    /// For how long a sighting counts at least.
    pub window: Duration,
}

const WINDOW: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(24 * 3600);

impl Default for Budget {
    fn default() -> Self {
        Self {
            reserve_percent: 20,
            burst_percent: 10,
            network_percent: 10,
            sightings: 4,
            window: Duration::from_secs(600),
        }
    }
}

impl Budget {
    pub fn window_s(&self) -> u32 {
        u32::try_from(self.window.as_secs()).unwrap_or(u32::MAX)
    }

    pub(super) fn validate(mut section: Section<'_>) -> Self {
        let shipped = Self::default();
        let budget = Self {
            reserve_percent: section
                .get("reserve_percent", value::number(0..=90))
                .unwrap_or(shipped.reserve_percent),
            burst_percent: section
                .get("burst_percent", value::number(1..=100))
                .unwrap_or(shipped.burst_percent),
            network_percent: section
                .get("network_percent", value::number(1..=100))
                .unwrap_or(shipped.network_percent),
            sightings: section
                .get("sightings", value::number(1..=15))
                .unwrap_or(shipped.sightings),
            window: section
                .get("window", value::duration(WINDOW))
                .unwrap_or(shipped.window),
        };
        section.finish();
        budget
    }
}
