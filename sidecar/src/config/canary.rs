//! `[canary]`: whether and where the edge is asked to refuse somebody.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::section::Section;
use super::tree::Node;
use super::value;
use crate::plain_http::Url;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    /// Absent: nobody is asked.
    pub edge: Option<Url>,
    pub interval: Duration,
}

const INTERVAL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(300);

impl Default for Canary {
    fn default() -> Self {
        Self {
            edge: None,
            interval: Duration::from_secs(30),
        }
    }
}

impl Canary {
    pub(super) fn validate(mut section: Section<'_>) -> Self {
        let interval = section.get("interval", value::duration(INTERVAL));
        let canary = Self {
            edge: section.get("edge", url),
            interval: interval.unwrap_or(Self::default().interval),
        };
        section.finish();
        canary
    }
}

fn url(node: &Node) -> Result<Url, String> {
    let text = value::text(node)?;
    text.parse().map_err(|error| format!("{error}"))
}
