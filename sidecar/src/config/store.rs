//! `[store]`: where decisions, quota and verdicts are kept.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;

use super::secret::SecretName;
use super::section::Section;
use super::tree::Node;
use super::value;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// The directory of the embedded store or of the copy of what is in Redis, of the feeds' last good
    /// copies and of the admin token.
    pub path: PathBuf,
    pub backend: Backend,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    Embedded,
    Redis(RedisConfig),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisConfig {
    pub server: RedisServer,
    pub database: u32,
    /// The user of Redis' access control list; without one a password is the default user's.
    pub username: Option<String>,
    pub password: Option<SecretName>,
    /// Every key begins with it: sidecars with the same one share everything, others nothing.
    pub namespace: String,
    /// How long a command may take.
    pub timeout: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisServer {
    Tcp {
        host: String,
        port: u16,
        tls: Option<Tls>,
    },
    Unix(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// The certificate authorities to trust, as PEM; without it the system's.
    pub ca: Option<PathBuf>,
}

const PORT: u16 = 6379;
const MOST_DATABASES: u32 = 16_384;
/// Short, because it stands in a million keys: with up to three letters a verdict takes 16 octets less.
const NAMESPACE: &str = "pc";
const TIMEOUT: Duration = Duration::from_millis(250);
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(5)..=Duration::from_secs(10);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Embedded,
    Redis,
}

const KINDS: [(&str, Kind); 2] = [("embedded", Kind::Embedded), ("redis", Kind::Redis)];
const OF_REDIS: [&str; 6] = ["url", "username", "password", "ca", "namespace", "timeout"];

impl StoreConfig {
    pub(super) fn validate(mut section: Section<'_>) -> Self {
        let kind = section.get("kind", value::one_of(&KINDS));
        let backend = match kind {
            Some(Kind::Redis) => RedisConfig::validate(&mut section).map(Backend::Redis),
            _ => {
                for key in OF_REDIS {
                    section.refuse(
                        key,
                        "belongs to Redis: write kind = \"redis\", or remove it",
                    );
                }
                None
            }
        };
        let path = section.get("path", value::path);
        section.finish();
        Self {
            path: path.unwrap_or_else(|| PathBuf::from("/var/lib/portcullis")),
            backend: backend.unwrap_or(Backend::Embedded),
        }
    }
}

impl RedisConfig {
    /// Takes every key before it gives up, so that all faults are found together.
    fn validate(section: &mut Section<'_>) -> Option<Self> {
        let location = section.require("url", "url = \"redis://HOST:6379\"", location);
        let username = section.get("username", value::text);
        let password = section.secret("password");
        let ca = section.get("ca", value::path);
        let namespace = section.get("namespace", value::name);
        let timeout = section.get("timeout", value::duration(TIMEOUTS));
        if username.is_some() && !section.has("password") {
            section.fault(
                "username",
                "has no password: write password = \"secret:NAME\" and add [secret.NAME]",
            );
        }
        let (mut server, database) = location?;
        match (&mut server, ca) {
            (RedisServer::Tcp { tls: Some(tls), .. }, ca) => tls.ca = ca,
            (_, Some(_)) => section.fault(
                "ca",
                "is for TLS only: write url = \"rediss://...\", or remove it",
            ),
            (_, None) => {}
        }
        Some(Self {
            server,
            database,
            username,
            password,
            namespace: namespace.unwrap_or_else(|| NAMESPACE.to_owned()),
            timeout: timeout.unwrap_or(TIMEOUT),
        })
    }
}

/// Without user and password, which are never part of it.
impl fmt::Display for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.server {
            RedisServer::Unix(path) => write!(f, "unix:{}", path.display()),
            RedisServer::Tcp { host, port, tls } => {
                let scheme = if tls.is_some() { "rediss" } else { "redis" };
                let database = self.database;
                if host.contains(':') {
                    write!(f, "{scheme}://[{host}]:{port}/{database}")
                } else {
                    write!(f, "{scheme}://{host}:{port}/{database}")
                }
            }
        }
    }
}

/// `redis://` or `rediss://` with a host, or `unix:` with a path; and the number of the database.
fn location(node: &Node) -> Result<(RedisServer, u32), String> {
    let given = value::text(node)?;
    if let Some(path) = given.strip_prefix("unix:") {
        return if path.starts_with('/') {
            Ok((RedisServer::Unix(PathBuf::from(path)), 0))
        } else {
            Err("must have an absolute path: write \"unix:/run/redis/redis.sock\"".to_owned())
        };
    }
    // What is written here may have a password in it: it is not repeated.
    let expected = "must be redis://HOST:PORT, rediss://HOST:PORT for TLS, or unix:/PATH";
    let uri: Uri = given.parse().map_err(|_| expected.to_owned())?;
    let authority = uri.authority().ok_or_else(|| expected.to_owned())?;
    if authority.as_str().contains('@') {
        return Err(
            "has a user or a password in it: write the user in username, keep the \
            password as a secret and name it in password"
                .to_owned(),
        );
    }
    let tls = match uri.scheme_str() {
        Some("redis") => None,
        Some("rediss") => Some(Tls::default()),
        _ => return Err(expected.to_owned()),
    };
    if uri.query().is_some() {
        return Err("must have nothing after a question mark".to_owned());
    }
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    let server = RedisServer::Tcp {
        host: host.to_owned(),
        port: authority.port_u16().unwrap_or(PORT),
        tls,
    };
    Ok((server, database(uri.path())?))
}

fn database(path: &str) -> Result<u32, String> {
    let number = path.trim_matches('/');
    if number.is_empty() {
        return Ok(0);
    }
    let number = number
        .parse()
        .ok()
        .filter(|number| *number < MOST_DATABASES);
    number
        .ok_or_else(|| "must end with the number of a database, such as /0, or nothing".to_owned())
}
