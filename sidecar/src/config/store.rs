//! `[store]`: where decisions, quota and verdicts are kept.

use std::path::PathBuf;

use super::section::Section;
use super::value;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// The directory of the embedded store, the feeds' last good copies and the admin token.
    pub path: PathBuf,
}

const KINDS: [(&str, Kind); 2] = [("embedded", Kind::Embedded), ("redis", Kind::Redis)];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Embedded,
    Redis,
}

impl StoreConfig {
    pub(super) fn validate(mut section: Section<'_>) -> Self {
        let kind = section.get("kind", value::one_of(&KINDS));
        if kind == Some(Kind::Redis) {
            section.fault(
                "kind",
                "\"redis\" is not available in this version: write \"embedded\"",
            );
        }
        for key in ["url", "password"] {
            section.refuse(
                key,
                "belongs to Redis, which is not available in this version: remove it",
            );
        }
        let path = section.get("path", value::path);
        section.finish();
        Self {
            path: path.unwrap_or_else(|| PathBuf::from("/var/lib/portcullis")),
        }
    }
}
