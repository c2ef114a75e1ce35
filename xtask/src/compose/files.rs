//! The files that the stack is made of: as they are, or, where base images are stood in for, which have other digests,
//! copies without digests.

use std::path::PathBuf;

use super::Making;
use crate::engine::Engine;
use crate::error::Error;
use crate::pin;
use crate::workspace::Workspace;

pub struct Files {
    folder: PathBuf,
}

impl Files {
    pub fn of(workspace: &Workspace, engine: &Engine) -> Result<Self, Error> {
        if !engine.is_own() {
            let folder = workspace.root().to_path_buf();
            return Ok(Self { folder });
        }
        let files = Self {
            folder: workspace.built("compose"),
        };
        for file in pin::FILES {
            let (from, to) = (workspace.at(file), files.at(file));
            let text = std::fs::read_to_string(&from).map_err(Error::file("cannot read", &from))?;
            let folder = to.parent().unwrap_or(&to);
            std::fs::create_dir_all(folder).map_err(Error::file("cannot create", folder))?;
            let text = files.led_to_copies(&pin::unpinned(&text));
            std::fs::write(&to, text).map_err(Error::file("cannot write", &to))?;
        }
        Ok(files)
    }

    pub fn at(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// What is named of a Dockerfile in docker-compose.yml, led to the copy of it. An engine of our own has no network of
    /// its own to give to what compiles.
    fn led_to_copies(&self, compose: &str) -> String {
        let here = format!("network: host\n    dockerfile: {}/", self.folder.display());
        compose.replace("dockerfile: ", &here)
    }

    /// What they are built on and run, but for the compiler where nothing is compiled by them.
    pub fn images(&self, making: Making) -> Result<Vec<String>, Error> {
        let mut all = Vec::new();
        for file in pin::FILES {
            let path = self.at(file);
            let text = std::fs::read_to_string(&path).map_err(Error::file("cannot read", &path))?;
            all.extend(pin::references(&text));
        }
        all.retain(|image| making == Making::Inside || !image.starts_with("rust:"));
        Ok(all)
    }
}
