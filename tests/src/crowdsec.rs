//! CrowdSec's Local API, the real one, with a database of its own and nobody to report to; and `cscli` for it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::child::{Child, Signal};
use crate::error::KitError;
use crate::{parts, ports};

const START_LIMIT: Duration = Duration::from_secs(30);

/// A Local API that ends with this value. It keeps its port and its database through restarts.
pub struct CrowdSec {
    child: Option<Child>,
    folder: TempDir,
    /// Where `crowdsec` and `cscli` are.
    binaries: PathBuf,
    address: SocketAddr,
    tls: Option<CrowdSecTls>,
}

/// What a Local API shows and asks for where it speaks TLS.
pub struct CrowdSecTls {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Whose certificates clients may show, and whom `cscli` trusts.
    pub authority: PathBuf,
    /// The unit that bouncers have to be of.
    pub bouncers: String,
}

impl CrowdSec {
    pub async fn start() -> Result<Self, KitError> {
        Self::start_with(None).await
    }

    pub async fn start_with(tls: Option<CrowdSecTls>) -> Result<Self, KitError> {
        let folder = tempfile::Builder::new().prefix("crowdsec-").tempdir();
        let mut crowdsec = Self {
            child: None,
            folder: folder.map_err(KitError::io("cannot make a folder"))?,
            binaries: parts::crowdsec()?,
            address: SocketAddr::from(([127, 0, 0, 1], ports::reserve()?)),
            tls,
        };
        crowdsec.write_files()?;
        crowdsec.add_machine()?;
        crowdsec.restart().await?;
        Ok(crowdsec)
    }

    /// What a bouncer is told as its url.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A new bouncer's key.
    pub fn bouncer(&self, name: &str) -> Result<String, KitError> {
        let key = format!("key-of-{name}");
        self.cscli(&["bouncers", "add", name, "-k", &key])?;
        Ok(key)
    }

    /// How `cscli` is called for this Local API.
    pub fn cscli_command(&self) -> String {
        let binary = self.binaries.join("cscli");
        format!("{} -c {}", binary.display(), self.config_file().display())
    }

    /// Runs a command that must succeed; returns what it printed.
    pub fn cscli(&self, arguments: &[&str]) -> Result<String, KitError> {
        let binary = self.binaries.join("cscli");
        let mut command = Command::new(&binary);
        command.arg("-c").arg(self.config_file()).args(arguments);
        let failed = KitError::io(format!("cannot run {}", binary.display()));
        let output = command.stdin(Stdio::null()).output().map_err(failed)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(text);
        }
        let log = String::from_utf8_lossy(&output.stderr).into_owned() + &text;
        let part = format!("cscli {}", arguments.join(" "));
        Err(KitError::Died { part, log })
    }

    /// Imports bans of these addresses, for a day.
    pub fn import(&self, addresses: impl Iterator<Item = String>) -> Result<(), KitError> {
        let mut text = "duration,scope,value,reason,type\n".to_owned();
        for address in addresses {
            text.push_str("24h,ip,");
            text.push_str(&address);
            text.push_str(",imported,ban\n");
        }
        let path = self.folder.path().join("import.csv");
        std::fs::write(&path, text).map_err(KitError::io("cannot write the import"))?;
        let path = path.display().to_string();
        self.cscli(&["decisions", "import", "-i", &path]).map(drop)
    }

    pub fn log(&self) -> String {
        self.child.as_ref().map(Child::log_tail).unwrap_or_default()
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.end_by(Signal::Kill);
        }
    }

    /// Starts it (again), on the same database and port.
    pub async fn restart(&mut self) -> Result<(), KitError> {
        self.kill();
        let mut command = Command::new(self.binaries.join("crowdsec"));
        command.arg("-c").arg(self.config_file()).arg("-no-cs");
        let mut child = Child::spawn("crowdsec", &mut command, self.folder.path())?;
        let address = self.address;
        let listens = async |_: &Child| tokio::net::TcpStream::connect(address).await.is_ok();
        child
            .wait_until("its Local API listens", START_LIMIT, listens)
            .await?;
        self.child = Some(child);
        Ok(())
    }

    /// What `cscli` speaks to the Local API as.
    fn add_machine(&self) -> Result<(), KitError> {
        let path = self.folder.path().join("credentials.yaml");
        let file = path.display().to_string();
        let url = self.url();
        let add = ["machines", "add", "kit", "-p", "kit-password", "-f"];
        self.cscli(&[&add[..], &[&file, "-u", &url]].concat())?;
        let Some(tls) = &self.tls else {
            return Ok(());
        };
        let failed = "cannot write credentials.yaml";
        let written = std::fs::read_to_string(&path).map_err(KitError::io(failed))?;
        let trusting = format!("{written}\nca_cert_path: {}\n", tls.authority.display());
        std::fs::write(&path, trusting).map_err(KitError::io(failed))
    }

    fn config_file(&self) -> PathBuf {
        self.folder.path().join("config.yaml")
    }

    fn write_files(&self) -> Result<(), KitError> {
        let folder = self.folder.path();
        let write = |name: &str, text: &str| {
            std::fs::write(folder.join(name), text)
                .map_err(KitError::io(format!("cannot write {name}")))
        };
        for name in ["data", "hub"] {
            std::fs::create_dir(folder.join(name)).map_err(KitError::io("cannot make a folder"))?;
        }
        write("hub/.index.json", "{}")?;
        write("simulation.yaml", "simulation: false\n")?;
        write("profiles.yaml", PROFILES)?;
        write(
            "config.yaml",
            &config(folder, self.address, self.tls.as_ref()),
        )
    }
}

const PROFILES: &str = "name: default\nfilters:\n - Alert.Remediation == true\n\
                        decisions:\n - type: ban\n   duration: 4h\non_success: break\n";

/// Without `online_client` it tells nobody anything.
fn config(folder: &Path, address: SocketAddr, tls: Option<&CrowdSecTls>) -> String {
    let folder = folder.display();
    let tls = tls.map_or_else(String::new, |tls| {
        let [certificate, key, authority] =
            [&tls.certificate, &tls.key, &tls.authority].map(|path| path.display());
        format!(
            "    tls: {{cert_file: {certificate}, key_file: {key}, ca_cert_path: {authority}, \
             bouncers_allowed_ou: [{}]}}\n",
            tls.bouncers
        )
    });
    format!(
        "common: {{daemonize: false, log_media: stdout, log_level: info, working_dir: {folder}}}\n\
         config_paths:\n  config_dir: {folder}\n  data_dir: {folder}/data\n  \
         simulation_path: {folder}/simulation.yaml\n  hub_dir: {folder}/hub\n  \
         index_path: {folder}/hub/.index.json\n  notification_dir: {folder}\n  plugin_dir: {folder}\n\
         cscli: {{output: raw}}\n\
         db_config:\n  type: sqlite\n  use_wal: true\n  db_path: {folder}/data/crowdsec.db\n\
         api:\n  client:\n    credentials_path: {folder}/credentials.yaml\n  \
         server:\n    listen_uri: {address}\n    profiles_path: {folder}/profiles.yaml\n{tls}\
         prometheus: {{enabled: false}}\n"
    )
}
