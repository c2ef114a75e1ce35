//! The sidecar's configuration, and where its files lie.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Ports, Sidecar, loopback};
use crate::config::Endpoint;
use crate::error::KitError;
use crate::moto::Moto;
use crate::{parts, ports};

pub struct SidecarBuilder {
    folder: TempDir,
    binary: PathBuf,
    ports: Ports,
    edge: Option<PathBuf>,
    store: String,
    guard: String,
    rest: String,
    environment: Vec<(String, String)>,
}

impl Sidecar {
    /// An empty configuration but for ports, store, and documentation ranges, which tests may list.
    pub fn builder() -> Result<SidecarBuilder, KitError> {
        Ok(Self::builder_in(&std::env::temp_dir())?.binary(&parts::portcullis()?))
    }

    /// As [`Self::builder`], with its files in a new folder inside `parent`, and a binary still to name.
    pub fn builder_in(parent: &Path) -> Result<SidecarBuilder, KitError> {
        let folder = tempfile::Builder::new()
            .prefix("sidecar-")
            .tempdir_in(parent);
        Ok(SidecarBuilder {
            folder: folder.map_err(KitError::io("cannot make a folder"))?,
            binary: PathBuf::new(),
            ports: Ports {
                edge: ports::reserve()?,
                admin: ports::reserve()?,
                metrics: ports::reserve()?,
            },
            edge: None,
            store: "kind = \"embedded\"\n".to_owned(),
            guard: "permit_special = true\n".to_owned(),
            rest: String::new(),
            environment: Vec::new(),
        })
    }
}

impl SidecarBuilder {
    pub fn binary(mut self, path: &Path) -> Self {
        self.binary = path.to_path_buf();
        self
    }

    pub fn ports(mut self, ports: Ports) -> Self {
        self.ports = ports;
        self
    }

    /// Takes everything except what `[listen]`, `[store]` and `[guard]` hold.
    pub fn toml(mut self, text: &str) -> Self {
        self.rest.push_str(text);
        self.rest.push('\n');
        self
    }

    /// Keeps its words in the Redis at this URL instead of a file of its own.
    pub fn redis(mut self, url: &str) -> Self {
        self.store = format!("kind = \"redis\"\nurl = {url:?}\n");
        self
    }

    /// A line of `[store]`.
    pub fn store(mut self, line: &str) -> Self {
        self.store.push_str(line);
        self.store.push('\n');
        self
    }

    /// `[guard]` as shipped: no list may hold documentation ranges.
    pub fn shipped_guard(mut self) -> Self {
        self.guard.clear();
        self
    }

    /// A line of `[guard]`.
    pub fn guard(mut self, line: &str) -> Self {
        self.guard.push_str(line);
        self.guard.push('\n');
        self
    }

    /// A hard source with these lines, in a file that [`Self::file`] names.
    pub fn block_list(self, name: &str, lines: &[&str]) -> Result<Self, KitError> {
        self.list(name, "block = true", "plain", &lines.join("\n"))
    }

    /// A feed from a file of this content; `role` is its line in the configuration.
    pub fn list(
        self,
        name: &str,
        role: &str,
        format: &str,
        content: &str,
    ) -> Result<Self, KitError> {
        let text = list_in(self.folder.path(), name, role, format, content)?;
        Ok(self.toml(&text))
    }

    pub fn file(&self, name: &str) -> PathBuf {
        file_in(self.folder.path(), name)
    }

    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.environment.push((key.to_owned(), value.to_owned()));
        self
    }

    /// AWS is what moto plays.
    pub fn aws(self, moto: &Moto) -> Self {
        let environment = moto.environment();
        environment
            .iter()
            .fold(self, |builder, (key, value)| builder.env(key, value))
    }

    /// The edge API on a Unix socket.
    pub fn on_unix_socket(mut self) -> Self {
        self.edge = Some(self.folder.path().join("edge.sock"));
        self
    }

    /// Starts it and waits until its first snapshot is there.
    pub async fn start(self) -> Result<Sidecar, KitError> {
        let mut sidecar = self.prepare()?;
        sidecar.launch().await?;
        Ok(sidecar)
    }

    /// Everything but the start: a sidecar that is down.
    pub fn prepare(self) -> Result<Sidecar, KitError> {
        let edge = match &self.edge {
            Some(path) => Endpoint::Unix(path.clone()),
            None => Endpoint::Tcp(loopback(self.ports.edge)),
        };
        let text = self.text(&edge);
        let sidecar = Sidecar {
            child: None,
            edge,
            ports: self.ports,
            environment: self.environment,
            binary: self.binary,
            folder: self.folder,
        };
        std::fs::write(sidecar.config_file(), text)
            .map_err(KitError::io("cannot write the sidecar's configuration"))?;
        Ok(sidecar)
    }

    fn text(&self, edge: &Endpoint) -> String {
        let edge = match edge {
            Endpoint::Tcp(address) => address.to_string(),
            Endpoint::Unix(path) => format!("unix:{}", path.display()),
        };
        format!(
            "[listen]\nedge = {edge:?}\nadmin = \"{}\"\nmetrics = \"{}\"\n\n\
             [store]\n{}path = {:?}\n\n[guard]\n{}\n{}",
            loopback(self.ports.admin),
            loopback(self.ports.metrics),
            self.store,
            self.folder.path().join("store"),
            self.guard,
            self.rest,
        )
    }
}

/// Writes a feed's file; returns its section of the configuration.
pub(super) fn list_in(
    folder: &Path,
    name: &str,
    role: &str,
    format: &str,
    content: &str,
) -> Result<String, KitError> {
    let path = file_in(folder, name);
    std::fs::write(&path, content).map_err(KitError::io("cannot write a list"))?;
    Ok(format!(
        "[[feed]]\nname = {name:?}\npath = {path:?}\nformat = {format:?}\n{role}\nrefresh = \"1s\"\n"
    ))
}

fn file_in(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.list"))
}
