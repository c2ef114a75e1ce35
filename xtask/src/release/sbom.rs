//! Bills of materials in CycloneDX, by the tool that CycloneDX itself keeps for cargo.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::error::Error;
use crate::release::{read, write};
use crate::workspace::Workspace;
use crate::{run, say};

const TOOL: &str = "cargo-cyclonedx";
const TOOL_VERSION: &str = "0.5.9";
/// The tool writes one beside every manifest of the workspace.
const NAME: &str = "bill-of-materials";

/// What one package is made of on one target, into `to`.
pub fn make(workspace: &Workspace, package: &str, target: &str, to: &Path) -> Result<(), Error> {
    let tool = ensure(workspace)?;
    say::step(format_args!(
        "the bill of materials of {package} for {target}"
    ));
    let mut command = Command::new(tool);
    command
        .current_dir(workspace.root())
        .args([
            "cyclonedx",
            "--quiet",
            "--format",
            "json",
            "--spec-version",
            "1.5",
        ])
        .args([
            "--no-build-deps",
            "--override-filename",
            NAME,
            "--target",
            target,
        ])
        .arg("--manifest-path")
        .arg(workspace.at(package).join("Cargo.toml"))
        // Without it, the bill says when it was made.
        .env("SOURCE_DATE_EPOCH", "0");
    let made = run::run(&mut command);
    let bill = made.and_then(|()| read(&written(&workspace.at(package))));
    for folder in members(workspace)? {
        // Where nothing was written there is nothing to remove.
        let _ = std::fs::remove_file(written(&folder));
    }
    write(to, without_place(&bill?, workspace.root()).as_bytes())
}

fn written(package: &Path) -> PathBuf {
    package.join(format!("{NAME}.json"))
}

/// The bill names our own packages by where they lie on this machine.
fn without_place(bill: &[u8], root: &Path) -> String {
    let place = format!("path+file://{}/", root.display());
    String::from_utf8_lossy(bill).replace(&place, "path+file:///")
}

/// The folders of the workspace's packages.
fn members(workspace: &Workspace) -> Result<Vec<PathBuf>, Error> {
    let mut cargo = run::cargo();
    let told = run::printed(cargo.current_dir(workspace.root()).args([
        "metadata",
        "--locked",
        "--no-deps",
        "--format-version",
        "1",
    ]))?;
    let told: Value = serde_json::from_str(&told)
        .map_err(|error| Error::Said(format!("cargo metadata is not JSON: {error}")))?;
    let packages = told.get("packages").and_then(Value::as_array);
    let manifest = |package: &Value| Some(PathBuf::from(package.get("manifest_path")?.as_str()?));
    let manifests = packages.into_iter().flatten().filter_map(manifest);
    Ok(manifests
        .filter_map(|path| Some(path.parent()?.to_path_buf()))
        .collect())
}

/// Built once, in a folder of its version.
fn ensure(workspace: &Workspace) -> Result<PathBuf, Error> {
    let root = workspace.built(TOOL).join(TOOL_VERSION);
    let tool = root.join("bin").join(TOOL);
    if tool.is_file() {
        return Ok(tool);
    }
    say::step(format_args!("building {TOOL} {TOOL_VERSION}"));
    let mut cargo = run::cargo();
    cargo
        .args([
            "install",
            "--quiet",
            "--locked",
            TOOL,
            "--version",
            TOOL_VERSION,
            "--root",
        ])
        .arg(&root)
        .env_remove("CARGO_TARGET_DIR");
    run::run(&mut cargo)?;
    Ok(tool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bill_does_not_tell_where_it_was_made() {
        let bill = br#"{"bom-ref":"path+file:///home/me/portcullis/sidecar#0.1.0","name":"log"}"#;
        let told = without_place(bill, Path::new("/home/me/portcullis"));
        assert_eq!(
            told,
            r#"{"bom-ref":"path+file:///sidecar#0.1.0","name":"log"}"#
        );
    }
}
