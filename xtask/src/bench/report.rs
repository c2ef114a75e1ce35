//! `target/bench/report.json`: what the benchmarks found, each adding its part.

use std::path::PathBuf;

use kit::config::merge;
use serde_json::{Value, json};

use crate::error::Error;
use crate::say;
use crate::workspace::Workspace;

/// Lays `part` over what other benchmarks wrote before.
pub fn add(workspace: &Workspace, part: Value) -> Result<(), Error> {
    let path = path(workspace)?;
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let mut report = serde_json::from_str(&before).unwrap_or_else(|_| json!({}));
    merge(&mut report, part);
    std::fs::write(&path, format!("{report:#}\n")).map_err(Error::file("cannot write", &path))?;
    say::line(format_args!("\nwritten to {}", path.display()));
    Ok(())
}

fn path(workspace: &Workspace) -> Result<PathBuf, Error> {
    let folder = workspace.built("bench");
    std::fs::create_dir_all(&folder).map_err(Error::file("cannot create", &folder))?;
    Ok(folder.join("report.json"))
}
