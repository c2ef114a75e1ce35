//! Why Redis did not do what it was asked, in words for the operator. What it says itself is quoted
//! only where nothing better is known, and never at length.

use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerError, ServerErrorKind};
use thiserror::Error;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fault {
    #[error("Redis at {place} cannot be used now: {why}")]
    Away { place: String, why: String },
    #[error("it did not answer within {0:?}")]
    TimedOut(Duration),
    #[error("its connection broke: {0}")]
    Broken(String),
    #[error(
        "Redis is full: raise its maxmemory, or set its maxmemory-policy to volatile-lru, so that \
         what providers said makes room"
    )]
    Full,
    #[error("Redis is a read-only replica: name the primary in store.url")]
    ReadOnly,
    #[error(
        "Redis refuses writes because it fails to write to disk: look into its log, and whether its \
         disk is full"
    )]
    Misconfigured,
    #[error("it is still loading its data from disk")]
    Loading,
    #[error(
        "it refuses the user or the password: look at store.username and at the secret that \
         store.password names"
    )]
    Password,
    #[error(
        "its user {user} may not do what is needed: give it `~{namespace}:* &{namespace}:*` and the \
         commands that docs/redis.md names ({said})"
    )]
    Permission {
        user: String,
        namespace: String,
        said: String,
    },
    #[error(
        "{0} is not what a sidecar keeps there, so something else writes to Redis under our \
         namespace: delete it, or choose another store.namespace"
    )]
    Foreign(String),
    #[error(
        "a key has another type than a sidecar gives it, so something else writes to Redis under our \
         namespace: delete it, or choose another store.namespace"
    )]
    WrongType,
    #[error("it is not a Redis that we can speak to ({0}): version 6 or later is needed")]
    NoRedis(String),
    #[error("Redis says: {0}")]
    Said(String),
}

/// The code with which our own scripts report what is foreign.
pub const FOREIGN: &str = "FOREIGN";
const LONGEST_QUOTE: usize = 160;

/// Whom the server speaks to, for sentences about permission.
#[derive(Debug, Clone)]
pub struct Caller {
    pub user: String,
    pub namespace: String,
}

impl Fault {
    pub fn of_server(error: &ServerError, caller: &Caller) -> Self {
        let said = quote(&error.to_string());
        match (error.kind(), error.code()) {
            (Some(ServerErrorKind::ReadOnly), _) => Self::ReadOnly,
            (Some(ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown), _) => Self::Loading,
            (_, "OOM") => Self::Full,
            (_, "MISCONF") => Self::Misconfigured,
            (_, "NOAUTH" | "WRONGPASS") => Self::Password,
            (_, "WRONGTYPE") => Self::WrongType,
            (_, FOREIGN) => Self::Foreign(quote(error.details().unwrap_or_default())),
            (Some(ServerErrorKind::NoPerm), _) => Self::permission(said, caller),
            // So a script's commands are refused.
            _ if said.contains("permission") || said.contains("can't run this command") => {
                Self::permission(said, caller)
            }
            _ => Self::Said(said),
        }
    }

    /// What the library made of an answer, or of there being none.
    pub fn of_library(error: &RedisError, caller: &Caller) -> Self {
        match error.kind() {
            ErrorKind::AuthenticationFailed => Self::Password,
            ErrorKind::Io => Self::Broken(quote(&error.to_string())),
            _ if matches!(error.code(), Some("NOAUTH" | "WRONGPASS")) => Self::Password,
            ErrorKind::Server(ServerErrorKind::BusyLoading) => Self::Loading,
            ErrorKind::Server(ServerErrorKind::NoPerm) => {
                Self::permission(quote(&error.to_string()), caller)
            }
            ErrorKind::Server(_) | ErrorKind::Extension => Self::Said(quote(&error.to_string())),
            _ => Self::NoRedis(quote(&error.to_string())),
        }
    }

    fn permission(said: String, caller: &Caller) -> Self {
        Self::Permission {
            user: caller.user.clone(),
            namespace: caller.namespace.clone(),
            said,
        }
    }

    /// Names what is foreign, where Redis does not.
    pub fn at(self, name: impl Into<String>) -> Self {
        match self {
            Self::WrongType => Self::Foreign(name.into()),
            other => other,
        }
    }

    /// Whether the connection is of no use any more.
    pub fn ends_connection(&self) -> bool {
        matches!(
            self,
            Self::Broken(_) | Self::Password | Self::NoRedis(_) | Self::Loading
        )
    }
}

/// One line of bounded length without control characters.
fn quote(text: &str) -> String {
    let plain = text
        .chars()
        .map(|it| if it.is_control() { ' ' } else { it });
    let mut quoted: String = plain.take(LONGEST_QUOTE).collect();
    if quoted.len() < text.len() {
        quoted.push('…');
    }
    quoted
}
