//! `[secret.NAME]`: where a secret's value is found. The value itself is read by `crate::secrets`.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// The name that `secret:NAME` refers to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SecretName(String);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    pub origin: SecretOrigin,
    /// The value is this field of a JSON object.
    pub field: Option<String>,
    pub expires: Option<jiff::civil::Date>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretOrigin {
    Env(String),
    File(PathBuf),
}

impl SecretName {
    /// Lower-case letters, digits, `-` and `_`; so that the environment can name it too.
    pub fn parse(text: &str) -> Option<Self> {
        let good = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
        };
        (!text.is_empty() && text.bytes().all(good)).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SecretOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(variable) => write!(f, "env {variable}"),
            Self::File(path) => write!(f, "file {}", path.display()),
        }
    }
}
