//! The one place that writes to the terminal: steps with the time since the start, results, failures.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a task talks to the terminal"
)]

use std::error::Error;
use std::fmt::Display;
use std::sync::LazyLock;
use std::time::Instant;

static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Announces what happens next; long steps show their own progress below it.
pub fn step(what: impl Display) {
    eprintln!("[{:>6.1} s] {what}", STARTED.elapsed().as_secs_f64());
}

/// A result that somebody may want to pipe on.
pub fn line(what: impl Display) {
    println!("{what}");
}

/// The error and everything that caused it.
pub fn failure(error: &dyn Error) {
    eprintln!("error: {error}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        eprintln!("  because: {inner}");
        cause = inner.source();
    }
}
