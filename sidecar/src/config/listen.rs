//! `[listen]`: where the three listeners are.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::secret::SecretName;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Envoy's.
    pub edge: ListenAddress,
    /// The operator's; a token is always asked for.
    pub admin: ListenAddress,
    /// Probes and metrics.
    pub metrics: ListenAddress,
    /// Absent: generated into `<store.path>/admin.token`.
    pub admin_token: Option<SecretName>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
