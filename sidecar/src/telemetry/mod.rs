//! What the sidecar says about itself: log lines and metrics.

pub mod metrics;

pub use metrics::Metrics;
