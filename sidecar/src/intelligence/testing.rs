//! What the tests of this room share.

use std::time::Duration;

use crate::config::{Feed, FeedFormat, FeedRole, FeedSource};

/// A plain hard feed from a file.
pub fn file_feed(name: &str, path: &str) -> Feed {
    Feed {
        name: name.to_owned(),
        source: FeedSource::File(path.into()),
        format: FeedFormat::Plain,
        family: name.to_owned(),
        role: FeedRole::Block,
        refresh: Duration::from_secs(3600),
        key: None,
    }
}
