//! Envoy, the real one, with the shipped configuration and the changes that a test names.

mod builder;
mod listeners;
mod push;
mod validate;
mod version;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::child::Child;
use crate::client::{Connection, Request, Response};
use crate::config::Plugin;
use crate::error::KitError;
use crate::{process, prometheus};

pub use builder::EnvoyBuilder;
use listeners::{ANY_PORT, Listeners};
pub use validate::validate;
pub use version::knows_masks;

/// Compiling the plugin takes most of it, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(40);
/// So many connections reach every one of two workers, but once in 2^15 runs.
pub const CONNECTIONS: usize = 16;
/// Where a worker says, to this machine only, whether it has a snapshot.
pub const READY: &str = "/.portcullis/ready";

/// A running Envoy.
pub struct Envoy {
    child: Child,
    admin: SocketAddr,
    addresses: Listeners,
    plugin: Mutex<Plugin>,
    folder: TempDir,
}

impl Envoy {
    /// Where clients connect.
    pub fn edge(&self) -> SocketAddr {
        self.addresses.edge.unwrap_or(ANY_PORT)
    }

    /// Where the reputation API is.
    pub fn api_address(&self) -> SocketAddr {
        self.addresses.reputation_api.unwrap_or(ANY_PORT)
    }

    /// Where only statistics are.
    pub fn stats_address(&self) -> SocketAddr {
        self.addresses.stats.unwrap_or(ANY_PORT)
    }

    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a request on a connection of its own.
    pub async fn send(&self, request: &Request) -> Result<Response, KitError> {
        request.send(self.edge()).await
    }

    /// The status of `GET /` for a client at `address`.
    pub async fn status_for(&self, address: &str) -> u16 {
        let answer = self.send(&Request::get("/").from_client(address)).await;
        answer.map_or(0, |response| response.status)
    }

    /// Waits until every worker has a snapshot, which its readiness path says. A refusal would not do:
    /// before the first snapshot the sidecar is asked about everybody.
    pub async fn until_snapshot(&self, limit: Duration) -> Result<bool, KitError> {
        let end = tokio::time::Instant::now() + limit;
        let ready = Value::from("ready");
        for _ in 0..CONNECTIONS {
            let mut connection = self.connect().await?;
            while connection
                .send(&Request::get(READY))
                .await?
                .json()
                .get("status")
                != Some(&ready)
            {
                if tokio::time::Instant::now() >= end {
                    return Ok(false);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        Ok(true)
    }

    pub async fn connect(&self) -> Result<Connection, KitError> {
        Connection::open(self.edge()).await
    }

    /// `/stats/prometheus` as it is now.
    pub async fn metrics(&self) -> String {
        let answer = Request::get("/stats/prometheus").send(self.admin).await;
        answer.map(|response| response.text()).unwrap_or_default()
    }

    /// The sum of one metric over all labels that are not named.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        prometheus::sum(&self.metrics().await, name, labels)
    }

    /// One statistic under Envoy's own name.
    pub async fn stat(&self, name: &str) -> u64 {
        let answer = Request::get(&format!("/stats?filter=^{name}$"))
            .send(self.admin)
            .await;
        let text = answer.map(|response| response.text()).unwrap_or_default();
        text.rsplit_once(": ")
            .and_then(|(_, value)| value.trim().parse().ok())
            .unwrap_or(0)
    }

    pub fn access_log_file(&self) -> PathBuf {
        self.folder.path().join("envoy.out")
    }

    pub fn access_log(&self) -> Vec<Value> {
        let text = self.child.stdout();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    pub fn log(&self) -> String {
        self.child.stderr()
    }

    pub fn is_alive(&mut self) -> bool {
        !self.child.has_ended()
    }

    /// Its memory in bytes, as far as it is resident.
    pub fn memory(&self) -> u64 {
        process::resident(self.child.id())
    }

    /// CPU time that all its threads have used, in nanoseconds.
    pub fn cpu_nanos(&self) -> u64 {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id()));
        let threads = threads.into_iter().flatten().flatten();
        let used = threads.filter_map(|thread| {
            let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        used.sum()
    }
}
