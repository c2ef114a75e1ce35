//! What can go wrong while parts are started and spoken to.

use std::path::PathBuf;
use std::{fmt, io};

use thiserror::Error;

/// Shows itself to `unwrap` as it does to people: a log is only readable with its line breaks.
#[derive(Error)]
pub enum KitError {
    #[error("{action}")]
    Io {
        action: String,
        #[source]
        source: io::Error,
    },
    #[error("{0} is not built: run `cargo xtask test`, which builds it and says where it lies")]
    NotBuilt(PathBuf),
    #[error("{tool} is not installed: run `{command}`")]
    NotInstalled {
        tool: &'static str,
        command: &'static str,
    },
    #[error("the configuration has no {0}")]
    Config(String),
    #[error("{part} ended while it started; its log ends with:\n{log}")]
    Died { part: String, log: String },
    #[error("{part} was not ready within {seconds} s: {wanted}; its log ends with:\n{log}")]
    NotReady {
        part: String,
        seconds: u64,
        wanted: &'static str,
        log: String,
    },
    #[error("a fixture is not as it must be: {0}")]
    Fixture(String),
    #[error("that is no envelope as Sentry describes it: {0}")]
    Envelope(String),
    #[error("the answer is not HTTP: {0}")]
    Http(String),
    #[error("{0}")]
    Page(String),
    #[error("no port between {0} and {1} is free")]
    NoPort(u16, u16),
}

impl fmt::Debug for KitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut cause = std::error::Error::source(self);
        while let Some(inner) = cause {
            write!(f, ": {inner}")?;
            cause = inner.source();
        }
        Ok(())
    }
}

impl KitError {
    /// For `map_err` on anything that yields an `io::Error`.
    pub fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }
}
