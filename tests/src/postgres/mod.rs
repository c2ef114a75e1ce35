//! PostgreSQL, the real one, on loopback and with a cluster of its own, which is gone with it. Its own
//! package's cluster is neither needed nor touched.

mod cluster;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

use crate::child::{Child, Signal};
use crate::error::KitError;
use crate::{parts, ports};

/// Who may do everything in it, without a password.
pub const KIT_USER: &str = "kit";
/// The role that sidecars come as, and their database.
pub const USER: &str = "portcullis";
pub const DATABASE: &str = "history";

const START_LIMIT: Duration = Duration::from_secs(30);
/// Somebody else may take a port between its choice and its use.
const TRIES: u32 = 5;

/// A PostgreSQL that ends with this value. It stays at its port and in its folder through restarts.
pub struct Postgres {
    child: Option<Child>,
    folder: TempDir,
    binaries: PathBuf,
    address: SocketAddr,
}

impl Postgres {
    /// With an empty database, and a role that owns it and needs no password.
    pub async fn start() -> Result<Self, KitError> {
        Self::prepare()?.launch().await
    }

    /// As [`Self::start`], and TLS with this certificate and its key.
    pub async fn start_with_tls(certificate: &Path, key: &Path) -> Result<Self, KitError> {
        let postgres = Self::prepare()?;
        cluster::copy(certificate, &postgres.data().join("server.crt"))?;
        cluster::copy(key, &postgres.data().join("server.key"))?;
        cluster::add(&postgres.data().join("postgresql.conf"), "ssl = on\n")?;
        postgres.launch().await
    }

    fn prepare() -> Result<Self, KitError> {
        let binaries = parts::postgres()?;
        Ok(Self {
            child: None,
            folder: cluster::fresh(&binaries)?,
            binaries,
            address: loopback(ports::reserve()?),
        })
    }

    /// The first start, at a port that is free.
    async fn launch(mut self) -> Result<Self, KitError> {
        for _ in 0..TRIES {
            match self.restart().await {
                Err(KitError::Died { log, .. }) if log.contains("Address already in use") => {
                    self.address = loopback(ports::reserve()?);
                }
                other => {
                    other?;
                    break;
                }
            }
        }
        let empty = connect(self.address, "postgres").await?;
        for sql in [
            format!("CREATE ROLE {USER} LOGIN"),
            format!("CREATE DATABASE {DATABASE} OWNER {USER}"),
        ] {
            empty.batch_execute(&sql).await.map_err(failed)?;
        }
        Ok(self)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a sidecar is told.
    pub fn url(&self) -> String {
        format!("postgres://{USER}@{}/{DATABASE}", self.address)
    }

    /// `[history]` of a sidecar that writes here.
    pub fn toml(&self) -> String {
        format!("[history]\nurl = {:?}\n", self.url())
    }

    /// A connection of the test's own to that database, as a user who may do everything.
    pub async fn connect(&self) -> Result<Client, KitError> {
        connect(self.address, DATABASE).await
    }

    /// Runs what needs no answer.
    pub async fn run(&self, sql: &str) -> Result<(), KitError> {
        self.connect()
            .await?
            .batch_execute(sql)
            .await
            .map_err(failed)
    }

    /// The one number that `sql` gives; zero where there is nothing to be asked yet.
    pub async fn number(&self, sql: &str) -> i64 {
        let asked = async {
            let row = self.connect().await?.query_one(sql, &[]).await;
            row.and_then(|row| row.try_get(0)).map_err(failed)
        };
        asked.await.unwrap_or(0)
    }

    /// From now on the role comes with this password or not at all, if it comes anew.
    pub async fn set_password(&self, password: &str) -> Result<(), KitError> {
        let rules = format!(
            "local all {KIT_USER} trust\nhost all {KIT_USER} 127.0.0.1/32 trust\n\
             host all all 127.0.0.1/32 scram-sha-256\n"
        );
        let path = self.data().join("pg_hba.conf");
        std::fs::write(path, rules).map_err(KitError::io("cannot write pg_hba.conf"))?;
        self.run(&format!(
            "ALTER ROLE {USER} PASSWORD '{password}'; SELECT pg_reload_conf()"
        ))
        .await
    }

    /// Ends all connections of sidecars.
    pub async fn disconnect_all(&self) -> Result<(), KitError> {
        self.run(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{USER}'"
        ))
        .await
    }

    /// What it logged.
    pub fn log(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.folder.path().join(name));
        [read("postgres.out"), read("postgres.err")]
            .into_iter()
            .flatten()
            .collect()
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
        for _ in 1..TRIES {
            match self.run_server().await {
                // Those that served connections end a moment after the one that was killed.
                Err(KitError::Died { log, .. }) if log.contains("still in use") => {}
                other => return other,
            }
        }
        self.run_server().await
    }

    async fn run_server(&mut self) -> Result<(), KitError> {
        let mut command = cluster::program(&self.binaries.join("postgres"));
        command
            .arg("-D")
            .arg(self.data())
            .args(["-p", &self.address.port().to_string()])
            .current_dir(self.folder.path());
        let mut child = Child::spawn("postgres", &mut command, self.folder.path())?;
        let address = self.address;
        let ready = async |_: &Child| connect(address, "postgres").await.is_ok();
        child
            .wait_until("it takes connections", START_LIMIT, ready)
            .await?;
        self.child = Some(child);
        Ok(())
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

async fn connect(address: SocketAddr, database: &str) -> Result<Client, KitError> {
    let mut config = tokio_postgres::Config::new();
    config
        .host(address.ip().to_string())
        .port(address.port())
        .user(KIT_USER)
        .dbname(database)
        .connect_timeout(Duration::from_secs(5));
    let (client, connection) = config.connect(NoTls).await.map_err(failed)?;
    // It ends with the client.
    tokio::spawn(connection);
    Ok(client)
}

fn failed(error: tokio_postgres::Error) -> KitError {
    let why = error.as_db_error().map(ToString::to_string);
    let why = why.unwrap_or_else(|| error.to_string());
    KitError::io("PostgreSQL does not do it")(std::io::Error::other(why))
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
