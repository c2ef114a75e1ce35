//! `[store]`: where decisions, quota and verdicts are kept.

use std::path::PathBuf;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// The directory of the embedded store, the feeds' last good copies and the admin token.
    pub path: PathBuf,
}
