//! The plugin's configuration: what it is once it has been checked. `validated` makes it from JSON, with
//! `policy` for what routes may have otherwise; `raw` walks the JSON, `wire` reads protobuf's form of it.

#[cfg(test)]
mod docs_test;
mod policy;
mod raw;
#[cfg(test)]
mod tests;
mod validated;
mod wire;

use reputation::mode::{Mode, glob_matches};
use reputation::{Action, Band};

use crate::client::AllowList;
use crate::exempt::ExemptPaths;
use crate::refuse::Templates;

#[cfg(feature = "trap")]
pub use raw::{Findings, Section};
pub use validated::Checked;

/// A checked configuration. Every key of the public contract, with its default.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub base: Policy,
    pub sidecar: Sidecar,
    pub client_ip: ClientIp,
    pub strip: Strip,
    pub ipv6_prefix: u8,
    pub allow: AllowList,
    pub actions: Actions,
    pub upstream_headers: UpstreamHeaders,
    pub cache_entries: usize,
    pub limits: Limits,
    pub deny: Deny,
    /// Absent where it is switched off by an empty text.
    pub ready_path: Option<String>,
    /// What policies name by their places: the top level's first.
    pub exempt_paths: Vec<ExemptPaths>,
    /// In the order in which they are tried: the more specific pattern first.
    pub routes: Vec<Route>,
    #[cfg(feature = "trap")]
    pub trap: crate::trap::TrapConfig,
}

/// What may differ from route to route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    pub mode: Mode,
    pub failure: Failure,
    pub unknown: Unknown,
    /// The longest that a request is held.
    pub hold_ms: u32,
    pub exempt: ExemptAt,
}

/// A place in [`Config::exempt_paths`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExemptAt(pub usize);

/// Where the plugin's data comes from. Two plugins with the same one share a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sidecar {
    pub cluster: String,
    pub poll_cluster: String,
    pub authority: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    Open,
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    Pass,
    Hold,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientIp {
    SourceAddress,
    ExternalAddressHeader,
}

/// Who removes `x-portcullis-*` that comes from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strip {
    Envoy,
    Filter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamHeaders {
    Flagged,
    None,
}

/// What each band means where nobody gave an explicit word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actions {
    pub suspicious: Action,
    pub malicious: Action,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Look-ups under way at once.
    pub lookups: usize,
    /// Requests held at once.
    pub held: usize,
    /// Refusals that go to the access log within a second.
    pub logged: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deny {
    pub status: u16,
    pub templates: Templates,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub pattern: String,
    pub policy: Policy,
}

impl Config {
    /// What the configuration says of a route; the manifest's modes are not in it.
    pub fn policy(&self, route: Option<&str>) -> Policy {
        route
            .and_then(|name| {
                let mut routes = self.routes.iter();
                routes.find(|route| glob_matches(&route.pattern, name))
            })
            .map_or(self.base, |route| route.policy)
    }

    /// The paths that are exempt under `policy`.
    pub fn exempt(&self, policy: Policy) -> Option<&ExemptPaths> {
        self.exempt_paths.get(policy.exempt.0)
    }
}

impl Actions {
    pub fn of(&self, band: Band) -> Action {
        match band {
            Band::Clean => Action::Allow,
            Band::Suspicious => self.suspicious,
            Band::Malicious => self.malicious,
        }
    }
}

impl Failure {
    pub const ALL: [Self; 2] = [Self::Open, Self::Closed];

    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}
