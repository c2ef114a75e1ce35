//! `[listen]`: where the three listeners are.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::secret::SecretName;
use super::section::Section;
use super::value;

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

impl Listen {
    pub(super) fn validate(mut section: Section<'_>) -> Self {
        let mut address = |key, port| {
            let default = ListenAddress::Tcp((Ipv4Addr::LOCALHOST, port).into());
            section.get(key, value::listen_address).unwrap_or(default)
        };
        let listen = Self {
            edge: address("edge", 8970),
            admin: address("admin", 8971),
            metrics: address("metrics", 8972),
            admin_token: section.secret("admin_token"),
        };
        for (key, one, other_key, other) in [
            ("admin", &listen.admin, "edge", &listen.edge),
            ("metrics", &listen.metrics, "edge", &listen.edge),
            ("metrics", &listen.metrics, "admin", &listen.admin),
        ] {
            if one == other && !one.is_any_port() {
                section.fault(key, format!("{one} is the address of {other_key} too"));
            }
        }
        section.finish();
        listen
    }
}

impl ListenAddress {
    /// Port 0: the system picks one, so two such addresses do not collide.
    fn is_any_port(&self) -> bool {
        matches!(self, Self::Tcp(address) if address.port() == 0)
    }
}
