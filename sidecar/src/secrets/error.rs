//! Why a secret has no value. Never carries the value or a part of it.

use std::path::PathBuf;

use thiserror::Error;

use super::aws::AwsFault;
use crate::config::SecretName;

#[derive(Debug, Error)]
pub enum SecretError {
    #[error("secret {name} is not configured: add [secret.{name}] with from = \"env\" or \"file\"")]
    Unknown { name: SecretName },
    #[error("secret {name}: the environment variable {variable} is not set")]
    Unset { name: SecretName, variable: String },
    #[error("secret {name}: the environment variable {variable} is not text")]
    NotText { name: SecretName, variable: String },
    #[error("secret {name}: {path} cannot be read")]
    File {
        name: SecretName,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("secret {name}: {place} holds no JSON object with a text field {field:?}")]
    Field {
        name: SecretName,
        place: String,
        field: String,
    },
    #[error("secret {name}: {place} is empty")]
    Empty { name: SecretName, place: String },
    #[error("secret {name}: {place}")]
    Aws {
        name: SecretName,
        place: String,
        source: AwsFault,
    },
    /// What was found out when AWS was last asked.
    #[error("{0}")]
    AsBefore(String),
    #[error("secret {name}: {place} has not been read yet")]
    NotYet { name: SecretName, place: String },
}

impl SecretError {
    /// Whether the value may come by itself: somebody far away was not reached yet, or said no.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Aws { .. } | Self::AsBefore(_) | Self::NotYet { .. }
        )
    }
}
