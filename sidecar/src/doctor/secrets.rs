//! Whether secrets are there, for us alone, and not about to expire.
//!
//! Kubernetes and Docker mount secrets as a file system in memory, read-only and seen by one container,
//! with files of mode 0444 or 0644. Whoever reads them there is in the container already: worth a note,
//! no fault.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use rustix::fs::{StatVfsMountFlags, statfs, statvfs};

use super::{Check, Finding, count};
use crate::api::token::SHORTEST;
use crate::config::{Secret, SecretName, SecretOrigin};
use crate::secrets::{ExpiryBy, SecretStatus};

/// How many days before a secret expires somebody should renew it.
const SOON: i32 = 14;
/// `f_type` of a file system in memory.
const TMPFS_MAGIC: i64 = 0x0102_1994;
const GROUP_READS: u32 = 0o040;
const OTHERS_READ: u32 = 0o004;

/// What is known of one secret. Never its value.
#[derive(Debug, Clone)]
pub struct SecretFacts {
    pub name: SecretName,
    pub problem: Option<String>,
    pub file: Option<FileFacts>,
    pub expires: Option<Date>,
    /// Nobody said when it expires: that is when it will have been in use for long enough.
    pub by_age: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFacts {
    pub path: PathBuf,
    /// The permission bits.
    pub mode: u32,
    /// Whether the file belongs to the user we run as.
    pub ours: bool,
    /// Mounted read-only from memory, as an orchestrator does it for one container.
    pub mounted: bool,
}

/// Where the admin token comes from.
#[derive(Debug, Clone)]
pub enum TokenFacts {
    Configured(SecretName),
    /// Since the start, which would have refused it.
    Guessable(SecretName),
    Made {
        path: PathBuf,
        file: Option<FileFacts>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exposure {
    Private,
    Container,
    Group,
    Everybody,
}

impl SecretFacts {
    pub fn of(name: &SecretName, secret: &Secret, status: SecretStatus) -> Self {
        let file = match &secret.origin {
            SecretOrigin::File(path) => FileFacts::of(path),
            SecretOrigin::Env(_) | SecretOrigin::SecretsManager(_) | SecretOrigin::Ssm(_) => None,
        };
        Self {
            name: name.clone(),
            problem: status.problem,
            file,
            expires: status.expires.and_then(|date| date.parse().ok()),
            by_age: status.expires_by == Some(ExpiryBy::MaxAge),
        }
    }
}

impl SecretFacts {
    fn ends(&self) -> &'static str {
        if self.by_age {
            "should be replaced"
        } else {
            "expires"
        }
    }
}

impl FileFacts {
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        let in_memory = statfs(path).is_ok_and(|fs| fs.f_type == TMPFS_MAGIC);
        let read_only = statvfs(path).is_ok_and(|fs| fs.f_flag.contains(StatVfsMountFlags::RDONLY));
        Some(Self {
            path: path.to_owned(),
            mode: metadata.mode() & 0o777,
            ours: metadata.uid() == rustix::process::geteuid().as_raw(),
            mounted: in_memory && read_only,
        })
    }

    fn exposure(&self) -> Exposure {
        let (group, others) = (self.mode & GROUP_READS != 0, self.mode & OTHERS_READ != 0);
        match (others || group, self.mounted) {
            (false, _) => Exposure::Private,
            (true, true) => Exposure::Container,
            (true, false) if others => Exposure::Everybody,
            // A file of somebody else that only its group reads is how it is given to us.
            (true, false) if self.ours => Exposure::Group,
            (true, false) => Exposure::Private,
        }
    }

