//! `[history]`: the PostgreSQL that keeps what was thought and done about addresses, if any.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use tokio_postgres::Config as Server;
use tokio_postgres::config::{Host, SslMode};

use super::secret::SecretName;
use super::section::Section;
use super::store::Tls;
use super::tree::Node;
use super::value;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryConfig {
    pub postgres: Postgres,
    pub password: Option<SecretName>,
    /// How long what was recorded is kept, in whole days at least.
    pub retention: Duration,
}

/// Where the database is, and as whom it is asked; never with a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postgres {
    pub server: Server,
    /// None: in clear. Otherwise the server must have a good certificate for its name.
    pub tls: Option<Tls>,
}

const DAY: Duration = Duration::from_secs(86_400);
const RETENTION: Duration = Duration::from_secs(30 * 86_400);
/// A partition for each day: many more, and every question looks into too many.
const RETENTIONS: RangeInclusive<Duration> = DAY..=Duration::from_secs(730 * 86_400);
const EXPECTED: &str = "must be postgres://USER@HOST:5432/DATABASE";

impl HistoryConfig {
    /// None if the section was not written. Takes every key before it gives up, so that all faults are
    /// found together.
    pub(super) fn validate(written: bool, mut section: Section<'_>) -> Option<Self> {
        if !written {
            return None;
        }
        let what = "url = \"postgres://USER@HOST:5432/DATABASE\"";
        let mut postgres = section.require("url", what, postgres);
        let password = section.secret("password");
        let ca = section.get("ca", value::path);
        let retention = section.get("retention", value::duration(RETENTIONS));
        match (postgres.as_mut().map(|it| &mut it.tls), ca) {
            (Some(Some(tls)), ca) => tls.ca = ca,
            (Some(None), Some(_)) => section.fault(
                "ca",
                "is for TLS only: write sslmode=verify-full in url, or remove it",
            ),
            _ => {}
        }
        section.finish();
        Some(Self {
            postgres: postgres?,
            password,
            retention: retention.unwrap_or(RETENTION),
        })
    }
}

/// Without the user, which is never part of it.
impl fmt::Display for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        let ports = self.server.get_ports();
        for (at, host) in self.server.get_hosts().iter().enumerate() {
            let port = ports.get(at).or(ports.first()).copied().unwrap_or(5432);
            let separator = if at == 0 { "" } else { "," };
            match host {
                Host::Tcp(host) if host.contains(':') => write!(f, "{separator}[{host}]:{port}")?,
                Host::Tcp(host) => write!(f, "{separator}{host}:{port}")?,
                Host::Unix(path) => write!(f, "{separator}{}:{port}", path.display())?,
            }
        }
        write!(f, "/{}", self.server.get_dbname().unwrap_or_default())
    }
}

/// How `sslmode` reads.
enum Secured {
    Never,
    Always,
    /// Not written: only what stays on this machine goes in clear.
    ByPlace,
}

/// What is written here may have a password in it: it is not repeated.
fn postgres(node: &Node) -> Result<Postgres, String> {
    let given = value::text(node)?;
    let (location, query) = given.split_once('?').unwrap_or((&given, ""));
    if !location.starts_with("postgres://") && !location.starts_with("postgresql://") {
        return Err(EXPECTED.to_owned());
    }
    let (secured, kept) = parameters(query)?;
    let parsed = match kept.as_slice() {
        [] => location.parse::<Server>(),
        kept => format!("{location}?{}", kept.join("&")).parse(),
    };
    let mut server = parsed.map_err(|_| EXPECTED.to_owned())?;
    if server.get_password().is_some() {
        return Err(
            "has a password in it: keep it as a secret and write password = \"secret:NAME\""
                .to_owned(),
        );
    }
    for (missing, what) in [
        (server.get_user().is_none_or(str::is_empty), "user"),
        (server.get_hosts().is_empty(), "host"),
        (server.get_dbname().is_none_or(str::is_empty), "database"),
    ] {
        if missing {
            return Err(format!("names no {what}: {EXPECTED}"));
        }
    }
    let tls = match secured {
        Secured::Always => true,
        Secured::Never => false,
        Secured::ByPlace => !server.get_hosts().iter().all(is_here),
    };
    server.ssl_mode(if tls {
        SslMode::Require
    } else {
        SslMode::Disable
    });
    Ok(Postgres {
        server,
        tls: tls.then(Tls::default),
    })
}

