//! docker-compose.yml, up: under a project's name and on ports of its own, so that it disturbs nobody, and taken down
//! with its volumes when this value goes.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use super::bait::Bait;
use super::container::Container;
use super::files::Files;
use super::images::Images;
use crate::engine::{Engine, Generation};
use crate::error::Error;
use crate::run;
use crate::workspace::Workspace;
use kit::{Request, eventually_async, ports};

pub struct Stack<'a> {
    engine: &'a Engine,
    file: PathBuf,
    /// In place of whatever stands in `.env` here.
    nothing: PathBuf,
    root: PathBuf,
    project: String,
    settings: Vec<(String, String)>,
    edge: SocketAddr,
    services: Vec<String>,
}

/// From the end of `up` until everybody is well.
const LIMIT: Duration = Duration::from_secs(90);

impl<'a> Stack<'a> {
    /// Nothing runs yet. `services` are those to start; none means all that no profile holds back.
    pub fn new(
        workspace: &Workspace,
        engine: &'a Engine,
        files: &Files,
        images: &Images,
    ) -> Result<Self, Error> {
        let nothing = workspace.built("compose-nothing.env");
        std::fs::write(&nothing, "").map_err(Error::file("cannot write", &nothing))?;
        let port = ports::reserve()?;
        let mut settings = vec![
            ("PORTCULLIS_IMAGE".to_owned(), images.sidecar.clone()),
            ("PORTCULLIS_EDGE_IMAGE".to_owned(), images.edge.clone()),
            ("PORTCULLIS_EDGE_PORT".to_owned(), port.to_string()),
        ];
        for other in ["API", "STATS", "PROMETHEUS", "ALERTMANAGER", "GRAFANA"] {
            let port = ports::reserve()?.to_string();
            settings.push((format!("PORTCULLIS_{other}_PORT"), port));
        }
        Ok(Self {
            engine,
            file: files.at("docker-compose.yml"),
            nothing,
            root: workspace.root().to_path_buf(),
            project: format!("portcullis-check-{}", std::process::id()),
            settings,
            edge: (Ipv4Addr::LOCALHOST, port).into(),
            services: Vec::new(),
        })
    }

    /// From now on with the profile `monitoring`, of which these services are started.
    pub fn watched(&mut self, services: &[&str]) {
        self.set("COMPOSE_PROFILES", "monitoring");
        self.services = services.iter().map(|name| (*name).to_owned()).collect();
    }

    pub fn set(&mut self, variable: &str, value: &str) {
        self.settings.retain(|(name, _)| name != variable);
        self.settings.push((variable.to_owned(), value.to_owned()));
    }

    pub fn unset(&mut self, variable: &str) {
        self.settings.retain(|(name, _)| name != variable);
    }

    pub fn get(&self, variable: &str) -> Option<String> {
        let set = self.settings.iter().find(|(name, _)| name == variable);
        set.map(|(_, value)| value.clone())
    }

    pub fn port(&self, of: &str) -> SocketAddr {
        let port = self.get(&format!("PORTCULLIS_{of}_PORT"));
        let port = port.and_then(|port| port.parse().ok());
        (Ipv4Addr::LOCALHOST, port.unwrap_or_default()).into()
    }

    /// Builds what it runs, as a person does: nothing says that anything is packaged.
    pub fn build(&self, bait: &Bait) -> Result<(), Error> {
        let mut build = self.compose();
        for chosen in ["PORTCULLIS_PLUGIN", "PORTCULLIS_BINARY"] {
            build.env_remove(chosen);
        }
        bait.offer(&mut build);
        run::run(build.arg("build"))
    }

    /// Brings it up, as a person does.
    pub fn up(&self) -> Result<(), Error> {
        let output = self.try_up()?;
        if output.status.success() {
            return Ok(());
        }
        let said = format!("{}{}", said(&output), self.logs());
        Err(Error::Said(format!("docker compose up failed:\n{said}")))
    }

    pub fn try_up(&self) -> Result<Output, Error> {
        let mut up = self.compose();
        up.args(["up", "--detach", "--no-build"]);
        if self.engine.generation() == Generation::Second {
            let limit = LIMIT.as_secs().to_string();
            up.args(["--wait", "--wait-timeout", &limit]);
        }
        run::capture(up.args(&self.services))
    }

