//! `[envoy]`: where the proxies tell what they count.

use std::ops::RangeInclusive;
use std::time::Duration;

use hyper::Uri;

use super::section::Section;
use super::tree::Node;
use super::value;

/// Which proxies' statistics the sidecar reads, and how often. None by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envoy {
    /// Each with its path.
    pub stats: Vec<Uri>,
    pub every: Duration,
}

const EVERY: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(300);
const MOST: usize = 100;
const PATH: &str = "/stats/prometheus";

impl Default for Envoy {
    fn default() -> Self {
        Self {
            stats: Vec::new(),
            every: Duration::from_secs(10),
        }
    }
}

impl Envoy {
    pub(super) fn validate(mut section: Section<'_>) -> Self {
        let shipped = Self::default();
        let envoy = Self {
            stats: section.get("stats", listeners).unwrap_or(shipped.stats),
            every: section
                .get("every", value::duration(EVERY))
                .unwrap_or(shipped.every),
        };
        section.finish();
        envoy
    }
}

fn listeners(node: &Node) -> Result<Vec<Uri>, String> {
    let given = value::texts(node)?;
    if given.len() > MOST {
        return Err(format!("names more than {MOST} proxies"));
    }
    given.iter().map(|given| listener(given)).collect()
}

/// A URL without a path is that of the shipped listener.
fn listener(given: &str) -> Result<Uri, String> {
    let fault = || format!("{given:?} is not a URL: write \"http://127.0.0.1:10002\"");
    let uri: Uri = given.parse().map_err(|_| fault())?;
    let uri = value::check_url(given, uri)?;
    let named = uri
        .path_and_query()
        .is_some_and(|path| path.as_str() != "/");
    if named {
        return Ok(uri);
    }
    let whole = format!("{}{PATH}", given.trim_end_matches('/'));
    whole.parse().map_err(|_| fault())
}
