//! Secrets by name, from the environment or a file. Values are read when they are used, so that a
//! replaced file takes effect without a restart, and never printed: errors name the secret and the
//! place, not what was there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::config::secret::{Secret, SecretName, SecretOrigin};

/// The configured secrets. Reading one costs a file read at most; there is no cache to go stale.
#[derive(Debug, Clone)]
pub struct Secrets {
    configured: BTreeMap<SecretName, Secret>,
}

/// Why a secret has no value. Never carries the value or a part of it.
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
}

/// What may be said of a secret to an operator.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SecretStatus {
    pub name: SecretName,
    /// Where it comes from: `env NAME` or `file PATH`.
    pub origin: String,
    pub available: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

impl Secrets {
    pub fn new(configured: BTreeMap<SecretName, Secret>) -> Self {
        Self { configured }
    }

    /// Whether these are the configured ones.
    pub fn are(&self, configured: &BTreeMap<SecretName, Secret>) -> bool {
        self.configured == *configured
    }

    /// Whether both look for `name` in the same place.
    pub fn agree_on(&self, name: &SecretName, other: &Self) -> bool {
        let both = self.configured.get(name).zip(other.configured.get(name));
        both.is_some_and(|(one, other)| one.is_read_as(other))
    }

    /// The value now.
    pub fn get(&self, name: &SecretName) -> Result<SecretString, SecretError> {
        let secret = self.configured.get(name);
        let secret = secret.ok_or_else(|| SecretError::Unknown { name: name.clone() })?;
        let raw = read(name, &secret.origin)?;
        let value = match &secret.field {
            Some(field) => json_field(name, secret, field, &raw)?,
            None => raw,
        };
        if value.is_empty() {
            let place = secret.origin.to_string();
            return Err(SecretError::Empty {
                name: name.clone(),
                place,
            });
        }
        Ok(SecretString::from(value))
    }

    /// Every configured secret and whether it can be read now; for `secrets` and `check-config`.
    pub fn statuses(&self) -> Vec<SecretStatus> {
        let status = |(name, secret): (&SecretName, &Secret)| {
            let problem = self.get(name).err().map(|error| error.to_string());
            SecretStatus {
                name: name.clone(),
                origin: secret.origin.to_string(),
                available: problem.is_none(),
                problem,
                expires: secret.expires.map(|date| date.to_string()),
            }
        };
        self.configured.iter().map(status).collect()
    }
}

fn read(name: &SecretName, origin: &SecretOrigin) -> Result<String, SecretError> {
    let name = name.clone();
    match origin {
        SecretOrigin::Env(variable) => std::env::var(variable).map_err(|error| match error {
            std::env::VarError::NotPresent => SecretError::Unset {
                name,
                variable: variable.clone(),
            },
            std::env::VarError::NotUnicode(_) => SecretError::NotText {
                name,
                variable: variable.clone(),
            },
        }),
        SecretOrigin::File(path) => match std::fs::read_to_string(path) {
            Ok(text) => Ok(text.trim_end_matches(['\n', '\r']).to_owned()),
            Err(source) => Err(SecretError::File {
                name,
                path: path.clone(),
                source,
            }),
        },
    }
}

/// A parse error of serde_json may quote what it read, so none is kept.
fn json_field(
    name: &SecretName,
    secret: &Secret,
    field: &str,
    raw: &str,
) -> Result<String, SecretError> {
    let parsed: Option<serde_json::Value> = serde_json::from_str(raw).ok();
    let text = parsed.as_ref().and_then(|value| value.get(field)?.as_str());
    text.map(str::to_owned).ok_or_else(|| SecretError::Field {
        name: name.clone(),
        place: secret.origin.to_string(),
        field: field.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::config::Config;
    use crate::telemetry::chain;

    const VALUE: &str = "s3cr3t-value";

    fn name() -> SecretName {
        SecretName::parse("key").unwrap()
    }

    fn configured(lines: &str) -> Secrets {
        let text = format!("[secret.key]\n{lines}");
        Secrets::new(Config::parse(&text, std::iter::empty()).unwrap().secrets)
    }

    fn in_file(path: &std::path::Path, more: &str) -> Secrets {
        configured(&format!("from = \"file\"\nname = {path:?}\n{more}"))
    }

    #[test]
    fn a_file_is_read_without_its_newline_and_read_again_when_replaced() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let secrets = in_file(file.path(), "");
        for (written, value) in [
            ("first\n", "first"),
            ("second\r\n", "second"),
            (" x ", " x "),
        ] {
            std::fs::write(file.path(), written).unwrap();
            assert_eq!(secrets.get(&name()).unwrap().expose_secret(), value);
        }
    }

    #[test]
    fn a_field_of_a_json_object_is_a_secret() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("{{\"api_key\": {VALUE:?}, \"n\": 1}}")).unwrap();
        let secrets = in_file(file.path(), "field = \"api_key\"");
        assert_eq!(secrets.get(&name()).unwrap().expose_secret(), VALUE);
        for field in ["other", "n"] {
            let secrets = in_file(file.path(), &format!("field = {field:?}"));
            let error = secrets.get(&name()).unwrap_err();
            assert!(
                chain(&error).contains(&format!("a text field {field:?}")),
                "{error}"
            );
        }
    }

    #[test]
    fn what_is_missing_is_named_with_its_place() {
        let unset = configured("from = \"env\"\nname = \"PORTCULLIS_TEST_UNSET\"");
        let message = chain(&unset.get(&name()).unwrap_err());
        assert_eq!(
            message,
            "secret key: the environment variable PORTCULLIS_TEST_UNSET is not set"
        );
        let message = chain(
            &in_file("/nonexistent/key".as_ref(), "")
                .get(&name())
                .unwrap_err(),
        );
        assert!(
            message.starts_with("secret key: /nonexistent/key cannot be read: "),
            "{message}"
        );
        let other = SecretName::parse("other").unwrap();
        assert!(chain(&unset.get(&other).unwrap_err()).contains("add [secret.other]"));
        let empty = tempfile::NamedTempFile::new().unwrap();
        let message = chain(&in_file(empty.path(), "").get(&name()).unwrap_err());
        assert!(message.ends_with("is empty"), "{message}");
    }

    #[test]
    fn no_error_status_or_debug_print_shows_a_value() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), VALUE).unwrap();
        let broken = in_file(file.path(), "field = \"api_key\"");
        let error = broken.get(&name()).unwrap_err();
        let good = in_file(file.path(), "");
        let value = good.get(&name()).unwrap();
        let statuses = (broken.statuses(), good.statuses());
        let shown = format!(
            "{error:?} {} {statuses:?} {value:?} {good:?}",
            chain(&error)
        );
        assert!(!shown.contains(VALUE), "{shown}");
        assert!(statuses.1.first().unwrap().available && !statuses.0.first().unwrap().available);
    }
}
