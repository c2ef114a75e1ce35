//! What can go wrong while parts are started and spoken to.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

#[derive(Debug, Error)]
pub enum KitError {
    #[error("{action}")]
    Io {
        action: String,
        #[source]
        source: io::Error,
    },
    #[error("{0} is not built: run `cargo xtask test`, which builds it and says where it lies")]
    NotBuilt(PathBuf),
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
    #[error("the answer is not HTTP: {0}")]
    Http(String),
    #[error("no port between {0} and {1} is free")]
    NoPort(u16, u16),
}

impl KitError {
    /// For `map_err` on anything that yields an `io::Error`.
    pub fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }
}
