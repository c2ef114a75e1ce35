//! The command line: `serve` and `check-config` for who runs the sidecar, the rest for who operates it,
//! through the admin API. What a command prints is its own module's; `serve` is in `main.rs`.

mod args;
mod blocked;
mod check_config;
pub mod client;
mod decisions;
mod doctor;
mod health;
mod history;
mod inspect;
mod log_level;
mod mode;
pub(crate) mod output;
pub(crate) mod session;
mod show;
mod trials;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use thiserror::Error;

use args::SecretAction;
pub use args::{Cli, Command, Remote, Task};
pub use output::complain;
use session::Session;

use crate::api::token::TokenError;
use crate::config::ConfigError;
use crate::plain_http::FetchError;
use client::ClientError;

/// How the process ends; numbers as in `sysexits.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Good,
    Failed,
    Usage,
    Config,
}

/// Why a command did not do what it was told.
#[derive(Debug, Error)]
pub enum CliError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(
        "no token: set PORTCULLIS_TOKEN, or name a file that you may read with --token-file \
         ({path} cannot be read)"
    )]
    NoToken {
        path: std::path::PathBuf,
        source: std::io::Error,
    },
    #[error("{path} cannot be read")]
    Unreadable {
        path: std::path::PathBuf,
        source: std::io::Error,
    },
    #[error("{path} is no image that a proxy would take")]
    Image {
        path: std::path::PathBuf,
        source: reputation::set::ImageError,
    },
    #[error(transparent)]
    Unhealthy(#[from] FetchError),
    #[error("the sidecar answered what this version of the command line cannot read")]
    Answer(#[source] serde_json::Error),
}

impl Cli {
    /// Reads the arguments; help and usage faults are printed here, and the process is over.
    pub fn read(arguments: impl Iterator<Item = OsString>) -> Result<Self, Exit> {
        Self::try_parse_from(arguments).map_err(|error| {
            // Where the terminal is gone there is nobody to tell.
            let _printed = error.print();
            match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Good,
                _ => Exit::Usage,
            }
        })
    }
}

/// Runs one task and says what came of it.
pub async fn run(task: &Task, remote: &Remote) -> Exit {
    if let Task::Doctor(doctor) = task {
        return doctor::run(doctor, remote).await;
    }
    if let Task::Secrets {
        action: Some(SecretAction::Check),
    } = task
    {
        return trials::run(remote).await;
    }
    match text_of(task, remote).await {
        Ok(text) => {
            output::say(&text);
            Exit::Good
        }
        Err(error) => {
            complain(&error);
            error.exit()
        }
    }
}

async fn text_of(task: &Task, remote: &Remote) -> Result<String, CliError> {
    let session = || Session::new(remote);
    match task {
        Task::CheckConfig { file } => check_config::run(file, remote.json),
        Task::Check { address } => show::check(&session()?, *address).await,
        Task::Explain { address } => show::explain(&session()?, *address).await,
        Task::Ban(ban) => decisions::ban(&session()?, ban).await,
        Task::Unban {
            address,
            allow,
            force,
        } => decisions::unban(&session()?, *address, allow.then_some(*force)).await,
        Task::Allow(allow) => decisions::allow(&session()?, allow).await,
        Task::Unallow { address } => decisions::unallow(&session()?, *address).await,
        Task::Decisions => decisions::list(&session()?).await,
        Task::Blocked { most } => blocked::list(&session()?, *most).await,
        Task::History {
            address,
            since,
            limit,
        } => history::show(&session()?, *address, *since, *limit).await,
        Task::Feeds { action } => show::feeds(&session()?, action.as_ref()).await,
        Task::Providers => show::providers(&session()?).await,
        Task::Secrets { .. } => show::secrets(&session()?).await,
        Task::Mode(mode) => mode::run(&session()?, mode).await,
        Task::LogLevel(level) => log_level::run(&session()?, level).await,
        Task::Doctor(doctor) => Ok(doctor::page(doctor, remote).await.0),
        Task::Health { url } => health::run(url, remote.json).await,
        Task::Snapshot { action } => inspect::run(action, remote.json),
    }
}

impl CliError {
    fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Token(_) => Exit::Config,
            _ => Exit::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Good => 0,
            Exit::Failed => 1,
            Exit::Usage => 64,
            Exit::Config => 78,
        })
    }
}

#[cfg(test)]
mod tests;
