//! The files that the stack is made of: as they are, or, where base images are stood in for, which have other digests,
//! copies without digests.

use std::path::PathBuf;

use super::engine::Engine;
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
            std::fs::write(&to, pin::unpinned(&text)).map_err(Error::file("cannot write", &to))?;
        }
        Ok(files)
    }

    pub fn at(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// What they are built on and run, but for the compiler, which nobody needs who takes what is built.
    pub fn images(&self) -> Result<Vec<String>, Error> {
        let mut all = Vec::new();
        for file in pin::FILES {
            let path = self.at(file);
            let text = std::fs::read_to_string(&path).map_err(Error::file("cannot read", &path))?;
            all.extend(pin::references(&text));
        }
        all.retain(|image| !image.starts_with("rust:"));
        Ok(all)
    }
}
