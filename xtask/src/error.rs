//! Why a task ended early, in sentences for the person at the keyboard.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

#[derive(Debug, Error)]
pub enum Error {
    #[error("{tool} is not installed: {remedy}")]
    Missing { tool: String, remedy: String },
    #[error(
        "this machine lacks:{things}\nInstall that, on Debian as root by\n  \
         apt-get install --no-install-recommends {packages}\nor run this as root, which does so itself"
    )]
    Lacking { things: String, packages: String },
    #[error("{what} could not be had from {origin}. {remedy}")]
    NotFetched {
        what: String,
        origin: &'static str,
        remedy: String,
        #[source]
        source: Box<Error>,
    },
    #[error("`{command}` failed ({status}); its output is above")]
    Failed { command: String, status: String },
    #[error("`{command}` could not be started")]
    Start {
        command: String,
        #[source]
        source: io::Error,
    },
    #[error("{action} {}", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the plugin could not be finished: {0}")]
    Finish(String),
    #[error(transparent)]
    Kit(#[from] kit::KitError),
    #[error("{0}")]
    Said(String),
}

impl Error {
    /// For `map_err` on file operations: `Error::file("cannot read", &path)`.
    pub fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }
}
