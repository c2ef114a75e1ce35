//! `[secret.NAME]`: where a secret's value is found. The value itself is read by `crate::secrets`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::section::Section;
use super::value;

/// The name that `secret:NAME` refers to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretName(String);

impl std::borrow::Borrow<str> for SecretName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

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

impl Secret {
    /// Whether both are read from the same place in the same way.
    pub fn is_read_as(&self, other: &Self) -> bool {
        self.origin == other.origin && self.field == other.field
    }
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

#[derive(Clone, Copy)]
enum Kind {
    Env,
    File,
    Aws,
}

const KINDS: [(&str, Kind); 4] = [
    ("env", Kind::Env),
    ("file", Kind::File),
    ("aws-secrets-manager", Kind::Aws),
    ("aws-ssm", Kind::Aws),
];

pub(super) fn validate_all(section: Section<'_>) -> BTreeMap<SecretName, Secret> {
    let mut secrets = BTreeMap::new();
    for (name, mut section) in section.into_named_tables() {
        let secret = validate(&mut section);
        match SecretName::parse(&name) {
            Some(name) => {
                // A faulty secret is still there: who refers to it is not at fault.
                let empty = Secret {
                    origin: SecretOrigin::Env(String::new()),
                    field: None,
                    expires: None,
                };
                secrets.insert(name, secret.unwrap_or(empty));
            }
            None => section.fault(
                "",
                format!("{name:?} is not a name: use lower-case letters, digits, - and _"),
            ),
        }
        section.finish();
    }
    secrets
}

fn validate(section: &mut Section<'_>) -> Option<Secret> {
    let kind = section.require("from", "from = \"env\" or \"file\"", value::one_of(&KINDS));
    let name = section.require("name", "name = the variable or the path", value::text);
    let field = section.get("field", value::text);
    let expires = section.get("expires", |node| {
        let text = value::text(node)?;
        text.parse()
            .map_err(|_| format!("{text:?} is not a date: write it as \"2027-03-01\""))
    });
    let origin = match kind? {
        Kind::Env => SecretOrigin::Env(name?),
        Kind::File => SecretOrigin::File(PathBuf::from(name?)),
        Kind::Aws => {
            section.fault(
                "from",
                "AWS is not available in this version: write \"env\" or \"file\"",
            );
            return None;
        }
    };
    Some(Secret {
        origin,
        field,
        expires,
    })
}
