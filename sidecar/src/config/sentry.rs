//! `[sentry]`: where faults of the sidecar are sent, if anywhere.

use super::secret::SecretName;
use super::section::Section;
use super::value;

/// Without a DSN here or in `SENTRY_DSN` nothing is sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sentry {
    pub dsn: Option<SecretName>,
    /// If it is not written, `SENTRY_ENVIRONMENT` counts.
    pub environment: Option<String>,
}

impl Sentry {
    /// Whether there is a DSN, here or in the environment.
    pub fn is_configured(&self) -> bool {
        self.dsn.is_some() || std::env::var_os("SENTRY_DSN").is_some_and(|dsn| !dsn.is_empty())
    }

    pub(super) fn validate(mut section: Section<'_>) -> Self {
        let sentry = Self {
            dsn: section.secret("dsn"),
            environment: section.get("environment", value::name),
        };
        section.finish();
        sentry
    }
}
