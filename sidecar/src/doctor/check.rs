//! Every check by its name. The names are for good: people write them into scripts and `--accept`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

macro_rules! checks {
    ($($variant:ident = $name:literal,)+) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Check {
            $(#[serde(rename = $name)] $variant,)+
        }

        impl Check {
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

// In the order in which they are shown.
checks! {
    SecretsReadable = "secrets.readable",
    SecretsPrivate = "secrets.private",
    SecretsToken = "secrets.token",
    SecretsExpiry = "secrets.expiry",
    SidecarReachable = "sidecar.reachable",
    SidecarConfig = "sidecar.config",
    SidecarListeners = "sidecar.listeners",
    SidecarGuard = "sidecar.guard",
    SidecarOutgoing = "sidecar.outgoing",
    SidecarScraped = "sidecar.scraped",
    SidecarCanary = "sidecar.canary",
    SidecarErrors = "sidecar.errors",
    SidecarHistory = "sidecar.history",
    SidecarWire = "sidecar.wire",
    StoreReachable = "store.reachable",
    StoreDurable = "store.durable",
    FeedsFresh = "feeds.fresh",
    FeedsHeld = "feeds.held",
    FeedsShadow = "feeds.shadow",
    FeedsRefused = "feeds.refused",
    FeedsEmpty = "feeds.empty",
    ProvidersKey = "providers.key",
    ProvidersQuota = "providers.quota",
    ProvidersAnswering = "providers.answering",
    ProvidersCache = "providers.cache",
    DatabasesFresh = "databases.fresh",
    DatabasesRefused = "databases.refused",
    OperatorModes = "operator.modes",
    OperatorDecisions = "operator.decisions",
    SnapshotPublished = "snapshot.published",
    SnapshotCanary = "snapshot.canary",
    EnvoyStats = "envoy.stats",
    EnvoyVerdicts = "envoy.verdicts",
    EnvoyLimits = "envoy.limits",
    EnvoyClients = "envoy.clients",
    EnvoySnapshot = "envoy.snapshot",
    EnvoyVms = "envoy.vms",
    EnvoyFailures = "envoy.failures",
    EnvoyRefused = "envoy.refused",
    EnvoyTraps = "envoy.traps",
    EnvoyErrors = "envoy.errors",
    EnvoyLatency = "envoy.latency",
    EdgeCanary = "edge.canary",
    EdgeMode = "edge.mode",
    EdgeRequestId = "edge.request_id",
    SettingsAdmin = "settings.admin",
    SettingsHeaders = "settings.headers",
    SettingsClients = "settings.clients",
    SettingsFailure = "settings.failure",
    SettingsLimits = "settings.limits",
    SettingsReplies = "settings.replies",
    SettingsCors = "settings.cors",
    SettingsLog = "settings.log",
    SettingsSecrets = "settings.secrets",
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no check of the doctor: docs/doctor.md has their names")]
pub struct CheckError(String);

impl Check {
    /// What stands before the dot.
    pub fn group(self) -> &'static str {
        self.name().split('.').next().unwrap_or_default()
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Check {
    type Err = CheckError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().find(|check| check.name() == text);
        found.copied().ok_or_else(|| CheckError(text.to_owned()))
    }
}
