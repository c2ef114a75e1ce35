//! Where things lie: the checkout and its build folder.

use std::env;
use std::path::{Path, PathBuf};

use crate::error::Error;

pub struct Workspace {
    root: PathBuf,
    target: PathBuf,
    /// Where cargo keeps what it fetches.
    cargo_home: PathBuf,
}

impl Workspace {
    /// The checkout that this xtask was built from.
    pub fn locate() -> Result<Self, Error> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest
            .parent()
            .ok_or_else(|| Error::Said("xtask does not lie in a workspace".to_owned()))?
            .to_path_buf();
        let target = env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root.join("target"), |given| root.join(given));
        Ok(Self::at_place(root, target))
    }

    /// Another checkout, such as a copy of this one.
    pub fn at_place(root: PathBuf, target: PathBuf) -> Self {
        let home = env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| Some(env::home_dir()?.join(".cargo")));
        Self {
            root,
            target,
            cargo_home: home.unwrap_or_default(),
        }
    }

    /// The same with another place for what cargo fetches.
    pub fn fetching_to(self, cargo_home: PathBuf) -> Self {
        Self { cargo_home, ..self }
    }

    pub fn cargo_home(&self) -> &Path {
        &self.cargo_home
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path in the checkout.
    pub fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }

    /// A path in the build folder.
    pub fn built(&self, path: impl AsRef<Path>) -> PathBuf {
        self.target.join(path)
    }
}
