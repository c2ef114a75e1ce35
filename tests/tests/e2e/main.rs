//! End to end: real Envoy, the finished plugin, the real sidecar or one made by hand.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that finds something else than expected shall panic"
)]

mod config;
