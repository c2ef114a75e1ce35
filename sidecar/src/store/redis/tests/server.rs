//! A real Redis for one test, behind a socket file in a directory of its own.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, FromRedisValue, RedisConnectionInfo, Value};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::super::RedisStore;
use crate::clock::{Clock, ManualClock};
use crate::config::store::{RedisConfig, RedisServer};
use crate::secrets::Secrets;
use crate::store::suite::CREATED;

/// No wait in a test is longer.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Server {
    child: Option<Child>,
    directory: TempDir,
    arguments: Vec<String>,
}

impl Server {
    /// Starts with these options, such as `--maxmemory 20mb`. It writes nothing to disk unless told.
    pub async fn start(options: &str) -> Self {
        let mut server = Self {
            child: None,
            directory: tempfile::tempdir().unwrap(),
            arguments: options.split_whitespace().map(str::to_owned).collect(),
        };
        server.restart().await;
        server
    }

    /// Starts it again in the same directory.
    pub async fn restart(&mut self) {
        self.kill();
        let binary = std::env::var_os("PORTCULLIS_REDIS").unwrap_or_else(|| "redis-server".into());
        let mut command = Command::new(&binary);
        command
            .args(["--port", "0", "--save", "", "--daemonize", "no"])
            .arg("--dir")
            .arg(self.directory.path())
            .arg("--unixsocket")
            .arg(self.socket())
            .args(&self.arguments)
            .stdout(Stdio::null())
            .process_group(0);
        let spawned = command.spawn();
        self.child = Some(spawned.unwrap_or_else(|error| {
            panic!(
                "{binary:?} does not start ({error}): install it with apt-get install redis-server"
            )
        }));
        let begun = Instant::now();
        while self.try_command::<Value>(&["PING"]).await.is_none() {
            assert!(begun.elapsed() < PATIENCE, "redis-server does not answer");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
            let _never_bound = std::fs::remove_file(self.socket());
        }
    }

    /// Stops it in the middle of whatever it does, or lets it go on.
    pub fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    pub async fn command<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let answer = self.try_command(words).await;
        answer.unwrap_or_else(|| panic!("{words:?} failed"))
    }

    async fn try_command<T: FromRedisValue>(&self, words: &[&str]) -> Option<T> {
        let mut client = self.client().await?;
        let (name, arguments) = words.split_first().unwrap();
        redis::cmd(name)
            .arg(arguments)
            .query_async(&mut client)
            .await
            .ok()
    }

    /// A connection of the test's own.
    pub async fn client(&self) -> Option<MultiplexedConnection> {
        let stream = tokio::net::UnixStream::connect(self.socket()).await.ok()?;
        let info = RedisConnectionInfo::default();
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
        let opened = MultiplexedConnection::new_with_config(&info, stream, config);
        let (client, driver) = opened.await.ok()?;
        tokio::spawn(driver);
        Some(client)
    }

    pub fn config(&self) -> RedisConfig {
        RedisConfig {
            server: RedisServer::Unix(self.socket()),
            database: 0,
            username: None,
            password: None,
            namespace: "pc".to_owned(),
            // The machine that runs tests is busy.
            timeout: Duration::from_secs(2),
        }
    }

    /// A store on this server with its copy in `directory`.
    pub async fn open(&self, directory: &Path) -> RedisStore {
        open(&self.config(), directory).await
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

pub async fn open(config: &RedisConfig, directory: &Path) -> RedisStore {
    open_at(config, directory, Arc::new(ManualClock::at(CREATED))).await
}

pub async fn open_at(config: &RedisConfig, directory: &Path, clock: Arc<dyn Clock>) -> RedisStore {
    let secrets = Arc::new(Secrets::new(Default::default()));
    let opened = RedisStore::open(config, directory, &secrets, &clock).await;
    opened.unwrap()
}

/// Waits until `done` holds.
pub async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !done().await {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