    fn shown(&self) -> String {
        format!("{} (mode {:04o})", self.path.display(), self.mode)
    }
}

pub fn readable(secrets: &[SecretFacts]) -> Finding {
    let check = Check::SecretsReadable;
    let problems: Vec<_> = secrets
        .iter()
        .filter_map(|secret| secret.problem.clone())
        .collect();
    if problems.is_empty() {
        let seen = match secrets.len() {
            0 => "no secret is configured".to_owned(),
            number => format!("{} can be read", count(number, "secret")),
        };
        return Finding::ok(check, seen);
    }
    Finding::failing(
        check,
        problems.join("; "),
        "put the value where the configuration says it is; no restart is needed for a file",
    )
}

pub fn private(secrets: &[SecretFacts]) -> Finding {
    let check = Check::SecretsPrivate;
    let files = || secrets.iter().filter_map(|secret| secret.file.as_ref());
    let which = |exposure| {
        let shown = files().filter(move |file| file.exposure() == exposure);
        shown.map(FileFacts::shown).collect::<Vec<_>>()
    };
    let (everybody, group) = (which(Exposure::Everybody), which(Exposure::Group));
    if !everybody.is_empty() {
        let seen = format!("every user of this machine reads {}", everybody.join(", "));
        return Finding::failing(
            check,
            seen,
            "chmod 0600, then renew what may have been read",
        );
    }
    if !group.is_empty() {
        let seen = format!("a whole group reads {}", group.join(", "));
        return Finding::attention(check, seen, "chmod 0600");
    }
    let mounted = which(Exposure::Container);
    if mounted.is_empty() {
        let files = count(files().count(), "file");
        return Finding::ok(
            check,
            format!("{files} with secrets, none that others read"),
        );
    }
    let seen = format!("every user of this container reads {}", mounted.join(", "));
    Finding::note(check, seen).hint("defaultMode: 0400 and fsGroup narrow that in Kubernetes")
}

pub fn token(token: &TokenFacts) -> Finding {
    let check = Check::SecretsToken;
    match token {
        TokenFacts::Configured(name) => {
            Finding::ok(check, format!("the admin token is the secret {name}"))
        }
        TokenFacts::Guessable(name) => Finding::failing(
            check,
            format!(
                "the admin token, which is the secret {name}, has fewer than {SHORTEST} characters"
            ),
            "put a longer one in its place, such as `openssl rand -hex 32` prints: it can be guessed, \
             and the next start refuses it",
        ),
        TokenFacts::Made { path, file: None } => Finding::attention(
            check,
            format!("the admin token's file {} is gone", path.display()),
            "the next start makes a new one; until then whoever has the old one keeps it",
        ),
        TokenFacts::Made {
            file: Some(file), ..
        } => match file.exposure() {
            Exposure::Private | Exposure::Container => Finding::ok(
                check,
                format!("the admin token was made into {}", file.shown()),
            ),
            Exposure::Group | Exposure::Everybody => Finding::failing(
                check,
                format!("others read the admin token in {}", file.shown()),
                "delete the file and start the sidecar again: it makes a new token for the owner alone",
            ),
        },
    }
}

pub fn expiry(secrets: &[SecretFacts], today: Date) -> Finding {
    let check = Check::SecretsExpiry;
    let mut dated: Vec<_> = secrets
        .iter()
        .filter_map(|secret| Some((secret, secret.expires?.since(today).ok()?.get_days())))
        .collect();
    // What is merely old comes after what expires on the same day: that one stops to work.
    dated.sort_by_key(|(secret, days)| (*days, secret.by_age));
    let over = |by_age| move |it: &&(&SecretFacts, i32)| it.1 < 0 && it.0.by_age == by_age;
    let first = dated.iter().find(over(false));
    let first = first.or_else(|| dated.iter().find(|it| it.1 >= 0 && it.1 <= SOON));
    let first = first.or(dated.first()).copied();
    let remedy = "renew it where it comes from, put the new value in its place, and set `expires`";
    match first {
        Some((SecretFacts { name, by_age, .. }, days)) if days < 0 => {
            if *by_age {
                let seen = format!("{name} should have been replaced {} days ago", -days);
                return Finding::attention(check, seen, remedy);
            }
            let seen = format!("{name} expired {} days ago", -days);
            Finding::failing(check, seen, remedy)
        }
        Some((secret, days)) if days <= SOON => {
            let seen = format!("{} {} in {days} days", secret.name, secret.ends());
            Finding::attention(check, seen, remedy)
        }
        Some((secret, days)) if dated.len() == secrets.len() => Finding::ok(
            check,
            format!(
                "the first is {}: it {} in {days} days",
                secret.name,
                secret.ends()
            ),
        ),
        None if secrets.is_empty() => Finding::ok(check, "no secrets are configured"),
        _ => undated(secrets),
    }
}

fn undated(secrets: &[SecretFacts]) -> Finding {
    let undated = secrets.iter().filter(|secret| secret.expires.is_none());
    let names: Vec<_> = undated.map(|secret| secret.name.to_string()).collect();
    let seen = format!("nobody knows when these expire: {}", names.join(", "));
    Finding::note(Check::SecretsExpiry, seen)
        .hint("write `expires = \"2027-03-01\"` to be told in time")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    fn secret(name: &str) -> SecretFacts {
        SecretFacts {
            name: SecretName::parse(name).unwrap(),
            problem: None,
            file: None,
            expires: None,
            by_age: false,
        }
    }

    fn file(mode: u32) -> FileFacts {
        FileFacts {
            path: "/run/key".into(),
            mode,
            ours: true,
            mounted: false,
        }
    }

    fn in_file(file: FileFacts) -> SecretFacts {
        SecretFacts {
            file: Some(file),
            ..secret("key")
        }
    }

    #[test]
    fn a_secret_that_cannot_be_read_fails() {
        let problem = Some("secret key: /run/key cannot be read".to_owned());
        let missing = SecretFacts {
            problem,
            ..secret("key")
        };
        assert_eq!(readable(&[secret("a"), missing]).state, State::Failing);
        assert_eq!(readable(&[secret("a")]).state, State::Ok);
        assert_eq!(readable(&[]).state, State::Ok);
    }

    #[test]
    fn files_are_for_the_owner_alone_unless_they_are_how_a_secret_is_given_to_us() {
        let state = |file| private(&[in_file(file)]).state;
        assert_eq!(state(file(0o600)), State::Ok);
        assert_eq!(state(file(0o640)), State::Attention);
        assert_eq!(state(file(0o644)), State::Failing);
        let roots = FileFacts {
            ours: false,
            ..file(0o640)
        };
        assert_eq!(state(roots), State::Ok);
        let kubernetes = FileFacts {
            mounted: true,
            ours: false,
            ..file(0o444)
        };
        assert_eq!(state(kubernetes), State::Note);
    }

    #[test]
    fn a_file_is_looked_at_as_it_is() {
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::NamedTempFile::new().unwrap();
        let permissions = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(file.path(), permissions).unwrap();
        let facts = FileFacts::of(file.path()).unwrap();
        assert_eq!(
            (facts.mode, facts.ours, facts.mounted),
            (0o644, true, false)
        );
        assert_eq!(FileFacts::of("/nonexistent".as_ref()), None);
    }

    #[test]
    fn a_token_that_others_read_fails() {
        let made = |file| TokenFacts::Made {
            path: "/t".into(),
            file,
        };
        assert_eq!(token(&made(Some(file(0o600)))).state, State::Ok);
        assert_eq!(token(&made(Some(file(0o644)))).state, State::Failing);
        assert_eq!(token(&made(None)).state, State::Attention);
        let configured = TokenFacts::Configured(SecretName::parse("admin").unwrap());
        assert_eq!(token(&configured).state, State::Ok);
        let short = TokenFacts::Guessable(SecretName::parse("admin").unwrap());
        assert_eq!(token(&short).state, State::Failing);
    }

    #[test]
    fn secrets_are_renewed_before_they_expire() {
        let today = jiff::civil::date(2026, 11, 22);
        let until = |date: &str| {
            let expires = Some(date.parse().unwrap());
            expiry(
                &[SecretFacts {
                    expires,
                    ..secret("key")
                }],
                today,
            )
            .state
        };
        assert_eq!(until("2026-11-21"), State::Failing);
        assert_eq!(until("2026-12-01"), State::Attention);
        assert_eq!(until("2027-11-22"), State::Ok);
        assert_eq!(expiry(&[secret("key")], today).state, State::Note);
        let old = SecretFacts {
            expires: Some("2026-11-01".parse().unwrap()),
            by_age: true,
            ..secret("old")
        };
        let dead = SecretFacts {
            by_age: false,
            ..old.clone()
        };
        assert_eq!(
            expiry(std::slice::from_ref(&old), today).state,
            State::Attention
        );
        assert_eq!(expiry(&[old, dead], today).state, State::Failing);
        assert_eq!(expiry(&[], today).state, State::Ok);
    }
}
