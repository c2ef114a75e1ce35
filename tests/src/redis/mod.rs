//! Redis, the real one, on loopback and with a folder of its own; and a server that only pretends.

mod bad;
mod builder;
mod client;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::child::{Child, Signal};
use crate::error::KitError;

pub use bad::BadRedis;
pub use builder::RedisBuilder;
pub use client::{RedisClient, Reply};

const START_LIMIT: Duration = Duration::from_secs(20);

/// A Redis that ends with this value. It stays at its port and in its folder through restarts.
pub struct Redis {
    child: Option<Child>,
    folder: TempDir,
    binary: PathBuf,
    lines: String,
    address: SocketAddr,
    tls: Option<SocketAddr>,
}

impl Redis {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a client without TLS connects to.
    pub fn url(&self) -> String {
        format!("redis://{}/0", self.address)
    }

    /// What a client with TLS connects to; none without TLS.
    pub fn tls_url(&self) -> Option<String> {
        self.tls.map(|address| format!("rediss://{address}/0"))
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn config_file(&self) -> PathBuf {
        self.folder.path().join("redis.conf")
    }

    /// A connection of the test's own, as a user who may do everything.
    pub async fn connect(&self) -> Result<RedisClient, KitError> {
        RedisClient::open_as_kit(self.address).await
    }

    /// One command on a connection of its own.
    pub async fn command(&self, words: &[&str]) -> Result<Reply, KitError> {
        self.connect().await?.command(words).await
    }

    /// A number of `INFO`, such as `evicted_keys`; zero if there is none of this name.
    pub async fn info(&self, field: &str) -> Result<u64, KitError> {
        let text = self.command(&["INFO", "everything"]).await?.text();
        let mut fields = text.lines().filter_map(|line| line.split_once(':'));
        let value = fields.find(|(name, _)| *name == field);
        Ok(value
            .and_then(|(_, number)| number.trim().parse().ok())
            .unwrap_or(0))
    }

    /// All strings under keys of this pattern: values, and the fields and values of hashes.
    pub async fn contents(&self, pattern: &str) -> Result<Vec<Vec<u8>>, KitError> {
        let mut client = self.connect().await?;
        let keys = client.command(&["KEYS", pattern]).await?;
        let mut contents = Vec::new();
        for key in keys.items().iter().filter_map(Reply::bytes) {
            let kind = client.command(&[b"TYPE", key]).await?.text();
            let reply = match kind.as_str() {
                "hash" => client.command(&[b"HGETALL", key]).await?,
                _ => client.command(&[b"MGET", key]).await?,
            };
            contents.extend(
                reply
                    .items()
                    .iter()
                    .filter_map(Reply::bytes)
                    .map(<[u8]>::to_vec),
            );
        }
        Ok(contents)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("redis.out")).unwrap_or_default()
    }

    pub fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            child.signal(signal);
        }
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.end_by(Signal::Kill);
        }
    }

    /// Starts it (again), on the same folder and port.
    pub async fn restart(&mut self) -> Result<(), KitError> {
        self.kill();
        let mut command = Command::new(&self.binary);
        command.arg(self.config_file());
        let mut child = Child::spawn("redis", &mut command, self.folder.path())?;
        let address = self.address;
        let ready = async |_: &Child| answers(address).await;
        child
            .wait_until("it answers PING", START_LIMIT, ready)
            .await?;
        self.child = Some(child);
        Ok(())
    }
}

/// A Redis that still reads its files answers, but with an error.
async fn answers(address: SocketAddr) -> bool {
    let Ok(mut client) = RedisClient::open_as_kit(address).await else {
        return false;
    };
    let pong = client.command(&["PING"]).await;
    pong.is_ok_and(|reply| reply == Reply::Bytes(b"PONG".to_vec()))
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    reason = "a test that finds something else shall panic"
)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_comes_back_with_its_append_only_file_and_as_it_was_asked_for() {
        let builder = Redis::builder().unwrap().append_only();
        let builder = builder.password("word").memory("64mb", "volatile-lru");
        let mut redis = builder.start().await.unwrap();
        redis.command(&["HSET", "h", "f", "v"]).await.unwrap();
        redis.restart().await.unwrap();
        let contents = redis.contents("*").await.unwrap();
        assert_eq!(contents, [b"f".to_vec(), b"v".to_vec()]);
        assert_eq!(redis.info("maxmemory").await.unwrap(), 64 * 1024 * 1024);
        let mut stranger = RedisClient::open(redis.address()).await.unwrap();
        let refused = stranger.command(&["PING"]).await.unwrap();
        assert!(matches!(refused, Reply::Error(why) if why.contains("NOAUTH")));
        assert_eq!(redis.command(&["GET", "none"]).await.unwrap(), Reply::Nil);
    }
}
