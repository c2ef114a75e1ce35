//! What is changed in the shipped configuration before Envoy starts, and the start itself.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use serde_json::Value;

use super::listeners::{ANY_PORT, Listeners};
use super::version::knows_masks;
use super::{Envoy, START_LIMIT};
use crate::child::Child;
use crate::client::Request;
use crate::config::{EdgeConfig, Endpoint, insert, merge};
use crate::error::KitError;
use crate::parts;
use crate::sidecar::Addresses;

/// The listener where clients connect, as shipped.
const EDGE: &str = "edge";

pub struct EnvoyBuilder {
    pub config: EdgeConfig,
    binary: PathBuf,
    concurrency: u32,
    prefix: Vec<String>,
    edge: String,
    arguments: Vec<String>,
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
            edge: EDGE.to_owned(),
            arguments: Vec::new(),
        }
    }

    async fn until_live(&mut self, edge: &str) -> Result<(), KitError> {
        let admin = self.admin;
        let live = async |_: &Child| {
            let ready = Request::get("/ready").send(admin).await;
            ready.is_ok_and(|response| response.status == 200)
                && Listeners::of(admin, edge).await.edge.is_some()
        };
        let wanted = "it is live and listens";
        self.child.wait_until(wanted, START_LIMIT, live).await?;
        self.addresses = Listeners::of(admin, edge).await;
        Ok(())
    }
}

impl EnvoyBuilder {
    pub fn concurrency(mut self, workers: u32) -> Self {
        self.concurrency = workers;
        self
    }

    /// The name of the listener where clients connect, in a configuration that is not the shipped one.
    pub fn edge(mut self, listener: &str) -> Self {
        listener.clone_into(&mut self.edge);
        self
    }

    /// Further words on its command line.
    pub fn arguments(mut self, words: &[&str]) -> Self {
        self.arguments
            .extend(words.iter().map(|&word| word.to_owned()));
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

    /// Points everything that asks a sidecar at one sidecar.
    pub fn sidecar(mut self, addresses: &Addresses) -> Result<Self, KitError> {
        self.config.set_sidecar(addresses)?;
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
            insert(root, "stats_flush_interval", "0.1s".into());
        }
        self
    }

    /// Starts Envoy and waits until it takes requests.
    pub async fn start(self) -> Result<Envoy, KitError> {
        self.start_in(&std::env::temp_dir()).await
    }

    /// As [`Self::start`], with its files in a new folder inside `parent`.
    pub async fn start_in(mut self, parent: &Path) -> Result<Envoy, KitError> {
        let folder = tempfile::Builder::new().prefix("envoy-").tempdir_in(parent);
        let folder = folder.map_err(KitError::io("cannot make a folder"))?;
        if !knows_masks(&self.binary)? {
            self.config.without_masks();
        }
        let config = self.config.write(folder.path())?;
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
            .wait_until(wanted, START_LIMIT, async |_| read_admin().is_some())
            .await?;
        let admin = read_admin().unwrap_or(ANY_PORT);
        let mut envoy = Envoy {
            child,
            admin,
            addresses: Listeners::default(),
            plugin: Mutex::new(self.config.plugin().clone()),
            folder,
        };
        envoy.until_live(&self.edge).await?;
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
                // A hot restart's shared memory would stay behind on the machine, a file for each Envoy.
                "--disable-hot-restart",
                "--component-log-level",
                "main:warn",
                "--file-flush-interval-msec",
                "50",
            ])
            .args(&self.arguments)
            .args(["--concurrency", &self.concurrency.to_string(), "-c"])
            .arg(config)
            .arg("--admin-address-path")
            .arg(admin_file);
        command
    }
}
