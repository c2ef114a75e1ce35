//! Envoy, the real one, with the shipped configuration and the changes that a test names.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::child::Child;
use crate::client::{Connection, Request, Response};
use crate::config::{EdgeConfig, Endpoint, merge};
use crate::error::KitError;
use crate::sidecar::Addresses;
use crate::{parts, prometheus};

/// Compiling the plugin takes most of it, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(40);
/// So many connections reach every one of two workers, but once in 2^15 runs.
pub const CONNECTIONS: usize = 16;
/// Where a worker says, to this machine only, whether it has a snapshot.
pub const READY: &str = "/.portcullis/ready";
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub struct EnvoyBuilder {
    pub config: EdgeConfig,
    binary: PathBuf,
    concurrency: u32,
    prefix: Vec<String>,
}

/// A running Envoy.
pub struct Envoy {
    child: Child,
    admin: SocketAddr,
    edge: Option<SocketAddr>,
    folder: TempDir,
}

impl Envoy {
    /// The shipped configuration, enforcing, behind one trusted proxy (so that requests can say for
    /// which client they come), on ports of the system's choice, with one worker.
    pub fn builder() -> Result<EnvoyBuilder, KitError> {
        let mut config = EdgeConfig::shipped()?;
        config.set_mode("enforce")?;
        config.set_hops(1)?;
        config.on_any_port()?;
        config.set_wasm(&parts::wasm()?)?;
        Ok(Self::with(config, &parts::envoy()?).quick_stats())
    }

    /// Exactly `config`, in this binary.
    pub fn with(config: EdgeConfig, binary: &Path) -> EnvoyBuilder {
        EnvoyBuilder {
            config,
            binary: binary.to_path_buf(),
            concurrency: 1,
            prefix: Vec::new(),
        }
    }

    /// Where clients connect.
    pub fn edge(&self) -> SocketAddr {
        self.edge.unwrap_or(ANY_PORT)
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

impl EnvoyBuilder {
    pub fn concurrency(mut self, workers: u32) -> Self {
        self.concurrency = workers;
        self
    }

    /// Runs Envoy behind another command, such as `taskset -c 0`.
    pub fn behind(mut self, command: &[&str]) -> Self {
        self.prefix = command.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Lays `changes` over the plugin's settings.
    pub fn plugin(mut self, changes: Value) -> Result<Self, KitError> {
        merge(self.config.plugin_settings()?, changes);
        Ok(self)
    }

    pub fn upstream(mut self, address: SocketAddr) -> Result<Self, KitError> {
        self.config
            .set_cluster("upstream", &Endpoint::Tcp(address), None)?;
        Ok(self)
    }

    /// Points both sidecar clusters at one sidecar.
    pub fn sidecar(mut self, addresses: &Addresses) -> Result<Self, KitError> {
        for cluster in ["portcullis", "portcullis_poll"] {
            self.config
                .set_cluster(cluster, &addresses.edge, addresses.probes)?;
        }
        Ok(self)
    }

    /// Any other change.
    pub fn change(
        mut self,
        change: impl FnOnce(&mut EdgeConfig) -> Result<(), KitError>,
    ) -> Result<Self, KitError> {
        change(&mut self.config)?;
        Ok(self)
    }

    /// Histograms appear at the next flush, which is five seconds away by default.
    fn quick_stats(mut self) -> Self {
        if let Ok(root) = self.config.at("") {
            crate::config::insert(root, "stats_flush_interval", "0.1s".into());
        }
        self
    }

    /// Starts Envoy and waits until it takes requests.
    pub async fn start(self) -> Result<Envoy, KitError> {
        self.start_in(&std::env::temp_dir()).await
    }

    /// As [`Self::start`], with its files in a new folder inside `parent`.
    pub async fn start_in(self, parent: &Path) -> Result<Envoy, KitError> {
        let folder = tempfile::Builder::new().prefix("envoy-").tempdir_in(parent);
        let folder = folder.map_err(KitError::io("cannot make a folder"))?;
        let config = folder.path().join("envoy.json");
        std::fs::write(&config, self.config.value().to_string())
            .map_err(KitError::io("cannot write Envoy's configuration"))?;
        let admin_file = folder.path().join("admin");
        let mut command = self.command(&config, &admin_file);
        let mut child = Child::spawn("envoy", &mut command, folder.path())?;
        let wanted = "its admin port says where";
        let read_admin = || {
            std::fs::read_to_string(&admin_file)
                .ok()?
                .trim()
                .parse()
                .ok()
        };
        child
            .wait_until(wanted, START_LIMIT, |_| read_admin().is_some())
            .await?;
        let admin = read_admin().unwrap_or(ANY_PORT);
        let mut envoy = Envoy {
            child,
            admin,
            edge: None,
            folder,
        };
        envoy.until_live().await?;
        Ok(envoy)
    }

    fn command(&self, config: &Path, admin_file: &Path) -> Command {
        let mut words = self
            .prefix
            .iter()
            .map(Into::into)
            .chain([self.binary.clone()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command
            .args(words)
            .args([
                "--use-dynamic-base-id",
                "--component-log-level",
                "main:warn",
                "--file-flush-interval-msec",
                "50",
            ])
            .args(["--concurrency", &self.concurrency.to_string(), "-c"])
            .arg(config)
            .arg("--admin-address-path")
            .arg(admin_file);
        command
    }
}

impl Envoy {
    async fn until_live(&mut self) -> Result<(), KitError> {
        let end = tokio::time::Instant::now() + START_LIMIT;
        loop {
            let live = Request::get("/ready").send(self.admin).await;
            if live.is_ok_and(|response| response.status == 200) {
                self.edge = self.listener("edge").await;
                if self.edge.is_some() {
                    return Ok(());
                }
            }
            let (part, log) = ("Envoy".to_owned(), self.child.log_tail());
            if self.child.has_ended() {
                return Err(KitError::Died { part, log });
            }
            if tokio::time::Instant::now() >= end {
                let (seconds, wanted) = (START_LIMIT.as_secs(), "it is live and listens");
                return Err(KitError::NotReady {
                    part,
                    seconds,
                    wanted,
                    log,
                });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Where a listener of this name is, once it listens.
    pub async fn listener(&self, name: &str) -> Option<SocketAddr> {
        let answer = Request::get("/listeners?format=json")
            .send(self.admin)
            .await;
        let answer = answer.ok()?.json();
        let listeners = answer.get("listener_statuses")?.as_array()?;
        let found = listeners.iter().find(|listener| listener["name"] == name)?;
        // A listener on a Unix socket has no port; whoever configured it knows its path.
        let Some(socket) = found.pointer("/local_address/socket_address") else {
            return Some(ANY_PORT);
        };
        let port = u16::try_from(socket.get("port_value")?.as_u64()?).ok()?;
        let address = socket.get("address")?.as_str()?.parse().ok()?;
        Some(SocketAddr::new(address, port))
    }
}
