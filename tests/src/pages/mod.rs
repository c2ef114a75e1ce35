//! The documentation as a machine reads it: pages, their fenced blocks and the commands in them, what a command
//! is said to print, and links. It runs nothing; `crate::shell` does.

mod block;
mod commands;
mod headings;
mod likeness;
mod links;
mod marker;

use std::path::Path;

use crate::error::KitError;
use crate::parts;

pub use block::{Block, LANGUAGES};
pub use commands::{Command, commands};
pub use likeness::{Shown, is_like};
pub use links::{Link, anchors, links, named_commands};
pub use marker::{Marker, REASONS};

/// Pages that lie outside of docs/.
const OUTSIDE: [&str; 5] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
];

/// A page of the documentation.
#[derive(Debug)]
pub struct Page {
    /// Its path in the checkout.
    pub path: String,
    pub text: String,
}

impl Page {
    pub fn read(path: &str) -> Result<Self, KitError> {
        let text = std::fs::read_to_string(parts::in_checkout(path));
        Ok(Self {
            path: path.to_owned(),
            text: text.map_err(KitError::io(format!("cannot read {path}")))?,
        })
    }

    /// Every page there is, in the order of their paths.
    pub fn all() -> Result<Vec<Self>, KitError> {
        let mut paths: Vec<_> = OUTSIDE.map(str::to_owned).into();
        collect(Path::new("docs"), &mut paths)?;
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    pub fn blocks(&self) -> Result<Vec<Block>, KitError> {
        block::blocks(&self.text).map_err(|fault| self.fault(&fault))
    }

    /// The blocks that a marker says `file` runs: a test asks for its own by `file!()`.
    pub fn run_by(&self, file: &str) -> Result<Vec<Block>, KitError> {
        let ours = Marker::RunBy(file.to_owned());
        let mut blocks = self.blocks()?;
        blocks.retain(|block| block.marker.as_ref() == Some(&ours));
        match blocks.is_empty() {
            true => Err(self.fault(&format!(" no block that {file} runs"))),
            false => Ok(blocks),
        }
    }

    /// A fault in this page.
    pub fn fault(&self, fault: &str) -> KitError {
        KitError::Page(format!("{}:{fault}", self.path))
    }
}

fn collect(folder: &Path, paths: &mut Vec<String>) -> Result<(), KitError> {
    let action = || format!("cannot list {}", folder.display());
    let entries = std::fs::read_dir(parts::in_checkout(folder)).map_err(KitError::io(action()))?;
    for entry in entries {
        let path = folder.join(entry.map_err(KitError::io(action()))?.file_name());
        if parts::in_checkout(&path).is_dir() {
            collect(&path, paths)?;
        } else if path.extension().is_some_and(|extension| extension == "md") {
            paths.push(path.display().to_string());
        }
    }
    Ok(())
}
