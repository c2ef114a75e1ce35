//! The sidecar's configuration: one TOML file, every key also by environment
//! (`PORTCULLIS__SECTION__KEY`), every default working.
//!
//! Reading has two steps. `tree` holds what was written, with where it was written; the modules per
//! section turn that into types that cannot be wrong and collect every fault on the way, so that all
//! are reported at once. Nothing here opens a socket or reads another file.

pub mod feed;
pub mod guard;
pub mod listen;
pub mod provider;
pub mod secret;
pub mod store;

use std::collections::BTreeMap;

pub use feed::{Feed, FeedFormat, FeedRole, FeedSource, ListScore};
pub use guard::Guard;
pub use listen::{Listen, ListenAddress};
pub use provider::{Provider, ProviderKind};
use reputation::Policy;
pub use secret::{Secret, SecretName, SecretOrigin};
pub use store::StoreConfig;

/// A configuration in which every value is good by itself and every reference leads somewhere.
#[derive(Debug, Clone)]
pub struct Config {
    pub listen: Listen,
    pub log: Log,
    pub store: StoreConfig,
    pub policy: Policy,
    pub guard: Guard,
    pub feeds: Vec<Feed>,
    pub providers: Vec<Provider>,
    pub secrets: BTreeMap<SecretName, Secret>,
}

/// What goes to the log; `RUST_LOG` overrides it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// A level or a filter in `tracing`'s syntax, such as `info` or `info,portcullis=debug`.
    pub filter: String,
}
