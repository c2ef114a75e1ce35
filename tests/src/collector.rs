//! OpenTelemetry's collector, the real one, with a configuration of the documents.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::child::Child;
use crate::error::KitError;
use crate::inbox::Inbox;
use crate::parts;

/// Sends what it reads to an inbox.
pub struct Collector {
    child: Child,
    inbox: Inbox,
    _folder: TempDir,
}

impl Collector {
    /// Runs the first YAML of `document`, reading these files and sending here.
    pub async fn start(document: &str, files: [&Path; 2]) -> Result<Self, KitError> {
        let inbox = Inbox::start().await?;
        let folder = tempfile::tempdir().map_err(KitError::io("cannot make a folder"))?;
        let block = document
            .split("```yaml\n")
            .nth(1)
            .and_then(|rest| rest.split("```").next());
        let [access, sidecar] = files.map(|file| file.display().to_string());
        let config = block
            .unwrap_or_default()
            .replace("/var/log/envoy/access.json", &access)
            .replace("/var/log/portcullis/sidecar.json", &sidecar)
            .replace(
                "https://collector.example.com:4318",
                &format!("http://{}", inbox.address()),
            )
            // A compressed body would need unpacking here; and statistics another port.
            .replace("encoding: json", "encoding: json, compression: none")
            .replace(
                "service:\n",
                "service:\n  telemetry: {metrics: {level: none}}\n",
            );
        let path = folder.path().join("collector.yaml");
        std::fs::write(&path, config).map_err(KitError::io("cannot write a configuration"))?;
        let mut command = Command::new(parts::collector()?);
        command.arg("--config").arg(path);
        Ok(Self {
            child: Child::spawn("collector", &mut command, folder.path())?,
            inbox,
            _folder: folder,
        })
    }

    /// All records that it has sent so far.
    pub fn records(&self) -> Vec<Value> {
        let mut records = Vec::new();
        for posted in self.inbox.posted() {
            let body: Value = serde_json::from_slice(&posted.body).unwrap_or_default();
            let scopes = members(&body, "resourceLogs").flat_map(|one| members(one, "scopeLogs"));
            records.extend(scopes.flat_map(|one| members(one, "logRecords")).cloned());
        }
        records
    }

    pub fn log(&self) -> String {
        self.child.stderr()
    }
}

fn members<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    let list = value.get(name).and_then(Value::as_array);
    list.into_iter().flatten()
}
