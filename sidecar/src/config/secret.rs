//! `[secret.NAME]`: where a secret's value is found. The value itself is read by `crate::secrets`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

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
    /// Counts where the secret itself does not say when it expires.
    pub expires: Option<jiff::civil::Date>,
    /// How long after it was first seen a value should be replaced, if nobody says when it expires.
    pub max_age: Duration,
    /// How often a value that comes over the network is asked for.
    pub refresh: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretOrigin {
    Env(String),
    File(PathBuf),
    /// A name or ARN in AWS Secrets Manager.
    SecretsManager(String),
    /// A parameter of AWS Systems Manager.
    Ssm(String),
}

const MAX_AGE: Duration = Duration::from_secs(90 * 86_400);
const REFRESH: Duration = Duration::from_secs(5 * 60);
/// Each question costs money and counts against the account's rate.
const SHORTEST_REFRESH: Duration = Duration::from_secs(1);
const LONGEST_REFRESH: Duration = Duration::from_secs(86_400);
const LONGEST_AGE: Duration = Duration::from_secs(10 * 366 * 86_400);

impl Secret {
    /// Whether both are read from the same place in the same way.
    pub fn is_read_as(&self, other: &Self) -> bool {
        self.origin == other.origin && self.field == other.field
    }
}

impl SecretOrigin {
    /// Whether it is on this machine: read in no time, as often as one likes.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Env(_) | Self::File(_))
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
            Self::SecretsManager(id) => write!(f, "aws-secrets-manager {id}"),
            Self::Ssm(name) => write!(f, "aws-ssm {name}"),
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Env,
    File,
    SecretsManager,
    Ssm,
}

const KINDS: [(&str, Kind); 4] = [
    ("env", Kind::Env),
    ("file", Kind::File),
    ("aws-secrets-manager", Kind::SecretsManager),
    ("aws-ssm", Kind::Ssm),
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
                    max_age: MAX_AGE,
                    refresh: REFRESH,
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
    let words = "from = \"env\", \"file\", \"aws-secrets-manager\" or \"aws-ssm\"";
    let kind = section.require("from", words, value::one_of(&KINDS));
    let name = section.require(
        "name",
        "name = the variable, path, secret or parameter",
        value::text,
    );
    let field = section.get("field", value::text);
    let expires = section.get("expires", |node| {
        let text = value::text(node)?;
        text.parse()
            .map_err(|_| format!("{text:?} is not a date: write it as \"2027-03-01\""))
    });
    let max_age = section.get(
        "max_age",
        value::duration(Duration::from_secs(86_400)..=LONGEST_AGE),
    );
    let refresh = section.get(
        "refresh",
        value::duration(SHORTEST_REFRESH..=LONGEST_REFRESH),
    );
    let origin = kind?.of(name?);
    if refresh.is_some() && origin.is_local() {
        section.fault(
            "refresh",
            "is for AWS alone: what is on this machine is read whenever it is used",
        );
    }
    Some(Secret {
        origin,
        field,
        expires,
        max_age: max_age.unwrap_or(MAX_AGE),
        refresh: refresh.unwrap_or(REFRESH),
    })
}

impl Kind {
    fn of(self, name: String) -> SecretOrigin {
        match self {
            Self::Env => SecretOrigin::Env(name),
            Self::File => SecretOrigin::File(PathBuf::from(name)),
            Self::SecretsManager => SecretOrigin::SecretsManager(name),
            Self::Ssm => SecretOrigin::Ssm(name),
        }
    }
}
