//! The images that are ours, of what `cargo xtask package` made or compiled in containers, and what may and may not be
//! in them.

use std::process::{Command, Stdio};

use super::bait::Bait;
use super::files::Files;
use super::stack::Stack;
use super::{Making, stand_ins};
use crate::engine::Engine;
use crate::error::Error;
use crate::workspace::Workspace;
use crate::{run, say};

/// One that is built: its file, the stage, and the argument that says where the program comes from.
struct Recipe {
    file: &'static str,
    target: Option<&'static str>,
    argument: &'static str,
}

const SIDECAR: Recipe = Recipe {
    file: "sidecar/Dockerfile",
    target: None,
    argument: "BINARY",
};
const FILTER: Recipe = Recipe {
    file: "filter/Dockerfile",
    target: None,
    argument: "PLUGIN",
};
const EDGE: Recipe = Recipe {
    target: Some("edge"),
    ..FILTER
};

/// What images are built with.
pub struct Site<'a> {
    pub workspace: &'a Workspace,
    pub engine: &'a Engine,
    pub files: &'a Files,
    pub making: Making,
}

/// The names of the three, of this run alone.
pub struct Images {
    pub sidecar: String,
    pub edge: String,
    filter: String,
}

/// What the images that are published may take, in bytes.
const SIDECAR_LIMIT: u64 = 40_000_000;
const FILTER_LIMIT: u64 = 400_000;
const USER: &str = "65532:65532";
const HEALTH: &str = "[CMD portcullis health]";

impl Images {
    pub fn named() -> Self {
        let name = |part: &str| format!("portcullis-check/{part}:{}", std::process::id());
        Self {
            sidecar: name("sidecar"),
            edge: name("edge"),
            filter: name("filter"),
        }
    }

    /// Builds them with `bait` lying about, none of which may get in.
    pub fn build(&self, site: &Site<'_>, stack: &Stack<'_>) -> Result<(), Error> {
        let bait = Bait::lay(site.workspace)?;
        match site.making {
            Making::Inside => {
                say::step("docker compose build, which compiles: this takes minutes");
                stack.build(&bait)?;
            }
            Making::Here | Making::Before => {
                SIDECAR.build(site, &self.sidecar, &bait)?;
                EDGE.build(site, &self.edge, &bait)?;
            }
        }
        FILTER.build(site, &self.filter, &bait)?;
        for name in [&self.sidecar, &self.edge, &self.filter] {
            refuse_bait(site.engine, name, &bait)?;
        }
        say::step("no secret that lies about is in a layer of an image");
        self.look_into_sidecar(site.engine)?;
        self.look_into_filter(site.engine)
    }

    /// Base images stay, for the next time.
    pub fn remove(&self, engine: &Engine) {
        let names = [&self.sidecar, &self.filter, &self.edge];
        run::works(engine.docker().args(["image", "rm", "--force"]).args(names));
    }

    /// Whoever runs it without Compose has its user and its health check from the image alone.
    fn look_into_sidecar(&self, engine: &Engine) -> Result<(), Error> {
        require_small(engine, "sidecar", &self.sidecar, SIDECAR_LIMIT)?;
        let user = inspected(engine, &self.sidecar, "{{.Config.User}}")?;
        let health = inspected(engine, &self.sidecar, "{{.Config.Healthcheck.Test}}")?;
        if (user.as_str(), health.as_str()) == (USER, HEALTH) {
            return Ok(());
        }
        Err(Error::Said(format!(
            "the sidecar's image runs as {user:?} and asks for its health by {health:?}"
        )))
    }

    /// What reads a plugin out of an image wants one layer with one file.
    fn look_into_filter(&self, engine: &Engine) -> Result<(), Error> {
        require_small(engine, "plugin", &self.filter, FILTER_LIMIT)?;
        let layers = inspected(engine, &self.filter, "{{len .RootFS.Layers}}")?;
        // It cannot run, so any command will do.
        let container = printed(engine, &["create", &self.filter, "/plugin.wasm"])?;
        let container = container.trim();
        let archive = archive()?;
        let export = engine
            .docker()
            .args(["export", container, "--output"])
            .arg(archive.path())
            .status();
        printed(engine, &["rm", container])?;
        export.map_err(Error::file("cannot write", archive.path()))?;
        let listed = run::printed(Command::new("tar").arg("-tvf").arg(archive.path()))?;
        // Docker adds some empty files to every container.
        let files: Vec<_> = listed.lines().filter_map(filled).collect();
        if layers == "1" && files == ["plugin.wasm"] {
            return Ok(());
        }
        Err(Error::Said(format!(
            "the plugin's image has {layers} layers and holds {files:?}, not just plugin.wasm"
        )))
    }
}

