//! What is counted of feeds.

use std::time::Duration;

use reputation::UnixSeconds;

use super::Metrics;
use super::families::{FeedLabels, FeedRefusedLabels};

impl Metrics {
    /// The feed is configured, and looked at this often. One that was never read has the time 0.
    pub fn feed_configured(&self, feed: &str, refresh: Duration) {
        let labels = FeedLabels {
            feed: feed.to_owned(),
        };
        let seconds = i64::try_from(refresh.as_secs()).unwrap_or(i64::MAX);
        let families = &self.families;
        families.feed_refresh.get_or_create(&labels).set(seconds);
        drop(families.feed_last_success.get_or_create(&labels));
    }

    pub fn feed_taken(&self, feed: &str, entries: usize, at: UnixSeconds) {
        self.feed_entries(feed, entries);
        self.feed_unchanged(feed, at);
    }

    pub fn feed_entries(&self, feed: &str, entries: usize) {
        let labels = FeedLabels {
            feed: feed.to_owned(),
        };
        let entries = i64::try_from(entries).unwrap_or(i64::MAX);
        self.families
            .feed_entries
            .get_or_create(&labels)
            .set(entries);
    }

    /// The feed is not configured any more; what was counted of it stays.
    pub fn forget_feed(&self, feed: &str) {
        let labels = FeedLabels {
            feed: feed.to_owned(),
        };
        self.families.feed_entries.remove(&labels);
        self.families.feed_refresh.remove(&labels);
        self.families.feed_last_success.remove(&labels);
    }

    /// A feed was read again and found unchanged.
    pub fn feed_unchanged(&self, feed: &str, at: UnixSeconds) {
        let labels = FeedLabels {
            feed: feed.to_owned(),
        };
        self.families
            .feed_last_success
            .get_or_create(&labels)
            .set(at.0.into());
    }

    /// `cause` is one of the guard's or the fetcher's fixed words.
    pub fn feed_refused(&self, feed: &str, cause: &'static str) {
        let labels = FeedRefusedLabels {
            feed: feed.to_owned(),
            cause,
        };
        self.families.feed_refused.get_or_create(&labels).inc();
    }
}
