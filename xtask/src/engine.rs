//! The Docker engine that images are built and run by: the one that answers, or else one of our own, which ends with
//! this value and leaves nothing behind.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::{run, say};

pub struct Engine {
    docker: PathBuf,
    own: Option<Own>,
}

/// Of Compose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// `docker-compose`
    First,
    /// `docker compose`, which can wait until all is well.
    Second,
}

/// A daemon that we started.
struct Own {
    process: Child,
    folder: tempfile::TempDir,
}

/// How it is started, most capable first: not every machine lets it stack file systems or filter packets.
const MANNERS: [&[&str]; 3] = [
    &[],
    &["--storage-driver=vfs"],
    &["--storage-driver=vfs", "--iptables=false"],
];
const START: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(100);

impl Engine {
    /// The engine, installed and started first if it is not there and this process may.
    pub fn ensure() -> Result<Self, Error> {
        let docker = client()?;
        let engine = Self { docker, own: None };
        if run::works(engine.docker().arg("info")) {
            return Ok(engine);
        }
        if !run::is_root() {
            return Err(Error::Missing {
                tool: "a Docker engine that answers".to_owned(),
                remedy: "start Docker, or run this as root, which starts one of its own".to_owned(),
            });
        }
        engine.with_own()
    }

    /// Whether nobody else's images and containers are in it.
    pub fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// `docker`, led to this engine and building with BuildKit.
    pub fn docker(&self) -> Command {
        self.lead(Command::new(&self.docker))
    }

    /// Compose: version 2 if there is one, else `docker-compose`.
    pub fn compose(&self) -> Command {
        match self.generation() {
            Generation::Second => {
                let mut compose = self.docker();
                compose.arg("compose");
                compose
            }
            Generation::First => {
                let mut compose = self.lead(Command::new("docker-compose"));
                // It builds by the `docker` that it finds.
                compose.env("PATH", self.path());
                compose
            }
        }
    }

    pub fn generation(&self) -> Generation {
        match run::works(self.docker().args(["compose", "version"])) {
            true => Generation::Second,
            false => Generation::First,
        }
    }

    /// The versions of Docker and of Compose.
    pub fn described(&self) -> Result<String, Error> {
        let format = "Docker {{.Client.Version}}, engine {{.Server.Version}}";
        let docker = run::printed(self.docker().args(["version", "--format", format]))?;
        let compose = run::printed(self.compose().args(["version", "--short"]))?;
        Ok(format!("{}, Compose {}", docker.trim(), compose.trim()))
    }

    /// Where programs are looked for, first of all beside our client.
    fn path(&self) -> OsString {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let beside = self.docker.parent().map(Path::to_path_buf);
        let beside = beside.filter(|folder| folder.is_absolute());
        let folders = beside.into_iter().chain(std::env::split_paths(&path));
        std::env::join_paths(folders).unwrap_or(path)
    }

    fn lead(&self, mut command: Command) -> Command {
        command.env("DOCKER_BUILDKIT", "1");
        if let Some(own) = &self.own {
            command.env("DOCKER_HOST", own.host());
        }
        command
    }

    fn with_own(self) -> Result<Self, Error> {
        for manner in MANNERS {
            say::step(format_args!(
                "starting a Docker engine {}",
                manner.join(" ")
            ));
            let own = Own::start(manner)?;
            let mut engine = Self {
                docker: self.docker.clone(),
                own: Some(own),
            };
            if engine.answers() {
                return Ok(engine);
            }
            say::line(engine.own.as_ref().map(Own::last_words).unwrap_or_default());
        }
        Err(Error::Said(
            "no Docker engine can be started here; what it said is above".to_owned(),
        ))
    }

    fn answers(&mut self) -> bool {
        let end = Instant::now() + START;
        while Instant::now() < end {
            if run::works(self.docker().arg("info")) {
                return true;
            }
            let own = self.own.as_mut();
            if own.is_none_or(|own| !matches!(own.process.try_wait(), Ok(None))) {
                return false;
            }
            std::thread::sleep(STEP);
        }
        false
    }
}

impl Own {
    fn start(manner: &[&str]) -> Result<Self, Error> {
        // Short, because containerd's socket lies in it and the path of one is.
        let folder = tempfile::Builder::new()
            .prefix("engine")
            .tempdir()
            .map_err(Error::file(
                "cannot create a folder in",
                std::env::temp_dir(),
            ))?;
        let path = |name: &str| folder.path().join(name);
        let log =
            std::fs::File::create(path("log")).map_err(Error::file("cannot write", path("log")))?;
        let process = Command::new("dockerd")
            .arg("--data-root")
            .arg(path("data"))
            .arg("--exec-root")
            .arg(path("exec"))
            .arg("--pidfile")
            .arg(path("pid"))
            .arg("--host")
            .arg(host_in(folder.path()))
            .arg("--bridge=none")
            .args(manner)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|source| Error::Start {
                command: "dockerd".to_owned(),
                source,
            })?;
        Ok(Self { process, folder })
    }

    fn host(&self) -> String {
        host_in(self.folder.path())
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Own {
    /// Politely: what runs in it, and what it has mounted, it ends and unmounts itself.
    fn drop(&mut self) {
        let id = self.process.id().to_string();
        run::works(Command::new("kill").args(["-TERM", &id]));
        let _ended = self.process.wait();
    }
}

fn host_in(folder: &Path) -> String {
    format!("unix://{}", folder.join("docker.sock").display())
}

/// A client that can build with BuildKit: by its plugin, or, until version 22, by itself.
fn client() -> Result<PathBuf, Error> {
    let known = || {
        let names = ["docker", "/usr/bin/docker"].into_iter().map(PathBuf::from);
        names.into_iter().find(|docker| builds(docker))
    };
    let complete = || {
        let compose = run::works(Command::new("docker-compose").arg("version"));
        known().filter(|docker| {
            compose || run::works(Command::new(docker).args(["compose", "version"]))
        })
    };
    if let Some(docker) = complete() {
        return Ok(docker);
    }
    say::step("installing Docker and its compose");
    run::apt_install(&["docker.io", "docker-compose", "iptables"]);
    complete().ok_or_else(|| Error::Missing {
        tool: "docker with buildx, and docker compose".to_owned(),
        remedy: "install Docker, or run `apt-get install docker.io docker-compose iptables`"
            .to_owned(),
    })
}

fn builds(docker: &Path) -> bool {
    if run::works(Command::new(docker).args(["buildx", "version"])) {
        return true;
    }
    let said = run::capture(Command::new(docker).arg("--version"));
    let said = said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    said.is_ok_and(|said| major(&said).is_some_and(|major| major < 23))
}

/// Of what `docker --version` prints: `Docker version 20.10.24+dfsg1, build 297e128`.
fn major(said: &str) -> Option<u32> {
    let version = said.split(' ').nth(2)?;
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_version_is_read() {
        let said = "Docker version 20.10.24+dfsg1, build 297e128\n";
        assert_eq!(major(said), Some(20));
        assert_eq!(major("Docker version 28.2.2, build e6534b4\n"), Some(28));
        assert_eq!(major(""), None);
    }
}