impl Recipe {
    /// By Docker alone, as the Dockerfile's own comment says.
    fn build(&self, site: &Site<'_>, name: &str, bait: &Bait) -> Result<(), Error> {
        say::step(format_args!("building {name}"));
        let mut docker = site.engine.docker();
        docker
            .args(["build", "--quiet", "--tag", name, "--file"])
            .arg(site.files.at(self.file));
        match site.making {
            Making::Inside if site.engine.is_own() => drop(docker.args(["--network", "host"])),
            Making::Inside => {}
            // Nothing that is packaged needs a network.
            Making::Here | Making::Before => {
                let packaged = format!("{}=packaged", self.argument);
                docker.args(["--network", "none", "--build-arg", &packaged]);
            }
        }
        if let Some(target) = self.target {
            docker.args(["--target", target]);
        }
        bait.offer(&mut docker);
        run::run(docker.arg(site.workspace.root()).stdout(Stdio::null()))
    }
}

fn require_small(engine: &Engine, what: &str, image: &str, limit: u64) -> Result<(), Error> {
    let size = inspected(engine, image, "{{.Size}}")?;
    let size: u64 = size.parse().unwrap_or(u64::MAX);
    let said = format!("the {what}'s image takes {} kB", size / 1000);
    if size < limit {
        say::step(said);
        return Ok(());
    }
    Err(Error::Said(format!("{said}, not under {}", limit / 1000)))
}

/// Sees that these images are there: pulled, or stood in for. Says which are not.
pub fn fetch(
    workspace: &Workspace,
    engine: &Engine,
    images: &[String],
) -> Result<Vec<String>, Error> {
    let mut missing = Vec::new();
    for image in images {
        let has = || run::works(engine.docker().args(["image", "inspect", image]));
        if has() || run::works(engine.docker().args(["pull", "--quiet", image])) {
            continue;
        }
        if !engine.is_own() {
            return Err(Error::Said(format!(
                "{image} cannot be pulled, and a stand-in must not be put into an engine that others use: \
                 stop it, and this starts one of its own"
            )));
        }
        if !stand_ins::make(workspace, engine, image)? {
            missing.push(image.clone());
        }
    }
    Ok(missing)
}

/// In every layer, the configuration and the history: all of it is in what `docker save` writes, not compressed.
fn refuse_bait(engine: &Engine, image: &str, bait: &Bait) -> Result<(), Error> {
    let file = archive()?;
    run::run(
        engine
            .docker()
            .args(["save", "--output"])
            .arg(file.path())
            .arg(image),
    )?;
    let found = bait.found_in(file.path())?;
    match found.as_slice() {
        [] => Ok(()),
        found => Err(Error::Said(format!(
            "{image} holds what must not get into an image: the bait in {found:?}"
        ))),
    }
}

fn archive() -> Result<tempfile::NamedTempFile, Error> {
    let made = tempfile::NamedTempFile::new();
    made.map_err(Error::file("cannot create a file in", std::env::temp_dir()))
}

fn printed(engine: &Engine, arguments: &[&str]) -> Result<String, Error> {
    run::printed(engine.docker().args(arguments))
}

/// What `docker image inspect` says of an image by this template.
fn inspected(engine: &Engine, image: &str, format: &str) -> Result<String, Error> {
    let told = printed(engine, &["image", "inspect", "--format", format, image])?;
    Ok(told.trim().to_owned())
}

/// The name in a line of `tar -tv`, if it is a file with something in it.
fn filled(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let (kind, size) = (words.next()?, words.nth(1)?);
    let is_filled = kind.starts_with('-') && size != "0";
    is_filled.then(|| words.last().unwrap_or_default().to_owned())
}
