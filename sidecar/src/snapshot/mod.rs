//! Snapshots for the proxies.
