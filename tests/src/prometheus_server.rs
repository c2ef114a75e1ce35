//! Prometheus, the real one, with the shipped configuration on real targets; it scrapes every half a second.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::child::Child;
use crate::client::Request;
use crate::config::{insert, read};
use crate::error::KitError;
use crate::{parts, ports};

const FOLDER: &str = "envoy/monitoring";

pub struct PrometheusServer {
    /// It ends with this value.
    _child: Child,
    _folder: TempDir,
    address: SocketAddr,
}

/// Whom it watches and whom it tells.
#[derive(Debug, Clone, Default)]
pub struct Targets {
    /// Listeners for statistics.
    pub envoys: Vec<SocketAddr>,
    pub sidecars: Vec<SocketAddr>,
    pub alertmanager: Option<SocketAddr>,
}

impl PrometheusServer {
    /// With the shipped rules, which here do not wait before they fire.
    pub async fn start(targets: &Targets) -> Result<Self, KitError> {
        let folder = tempfile::Builder::new().prefix("prometheus-").tempdir();
        let folder = folder.map_err(KitError::io("cannot make a folder"))?;
        write_files(folder.path(), targets)?;
        let address = SocketAddr::from(([127, 0, 0, 1], ports::reserve()?));
        let mut command = Command::new(parts::prometheus()?.join("prometheus"));
        command
            .arg(format!("--web.listen-address={address}"))
            .arg(argument(
                "--config.file",
                &folder.path().join("prometheus.yml"),
            ))
            .arg(argument("--storage.tsdb.path", &folder.path().join("data")));
        let mut child = Child::spawn("prometheus", &mut command, folder.path())?;
        child.wait_until_answers(address, "/-/ready").await?;
        Ok(Self {
            _child: child,
            _folder: folder,
            address,
        })
    }

    /// What an expression comes to now: each series with its labels and its value, NaN left out.
    pub async fn query(&self, expression: &str) -> Result<Vec<Series>, KitError> {
        let path = format!("/api/v1/query?query={}", encoded(expression));
        let answer = Request::get(&path).send(self.address).await?;
        let said = answer.json();
        let series = said.pointer("/data/result").and_then(Value::as_array);
        let series = series.ok_or_else(|| KitError::Http(answer.text()))?;
        Ok(series.iter().filter_map(Series::of).collect())
    }
}

/// One series at one time.
#[derive(Debug, Clone)]
pub struct Series {
    pub labels: serde_json::Map<String, Value>,
    pub value: f64,
}

impl Series {
    fn of(answer: &Value) -> Option<Self> {
        let value: f64 = answer.pointer("/value/1")?.as_str()?.parse().ok()?;
        let labels = answer.get("metric")?.as_object()?.clone();
        (!value.is_nan()).then_some(Self { labels, value })
    }

    pub fn label(&self, name: &str) -> &str {
        let value = self.labels.get(name).and_then(Value::as_str);
        value.unwrap_or_default()
    }
}

fn write_files(folder: &Path, targets: &Targets) -> Result<(), KitError> {
    let shipped = |name: &str| read(&parts::in_checkout(FOLDER).join(name));
    let (mut config, mut rules) = (shipped("prometheus.yaml")?, shipped("rules.yaml")?);
    let global = json!({"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"});
    insert(&mut config, "global", global);
    let alertmanager = Vec::from_iter(targets.alertmanager);
    set_targets(&mut config, "/alerting/alertmanagers/0", &alertmanager)?;
    set_targets(&mut config, "/scrape_configs/0", &targets.envoys)?;
    set_targets(&mut config, "/scrape_configs/1", &targets.sidecars)?;
    for group in members(&mut rules, "/groups") {
        for rule in members(group, "/rules") {
            rule.as_object_mut().map(|rule| rule.remove("for"));
        }
    }
    for (name, value) in [("prometheus.yml", config), ("rules.yaml", rules)] {
        std::fs::write(folder.join(name), value.to_string())
            .map_err(KitError::io("cannot write Prometheus's configuration"))?;
    }
    Ok(())
}

fn set_targets(config: &mut Value, place: &str, targets: &[SocketAddr]) -> Result<(), KitError> {
    let found = config.pointer_mut(&format!("{place}/static_configs/0/targets"));
    *found.ok_or_else(|| KitError::Config(place.to_owned()))? = json!(targets);
    Ok(())
}

fn members<'a>(value: &'a mut Value, pointer: &str) -> &'a mut [Value] {
    let list = value.pointer_mut(pointer).and_then(Value::as_array_mut);
    list.map(Vec::as_mut_slice).unwrap_or_default()
}

fn argument(name: &str, path: &Path) -> String {
    format!("{name}={}", path.display())
}

fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}
