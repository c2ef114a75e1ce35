//! How a Redis is configured, and its first start.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::Redis;
use super::client::{KIT_PASSWORD, KIT_USER};
use crate::error::KitError;
use crate::{parts, ports};

/// Somebody else may take a port between its choice and its use.
const TRIES: u32 = 5;

pub struct RedisBuilder {
    folder: TempDir,
    binary: PathBuf,
    lines: String,
    tls: bool,
}

impl Redis {
    /// Without persistence, password and limits.
    pub fn builder() -> Result<RedisBuilder, KitError> {
        Self::builder_in(&std::env::temp_dir(), &parts::redis_server()?)
    }

    /// As [`Self::builder`], with its files in a new folder inside `parent`, and this binary.
    pub fn builder_in(parent: &Path, binary: &Path) -> Result<RedisBuilder, KitError> {
        let folder = tempfile::Builder::new().prefix("redis-").tempdir_in(parent);
        Ok(RedisBuilder {
            folder: folder.map_err(KitError::io("cannot make a folder"))?,
            binary: binary.to_path_buf(),
            lines: String::new(),
            tls: false,
        })
    }

    /// One as [`Self::builder`] makes it.
    pub async fn start() -> Result<Self, KitError> {
        Self::builder()?.start().await
    }
}

impl RedisBuilder {
    /// A line of `redis.conf`; a later one wins.
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push_str(line);
        self.lines.push('\n');
        self
    }

    /// Every write is on disk before it is answered.
    pub fn append_only(self) -> Self {
        self.line("appendonly yes").line("appendfsync always")
    }

    /// Not more memory than this, and what to do about it.
    pub fn memory(self, limit: &str, policy: &str) -> Self {
        self.line(&format!("maxmemory {limit}"))
            .line(&format!("maxmemory-policy {policy}"))
    }

    /// The password of the default user.
    pub fn password(self, password: &str) -> Self {
        self.line(&format!("requirepass {password}"))
    }

    /// A user of the access control list, such as `"edge", "on >word ~pc:* &* +@all"`.
    pub fn user(self, name: &str, rules: &str) -> Self {
        self.line(&format!("user {name} {rules}"))
    }

    /// A replica of another one, which takes no writes.
    pub fn replica_of(self, leader: SocketAddr) -> Self {
        self.line(&format!("replicaof {} {}", leader.ip(), leader.port()))
            .line(&format!("masteruser {KIT_USER}"))
            .line(&format!("masterauth {KIT_PASSWORD}"))
    }

    /// Listens for TLS too, with this certificate and its key.
    pub fn tls(mut self, certificate: &Path, key: &Path) -> Self {
        self.tls = true;
        self.line(&format!("tls-cert-file {}", certificate.display()))
            .line(&format!("tls-key-file {}", key.display()))
            .line("tls-auth-clients no")
    }

    /// Starts it and waits until it answers.
    pub async fn start(self) -> Result<Redis, KitError> {
        let mut redis = self.prepare()?;
        for _ in 1..TRIES {
            match redis.restart().await {
                Err(KitError::Died { log, .. }) if log.contains("Address already in use") => {
                    redis.move_elsewhere()?;
                }
                other => return other.map(|()| redis),
            }
        }
        redis.restart().await.map(|()| redis)
    }

    /// Everything but the start: a Redis that is down.
    pub fn prepare(self) -> Result<Redis, KitError> {
        let mut redis = Redis {
            child: None,
            folder: self.folder,
            binary: self.binary,
            lines: self.lines,
            address: loopback(0),
            tls: self.tls.then_some(loopback(0)),
        };
        redis.move_elsewhere()?;
        Ok(redis)
    }
}

impl Redis {
    /// Gives it ports that are free now.
    fn move_elsewhere(&mut self) -> Result<(), KitError> {
        self.address = loopback(ports::reserve()?);
        if let Some(tls) = &mut self.tls {
            *tls = loopback(ports::reserve()?);
        }
        self.configure()
    }

    /// Adds a line to its configuration, which counts from its next start on.
    pub fn add_line(&mut self, line: &str) -> Result<(), KitError> {
        self.lines.push_str(line);
        self.lines.push('\n');
        self.configure()
    }

    fn configure(&self) -> Result<(), KitError> {
        let mut text = format!(
            "bind {}\nport {}\ndir {}\nsave \"\"\nappendonly no\n\
             repl-diskless-sync-delay 0\nuser {KIT_USER} on >{KIT_PASSWORD} ~* &* +@all\n",
            self.address.ip(),
            self.address.port(),
            self.folder().display(),
        );
        if let Some(tls) = self.tls {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "tls-port {}", tls.port());
        }
        text.push_str(&self.lines);
        std::fs::write(self.config_file(), text)
            .map_err(KitError::io("cannot write Redis's configuration"))
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
