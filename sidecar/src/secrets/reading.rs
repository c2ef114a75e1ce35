//! What is found in a place becomes a value: one field of a JSON object, or all of the text. The
//! environment and files are read here, AWS in `aws`.

use std::io;

use jiff::civil::Date;
use secrecy::{ExposeSecret, SecretString};

use super::SecretError;
use crate::config::{Secret, SecretName, SecretOrigin};
use crate::small_file;

/// The field of a JSON secret that says when it expires.
const EXPIRES: &str = "expires";

/// A value as it was found.
#[derive(Debug, Clone)]
pub struct Reading {
    pub value: SecretString,
    /// The name that its place gives to this version.
    pub version: Option<String>,
    /// By the secret's own word.
    pub expires: Option<Date>,
}

/// Reads what is on this machine; `None` if it is elsewhere.
pub fn local(name: &SecretName, secret: &Secret) -> Option<Result<Reading, SecretError>> {
    let raw = match &secret.origin {
        SecretOrigin::Env(variable) => variable_of(name, variable),
        SecretOrigin::File(path) => file(name, path),
        SecretOrigin::SecretsManager(_) | SecretOrigin::Ssm(_) => return None,
    };
    Some(raw.and_then(|raw| understand(name, secret, &raw, None)))
}

/// Makes a value of what stands in its place.
pub fn understand(
    name: &SecretName,
    secret: &Secret,
    raw: &SecretString,
    version: Option<String>,
) -> Result<Reading, SecretError> {
    let (value, expires) = match &secret.field {
        Some(field) => json_field(name, secret, field, raw)?,
        None => (raw.clone(), None),
    };
    if value.expose_secret().is_empty() {
        return Err(SecretError::Empty {
            name: name.clone(),
            place: secret.origin.to_string(),
        });
    }
    Ok(Reading {
        value,
        version,
        expires,
    })
}

fn variable_of(name: &SecretName, variable: &str) -> Result<SecretString, SecretError> {
    let (name, variable) = (name.clone(), variable.to_owned());
    match std::env::var(&variable) {
        Ok(text) => Ok(SecretString::from(text)),
        Err(std::env::VarError::NotPresent) => Err(SecretError::Unset { name, variable }),
        Err(std::env::VarError::NotUnicode(_)) => Err(SecretError::NotText { name, variable }),
    }
}

/// Editors and `echo` end a file with a newline, which is no part of the secret.
fn file(name: &SecretName, path: &std::path::Path) -> Result<SecretString, SecretError> {
    let utf8 = |bytes| String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into());
    match small_file::read(path).and_then(utf8) {
        Ok(text) => Ok(SecretString::from(text.trim_end_matches(['\n', '\r']))),
        Err(source) => Err(SecretError::File {
            name: name.clone(),
            path: path.to_owned(),
            source,
        }),
    }
}

/// A parse error of serde_json may quote what it read, so none is kept.
fn json_field(
    name: &SecretName,
    secret: &Secret,
    field: &str,
    raw: &SecretString,
) -> Result<(SecretString, Option<Date>), SecretError> {
    let parsed: Option<serde_json::Value> = serde_json::from_str(raw.expose_secret()).ok();
    let text = |field: &str| parsed.as_ref()?.get(field)?.as_str();
    let value = text(field).ok_or_else(|| SecretError::Field {
        name: name.clone(),
        place: secret.origin.to_string(),
        field: field.to_owned(),
    })?;
    // A day, or a moment of which the day counts.
    let day = |text: &str| text.get(..10).and_then(|day| day.parse().ok());
    Ok((SecretString::from(value), text(EXPIRES).and_then(day)))
}
