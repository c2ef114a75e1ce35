//! Alertmanager, the real one, with the shipped configuration, and a webhook that it tells.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::child::Child;
use crate::config::{insert, read};
use crate::error::KitError;
use crate::{parts, ports};

pub struct Alertmanager {
    /// It ends with this value.
    _child: Child,
    _folder: TempDir,
    address: SocketAddr,
    webhook: Webhook,
}

/// Keeps what it is told.
struct Webhook {
    address: SocketAddr,
    told: Arc<Mutex<Vec<Value>>>,
    task: JoinHandle<()>,
}

impl Alertmanager {
    /// It waits for no other alerts before it tells of one.
    pub async fn start() -> Result<Self, KitError> {
        let webhook = Webhook::start().await?;
        let mut config = read(&parts::in_checkout("envoy/monitoring/alertmanager.yaml"))?;
        let place = |pointer: &str| KitError::Config(pointer.to_owned());
        let url = "/receivers/0/webhook_configs/0/url";
        *config.pointer_mut(url).ok_or_else(|| place(url))? =
            json!(format!("http://{}/alerts", webhook.address));
        let route = config
            .pointer_mut("/route")
            .ok_or_else(|| place("/route"))?;
        insert(route, "group_wait", json!("0s"));
        let folder = tempfile::Builder::new().prefix("alertmanager-").tempdir();
        let folder = folder.map_err(KitError::io("cannot make a folder"))?;
        let file = folder.path().join("alertmanager.yml");
        std::fs::write(&file, config.to_string())
            .map_err(KitError::io("cannot write Alertmanager's configuration"))?;
        let address = SocketAddr::from(([127, 0, 0, 1], ports::reserve()?));
        let mut command = Command::new(parts::alertmanager()?.join("prometheus-alertmanager"));
        command
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.path={}", folder.path().display()));
        let mut child = Child::spawn("alertmanager", &mut command, folder.path())?;
        child.wait_until_answers(address, "/-/ready").await?;
        Ok(Self {
            _child: child,
            _folder: folder,
            address,
            webhook,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The firing alerts of this name that the webhook was told of.
    pub fn told(&self, alert: &str) -> Vec<Value> {
        let told = self.webhook.told.lock();
        let told = told.unwrap_or_else(PoisonError::into_inner);
        let alerts = told
            .iter()
            .filter_map(|message| message["alerts"].as_array());
        let is = |one: &Value, place: &str, word: &str| {
            one.pointer(place).and_then(Value::as_str) == Some(word)
        };
        let fits =
            |one: &&Value| is(one, "/labels/alertname", alert) && is(one, "/status", "firing");
        alerts.flatten().filter(fits).cloned().collect()
    }
}

impl Webhook {
    async fn start() -> Result<Self, KitError> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.map_err(KitError::io("cannot listen"))?;
        let address = listener.local_addr();
        let address = address.map_err(KitError::io("cannot name the port"))?;
        let told = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&told);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let kept = Arc::clone(&kept);
                let service = service_fn(move |request| keep(request, Arc::clone(&kept)));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Ok(Self {
            address,
            told,
            task,
        })
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep(
    request: hyper::Request<Incoming>,
    told: Arc<Mutex<Vec<Value>>>,
) -> Result<hyper::Response<Empty<Bytes>>, Infallible> {
    let body = request.into_body().collect().await;
    let message = body.map(|body| serde_json::from_slice(&body.to_bytes()));
    if let Ok(Ok(message)) = message {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        told.push(message);
    }
    Ok(hyper::Response::new(Empty::new()))
}
