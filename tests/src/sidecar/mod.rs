//! The sidecar, the real one, with a store of its own, and its command line.

mod builder;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use tempfile::TempDir;

use crate::child::{Child, Signal};
use crate::client::{Request, Response};
use crate::config::Endpoint;
use crate::error::KitError;
use crate::process;

pub use builder::SidecarBuilder;

const START_LIMIT: Duration = Duration::from_secs(20);

/// What Envoy needs to know of a sidecar.
#[derive(Debug, Clone)]
pub struct Addresses {
    pub edge: Endpoint,
    /// Where probes are answered, if elsewhere.
    pub probes: Option<SocketAddr>,
}

/// Where it listens on loopback.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    pub edge: u16,
    pub admin: u16,
    pub metrics: u16,
}

pub struct Sidecar {
    child: Option<Child>,
    folder: TempDir,
    binary: PathBuf,
    edge: Endpoint,
    ports: Ports,
    environment: Vec<(String, String)>,
}

impl Sidecar {
    pub fn addresses(&self) -> Addresses {
        Addresses {
            edge: self.edge.clone(),
            probes: Some(self.metrics()),
        }
    }

    /// The edge API's port.
    pub fn edge(&self) -> SocketAddr {
        loopback(self.ports.edge)
    }

    pub fn admin(&self) -> SocketAddr {
        loopback(self.ports.admin)
    }

    pub fn metrics(&self) -> SocketAddr {
        loopback(self.ports.metrics)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join("portcullis.toml")
    }

    /// The configuration's text as it is now.
    pub fn config(&self) -> String {
        std::fs::read_to_string(self.config_file()).unwrap_or_default()
    }

    /// Replaces the configuration file while the sidecar runs, as a careful editor does.
    pub fn rewrite(&self, toml: &str) -> Result<(), KitError> {
        let fresh = self.folder.path().join("portcullis.new");
        std::fs::write(&fresh, toml)
            .and_then(|()| std::fs::rename(&fresh, self.config_file()))
            .map_err(KitError::io("cannot rewrite the sidecar's configuration"))
    }

    /// Writes the file of a hard source; returns its section of the configuration.
    pub fn block_list(&self, name: &str, lines: &[&str]) -> Result<String, KitError> {
        let content = lines.join("\n");
        builder::list_in(self.folder.path(), name, "block = true", "plain", &content)
    }

    /// The administrator's token, which the sidecar made at its first start.
    pub fn token(&self) -> String {
        let path = self.folder.path().join("store/admin.token");
        std::fs::read_to_string(path)
            .unwrap_or_default()
            .trim()
            .to_owned()
    }

    /// Runs the command line against this sidecar.
    pub async fn cli(&self, arguments: &[&str]) -> Result<Output, KitError> {
        let mut command = tokio::process::Command::new(&self.binary);
        command
            .args(arguments)
            .args(["--admin", &format!("http://{}", self.admin())])
            .env("PORTCULLIS_TOKEN", self.token());
        command
            .output()
            .await
            .map_err(KitError::io("cannot run portcullis"))
    }

    /// A request to the admin API, with the token.
    pub async fn ask_admin(&self, request: Request) -> Result<Response, KitError> {
        let token = format!("Bearer {}", self.token());
        request
            .header("authorization", token)
            .send(self.admin())
            .await
    }

    /// The sum of one of the sidecar's metrics.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let answer = Request::get("/metrics").send(self.metrics()).await;
        let text = answer.map(|response| response.text()).unwrap_or_default();
        crate::prometheus::sum(&text, name, labels)
    }

    /// Everything it has logged, also before a restart.
    pub fn log(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.folder.path().join(name));
        [read("sidecar.out"), read("sidecar.err")]
            .into_iter()
            .flatten()
            .collect()
    }

    /// The process that runs now; none while it is down.
    pub fn process_id(&mut self) -> Option<u32> {
        let child = self.child.as_mut()?;
        (!child.has_ended()).then(|| child.id())
    }

    /// Its memory in bytes, as far as it is resident.
    pub fn memory(&self) -> u64 {
        self.child
            .as_ref()
            .map_or(0, |child| process::resident(child.id()))
    }

    /// The most of it that was resident at any time.
    pub fn peak_memory(&self) -> u64 {
        self.child
            .as_ref()
            .map_or(0, |child| process::most_resident(child.id()))
    }

    /// How many files and sockets it has open.
    pub fn open_files(&self) -> usize {
        self.child
            .as_ref()
            .map_or(0, |child| process::open_files(child.id()))
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

    /// Asks it to end and waits for it; whether it ended well.
    pub fn terminate(&mut self) -> bool {
        let ended = self
            .child
            .take()
            .and_then(|mut child| child.end_by(Signal::Terminate));
        ended.is_some_and(|status| status.success())
    }

    /// Starts it again on the same store and ports.
    pub async fn restart(&mut self) -> Result<(), KitError> {
        self.kill();
        self.launch().await
    }

    /// Ends it and starts another build on the same store and ports.
    pub async fn exchange(&mut self, binary: &Path) -> Result<(), KitError> {
        self.terminate();
        self.binary = binary.to_path_buf();
        self.launch().await
    }

    async fn launch(&mut self) -> Result<(), KitError> {
        let mut command = Command::new(&self.binary);
        command.args(["serve", "--config"]).arg(self.config_file());
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        let mut child = Child::spawn("sidecar", &mut command, self.folder.path())?;
        let metrics = self.metrics();
        let wanted = "its ports answer";
        let answers = async |_: &Child| {
            std::net::TcpStream::connect_timeout(&metrics, Duration::from_millis(200)).is_ok()
        };
        child.wait_until(wanted, START_LIMIT, answers).await?;
        self.child = Some(child);
        self.until_ready().await
    }

    async fn until_ready(&mut self) -> Result<(), KitError> {
        let metrics = self.metrics();
        let ready = crate::eventually_async(START_LIMIT, || async move {
            let answer = Request::get("/readyz").send(metrics).await;
            answer.is_ok_and(|response| response.status == 200)
        });
        if ready.await {
            return Ok(());
        }
        Err(KitError::NotReady {
            part: "sidecar".to_owned(),
            seconds: START_LIMIT.as_secs(),
            wanted: "/readyz says so",
            log: self.child.as_ref().map(Child::log_tail).unwrap_or_default(),
        })
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
