//! What the sidecar says about itself: log lines and metrics.

#[cfg(test)]
mod docs_test;
mod fields;
pub mod level;
mod line;
pub mod log;
pub mod metrics;
pub mod otlp;
pub mod panic;
pub mod sentry;
mod sparing;
mod trace;

use std::error::Error;

pub use metrics::{Asker, AskersSeen, Metrics};
pub use sparing::Sparing;
pub use trace::TraceParent;

/// An error with all its causes in one line, for the log.
pub fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}