/// How TLS is asked for, and the parameters that the library is to read.
fn parameters(query: &str) -> Result<(Secured, Vec<&str>), String> {
    let (mut secured, mut kept) = (Secured::ByPlace, Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=').unwrap_or((pair, "")) {
            ("sslmode", "disable") => secured = Secured::Never,
            ("sslmode", "require" | "verify-full") => secured = Secured::Always,
            ("sslmode", _) => {
                return Err(
                    "sslmode must be disable or verify-full: others do not check whom they speak to"
                        .to_owned(),
                );
            }
            ("host" | "port" | "target_session_attrs", _) => kept.push(pair),
            ("password" | "passfile", _) => {
                return Err(
                    "has a password in it: keep it as a secret and write password = \"secret:NAME\""
                        .to_owned(),
                );
            }
            _ => {
                return Err(
                    "may have sslmode, host, port and target_session_attrs after the question mark"
                        .to_owned(),
                );
            }
        }
    }
    Ok((secured, kept))
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(host) => host
            .parse::<std::net::IpAddr>()
            .map_or(host == "localhost", |ip| ip.is_loopback()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::Config;

    fn parsed(lines: &str) -> Result<Option<HistoryConfig>, String> {
        let secret = "[secret.postgres]\nfrom = \"env\"\nname = \"P\"";
        let text = format!("[history]\n{lines}\n{secret}");
        let config = Config::parse(&text, std::iter::empty());
        config
            .map(|config| config.history)
            .map_err(|faults| faults.to_string())
    }

    fn server(url: &str) -> Postgres {
        let parsed = parsed(&format!("url = {url:?}")).unwrap();
        parsed.unwrap().postgres
    }

    #[test]
    fn without_the_section_there_is_no_history() {
        let config = Config::parse("", std::iter::empty()).unwrap();
        assert_eq!(config.history, None);
    }

    #[test]
    fn by_the_environment_alone_there_is_one() {
        let url = ("PORTCULLIS__HISTORY__URL", "postgres://p@db/history");
        let variables = [(url.0.to_owned(), url.1.to_owned())].into_iter();
        let config = Config::parse("", variables).unwrap();
        let history = config.history.unwrap();
        assert_eq!(history.postgres.to_string(), "postgres://db:5432/history");
        assert_eq!(history.retention, RETENTION);
    }

    #[test]
    fn what_leaves_the_machine_is_secured_unless_it_is_said_otherwise() {
        for (url, secured) in [
            ("postgres://p@127.0.0.1:5433/history", false),
            ("postgresql://p@localhost/history", false),
            ("postgres://p@/history?host=/run/postgresql", false),
            ("postgres://p@127.0.0.1/history?sslmode=verify-full", true),
            ("postgres://p@db.example/history", true),
            ("postgres://p@[::1]:5433,db.example:5434/history", true),
            ("postgres://p@db.example/history?sslmode=require", true),
            ("postgres://p@db.example/history?sslmode=disable", false),
        ] {
            assert_eq!(server(url).tls.is_some(), secured, "{url}");
        }
        let ca = parsed("url = \"postgres://p@db/history\"\nca = \"/ca.pem\"");
        let tls = ca.unwrap().unwrap().postgres.tls.unwrap();
        assert_eq!(tls.ca, Some(PathBuf::from("/ca.pem")));
    }

    #[test]
    fn a_place_is_shown_without_its_user() {
        for (url, shown) in [
            ("postgres://p@db:5433/history", "postgres://db:5433/history"),
            (
                "postgres://p@a:1,b:2/h?target_session_attrs=read-write",
                "postgres://a:1,b:2/h",
            ),
            (
                "postgres://p@[2001:db8::1]/h",
                "postgres://[2001:db8::1]:5432/h",
            ),
            ("postgres://p@/h?host=/run/p", "postgres:///run/p:5432/h"),
        ] {
            assert_eq!(server(url).to_string(), shown, "{url}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_and_no_password_is_repeated() {
        for (lines, why) in [
            ("retention = \"1d\"", "is missing: write url"),
            ("url = \"mysql://p@db/history\"", "must be postgres://"),
            ("url = \"postgres://db/history\"", "names no user"),
            ("url = \"postgres://p@/history\"", "names no host"),
            ("url = \"postgres://p@db\"", "names no database"),
            (
                "url = \"postgres://p:hunter2@db/h\"",
                "has a password in it",
            ),
            (
                "url = \"postgres://p@db/h?password=hunter2\"",
                "has a password",
            ),
            (
                "url = \"postgres://p@db:x/h?a=hunter2\"",
                "after the question mark",
            ),
            ("url = \"postgres://p@db/h?sslmode=prefer\"", "do not check"),
            (
                "url = \"postgres://p@localhost/h\"\nca = \"/ca\"",
                "is for TLS only",
            ),
            (
                "url = \"postgres://p@db/h\"\npassword = \"hunter2\"",
                "must refer to a secret",
            ),
            (
                "url = \"postgres://p@db/h\"\nretention = \"1h\"",
                "must be from 1d to 730d",
            ),
            (
                "url = \"postgres://p@db/h\"\nretain = \"1d\"",
                "is not a key here",
            ),
        ] {
            let faults = parsed(lines).unwrap_err();
            assert!(faults.contains(why), "{lines}: {faults}");
            assert!(!faults.contains("hunter2"), "{faults}");
        }
    }
}