    pub async fn until_well(&self) -> Result<(), Error> {
        self.until_are_well(|_| true).await
    }

    /// Until a service is well, whatever is with the others.
    pub async fn until_is_well(&self, service: &str) -> Result<(), Error> {
        self.until_are_well(|container| container.service() == service)
            .await
    }

    /// Until these run and are healthy, or have ended well.
    async fn until_are_well(&self, these: impl Fn(&Container) -> bool) -> Result<(), Error> {
        let are_well = || async {
            let all = self.containers().unwrap_or_default();
            let mut asked = all.iter().filter(|container| these(container)).peekable();
            asked.peek().is_some() && asked.all(Container::is_well)
        };
        if eventually_async(LIMIT, are_well).await {
            return Ok(());
        }
        Err(Error::Said(format!(
            "not all containers are healthy after {} s:\n{}",
            LIMIT.as_secs(),
            self.logs()
        )))
    }

    pub fn down(&self, also: &[&str]) -> Result<(), Error> {
        let mut down = self.compose();
        let output = run::capture(down.args(["down", "--timeout", "5"]).args(also))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(Error::Said(said(&output))),
        }
    }

    /// Each container that there is, running or ended.
    pub fn containers(&self) -> Result<Vec<Container>, Error> {
        let filter = format!("label=com.docker.compose.project={}", self.project);
        let ids = run::printed(
            self.engine
                .docker()
                .args(["ps", "-aq", "--filter", &filter]),
        )?;
        let ids: Vec<_> = ids.split_whitespace().collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let told = run::printed(self.engine.docker().arg("inspect").args(ids))?;
        Container::all(&told).map_err(|error| Error::Said(format!("docker inspect: {error}")))
    }

    /// When a service's container was started.
    pub fn started(&self, service: &str) -> Result<String, Error> {
        let all = self.containers()?;
        let found = all.iter().find(|container| container.service() == service);
        let started = found.map(|container| container.text("/State/StartedAt").to_owned());
        started.ok_or_else(|| Error::Said(format!("there is no container of {service}")))
    }

    /// A command in a service's container; what it printed, whether it succeeded or not.
    pub fn run_in(&self, service: &str, command: &[&str]) -> Result<Output, Error> {
        let mut exec = self.compose();
        run::capture(exec.args(["exec", "-T", service]).args(command))
    }

    /// A container of its own, in place of a service's, with this command or the service's.
    pub fn run_once(&self, service: &str, command: &[&str]) -> Result<Output, Error> {
        let mut once = self.compose();
        let once = once.args(["run", "--rm", "--no-deps", "-T", service]);
        run::capture(once.args(command))
    }

    pub fn kill(&self, service: &str) -> Result<(), Error> {
        run::capture(self.compose().args(["kill", service])).map(drop)
    }

    /// The status that a client of this address gets; 0 where nobody answers.
    pub async fn status_for(&self, client: &str) -> u16 {
        let request = Request::get("/").from_client(client);
        request
            .send(self.edge)
            .await
            .map_or(0, |answer| answer.status)
    }

    pub fn logs(&self) -> String {
        let logs = run::capture(self.compose().args(["logs", "--no-color", "--tail", "30"]));
        logs.map(|output| said(&output)).unwrap_or_default()
    }

    pub fn compose(&self) -> Command {
        let mut compose = self.engine.compose();
        compose
            .current_dir(&self.root)
            .args(["--project-name", &self.project, "--project-directory"])
            .arg(&self.root)
            .arg("--file")
            .arg(&self.file)
            .arg("--env-file")
            .arg(&self.nothing)
            .envs(self.settings.iter().map(|(name, value)| (name, value)));
        compose
    }
}

impl Drop for Stack<'_> {
    fn drop(&mut self) {
        // A profile that is not named is not taken down.
        self.set("COMPOSE_PROFILES", "monitoring");
        let _gone = self.down(&["--volumes", "--remove-orphans"]);
    }
}

/// All that a command printed.
pub fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(err)
    )
}
