//! The plugin's file: the one that Envoy takes over while it runs.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::error::KitError;

/// Where an HTTP filter says from which file it comes.
pub const SOURCE: &str = "/config_discovery/config_source/path_config_source";
/// What stands there as shipped.
pub const SHIPPED: &str = "/etc/envoy/portcullis.yaml";
const ENTRY: &str = "/resources/0/typed_config";
const FILE: &str = "portcullis.yaml";

/// `envoy/portcullis.yaml` as JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct Plugin(Value);

impl Plugin {
    pub fn new(file: Value) -> Self {
        Self(file)
    }

    pub fn value(&self) -> &Value {
        &self.0
    }

    /// What `filter` reads.
    pub fn settings(&mut self) -> Result<&mut Value, KitError> {
        self.at("/configuration/value")
    }

    /// A place in the plugin's entry in Envoy, such as `/failure_policy`.
    pub fn at(&mut self, pointer: &str) -> Result<&mut Value, KitError> {
        let found = self.0.pointer_mut(&format!("{ENTRY}/config{pointer}"));
        found.ok_or_else(|| KitError::Config(format!("{pointer} in the plugin")))
    }

    pub fn set_wasm(&mut self, path: &Path) -> Result<(), KitError> {
        *self.at("/vm_config/code/local/filename")? = json!(path);
        Ok(())
    }

    /// The same as a filter that stands in a bootstrap.
    pub fn as_filter(&self) -> Value {
        json!({"name": "portcullis", "typed_config": self.0.pointer(ENTRY)})
    }

    /// Puts the file in its place in `folder` in one step.
    pub fn write(&self, folder: &Path) -> Result<PathBuf, KitError> {
        exchange(folder, &self.0.to_string())
    }
}

/// Puts any text in place of the plugin's file in `folder`, in one step; says where.
pub fn exchange(folder: &Path, text: &str) -> Result<PathBuf, KitError> {
    let (path, fresh) = (folder.join(FILE), folder.join("portcullis.new"));
    std::fs::write(&fresh, text)
        .and_then(|()| std::fs::rename(&fresh, &path))
        .map_err(KitError::io("cannot write the plugin's file"))?;
    Ok(path)
}

pub fn remove(folder: &Path) -> Result<(), KitError> {
    std::fs::remove_file(folder.join(FILE)).map_err(KitError::io("cannot remove the plugin's file"))
}
