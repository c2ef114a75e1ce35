//! The images that are ours, built of what `cargo xtask package` made, and what may and may not be in them.

use std::path::Path;
use std::process::{Command, Stdio};

use super::bait::Bait;
use super::engine::Engine;
use super::files::Files;
use super::stand_ins;
use crate::error::Error;
use crate::workspace::Workspace;
use crate::{run, say};

/// One that is built: its file, the stage, and the argument that takes what is there already.
struct Recipe {
    file: &'static str,
    target: Option<&'static str>,
    argument: &'static str,
}

const SIDECAR: Recipe = Recipe {
    file: "sidecar/Dockerfile",
    target: None,
    argument: "BINARY=packaged",
};
const FILTER: Recipe = Recipe {
    file: "filter/Dockerfile",
    target: None,
    argument: "PLUGIN=packaged",
};
const EDGE: Recipe = Recipe {
    target: Some("edge"),
    ..FILTER
};

impl Recipe {
    fn build(
        &self,
        engine: &Engine,
        files: &Files,
        context: &Path,
        name: &str,
        bait: &Bait,
    ) -> Result<(), Error> {
        say::step(format_args!("building {name}"));
        let mut docker = engine.docker();
        // Nothing that is packaged needs a network.
        docker
            .args(["build", "--quiet", "--network", "none", "--file"])
            .arg(files.at(self.file));
        docker.args(["--build-arg", self.argument, "--tag", name]);
        if let Some(target) = self.target {
            docker.args(["--target", target]);
        }
        bait.offer(&mut docker);
        run::run(docker.arg(context).stdout(Stdio::null()))
    }
}

/// The names of the three, of this run alone.
pub struct Images {
    pub sidecar: String,
    pub edge: String,
    filter: String,
}

/// What the sidecar's image may take, in bytes.
const SIDECAR_LIMIT: u64 = 40_000_000;

impl Images {
    /// Builds them with `bait` lying about, none of which may get in.
    pub fn build(workspace: &Workspace, engine: &Engine, files: &Files) -> Result<Self, Error> {
        let name = |part: &str| format!("portcullis-check/{part}:{}", std::process::id());
        let images = Self {
            sidecar: name("sidecar"),
            edge: name("edge"),
            filter: name("filter"),
        };
        let bait = Bait::lay(workspace)?;
        for (recipe, name) in [
            (SIDECAR, &images.sidecar),
            (FILTER, &images.filter),
            (EDGE, &images.edge),
        ] {
            recipe.build(engine, files, workspace.root(), name, &bait)?;
            refuse_bait(engine, name, &bait)?;
        }
        images.measure(engine)?;
        images.look_into_filter(engine)?;
        Ok(images)
    }

    /// Base images stay, for the next time.
    pub fn remove(&self, engine: &Engine) {
        let names = [&self.sidecar, &self.filter, &self.edge];
        run::works(engine.docker().args(["image", "rm", "--force"]).args(names));
    }

    fn measure(&self, engine: &Engine) -> Result<(), Error> {
        let format = ["image", "inspect", "--format", "{{.Size}}"];
        let size = printed(engine, &[&format[..], &[&self.sidecar]].concat())?;
        let size: u64 = size.trim().parse().unwrap_or(u64::MAX);
        let said = format!("the sidecar's image takes {} kB", size / 1000);
        if size < SIDECAR_LIMIT {
            say::step(said);
            return Ok(());
        }
        Err(Error::Said(format!(
            "{said}, not under {}",
            SIDECAR_LIMIT / 1000
        )))
    }

    /// What reads a plugin out of an image wants one layer with one file.
    fn look_into_filter(&self, engine: &Engine) -> Result<(), Error> {
        let format = ["image", "inspect", "--format", "{{len .RootFS.Layers}}"];
        let layers = printed(engine, &[&format[..], &[&self.filter]].concat())?;
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
        if layers.trim() == "1" && files == ["plugin.wasm"] {
            return Ok(());
        }
        let layers = layers.trim();
        Err(Error::Said(format!(
            "the plugin's image has {layers} layers and holds {files:?}, not just plugin.wasm"
        )))
    }
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

/// The name in a line of `tar -tv`, if it is a file with something in it.
fn filled(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let (kind, size) = (words.next()?, words.nth(1)?);
    let is_filled = kind.starts_with('-') && size != "0";
    is_filled.then(|| words.last().unwrap_or_default().to_owned())
}
