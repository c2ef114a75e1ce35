//! A sidecar made by hand: serves snapshots that a test built (and perhaps broke), answers look-ups as
//! told, and fails in every way that a network can. Counts what it is asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reputation::manifest::SnapshotVersion;
use serde_json::json;
use tokio::sync::watch;

use crate::config::Endpoint;
use crate::error::KitError;
use crate::serve::{Answer, Asked, Server};
use crate::sidecar::Addresses;
use crate::snapshot::Built;

/// How the sidecar behaves on one of its paths.
#[derive(Debug, Clone, Default)]
pub enum Behaviour {
    /// As it should.
    #[default]
    Good,
    /// As it should, after a while.
    Late(Duration),
    /// Always this.
    Always(Answer),
}

pub struct RawSidecar {
    server: Option<Server>,
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    script: Mutex<Script>,
    published: watch::Sender<Option<Arc<Built>>>,
}

#[derive(Default)]
struct Script {
    verdicts: Behaviour,
    manifest: Behaviour,
    parts: Behaviour,
    health: Behaviour,
    denied: Vec<String>,
    asked: Vec<Asked>,
}

impl RawSidecar {
    /// Has no snapshot yet, and calls every address clean.
    pub async fn start() -> Result<Self, KitError> {
        let state = Arc::new(State {
            script: Mutex::new(Script::default()),
            published: watch::Sender::new(None),
        });
        let server = serve(0, &state).await?;
        Ok(Self {
            address: server.address(),
            server: Some(server),
            state,
        })
    }

    pub fn addresses(&self) -> Addresses {
        Addresses {
            edge: Endpoint::Tcp(self.address),
            probes: None,
        }
    }

    /// Serves this snapshot from now on, and tells whoever is polling.
    pub fn publish(&self, built: Built) {
        self.state.published.send_replace(Some(Arc::new(built)));
    }

    /// Stops listening and drops all connections.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Listens again at the same place.
    pub async fn resume(&mut self) -> Result<(), KitError> {
        self.server = Some(serve(self.address.port(), &self.state).await?);
        Ok(())
    }

    /// Calls this address malicious from now on.
    pub fn denies(&self, address: &str) {
        self.with(|script| script.denied.push(address.to_owned()));
    }

    /// Calls this address clean again.
    pub fn forgives(&self, address: &str) {
        self.with(|script| script.denied.retain(|denied| denied != address));
    }

    pub fn on_verdicts(&self, behaviour: Behaviour) {
        self.with(|script| script.verdicts = behaviour);
    }

    pub fn on_manifest(&self, behaviour: Behaviour) {
        self.with(|script| script.manifest = behaviour);
    }

    pub fn on_parts(&self, behaviour: Behaviour) {
        self.with(|script| script.parts = behaviour);
    }

    pub fn on_health(&self, behaviour: Behaviour) {
        self.with(|script| script.health = behaviour);
    }

    /// Everything that was asked under this path, in order.
    pub fn asked(&self, path: &str) -> Vec<Asked> {
        self.with(|script| {
            let all = script.asked.iter();
            all.filter(|asked| asked.path().starts_with(path))
                .cloned()
                .collect()
        })
    }

    fn with<R>(&self, act: impl FnOnce(&mut Script) -> R) -> R {
        self.state.with(act)
    }
}

async fn serve(port: u16, state: &Arc<State>) -> Result<Server, KitError> {
    let state = Arc::clone(state);
    Server::start(port, move |asked| {
        let state = Arc::clone(&state);
        async move { state.answer(asked).await }
    })
    .await
}

impl State {
    fn with<R>(&self, act: impl FnOnce(&mut Script) -> R) -> R {
        act(&mut self.script.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn answer(&self, asked: Asked) -> Answer {
        let behaviour = self.with(|script| {
            script.asked.push(asked.clone());
            script.behaviour(asked.path()).clone()
        });
        if asked.path() == "/v1/refusals" {
            return Answer::status(204);
        }
        match behaviour {
            Behaviour::Always(answer) => return answer,
            Behaviour::Late(delay) => tokio::time::sleep(delay).await,
            Behaviour::Good => {}
        }
        let path = asked.path();
        if let Some(address) = path.strip_prefix("/v1/verdict/") {
            return self.verdict(address);
        }
        if let Some(digest) = path.strip_prefix("/v1/parts/") {
            return self.part(digest);
        }
        match path {
            "/v1/manifest" => self.manifest(&asked).await,
            "/livez" => Answer::status(200),
            _ => Answer::status(404),
        }
    }

    fn verdict(&self, address: &str) -> Answer {
        let address = address.replace("%3A", ":");
        let denied = self.with(|script| script.denied.contains(&address));
        let length = if address.contains(':') { 128 } else { 32 };
        let scope = format!("{address}/{length}");
        if denied {
            return Answer::json(&json!({
                "action": "deny", "band": "malicious", "score": 95, "reason": "by hand",
                "ttl_s": 60, "provisional": false, "rank": "score", "scope": scope,
            }));
        }
        Answer::json(&json!({
            "action": "allow", "band": "clean", "score": 0, "reason": "clean",
            "ttl_s": 60, "provisional": false, "scope": scope,
        }))
    }

    async fn manifest(&self, asked: &Asked) -> Answer {
        let after = asked
            .query("after")
            .and_then(|text| text.parse::<SnapshotVersion>().ok());
        let wait = asked
            .query("wait_s")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        let mut published = self.published.subscribe();
        let newer = published.wait_for(|built| {
            built
                .as_ref()
                .is_some_and(|built| after != Some(built.manifest.version))
        });
        match tokio::time::timeout(Duration::from_secs(wait), newer).await {
            Ok(Ok(built)) => {
                let json = built.as_ref().map(|built| built.manifest_json());
                Answer::body("application/json", json.unwrap_or_default())
            }
            _ if after.is_some() => Answer::status(304),
            _ => Answer::status(503),
        }
    }

    fn part(&self, digest: &str) -> Answer {
        let published = self.published.borrow();
        let part = published.as_ref().and_then(|built| built.parts.get(digest));
        part.map_or_else(
            || Answer::status(404),
            |bytes| Answer::body("application/octet-stream", bytes.clone()),
        )
    }
}

impl Script {
    fn behaviour(&self, path: &str) -> &Behaviour {
        match path {
            "/v1/manifest" => &self.manifest,
            "/livez" => &self.health,
            path if path.starts_with("/v1/parts/") => &self.parts,
            _ => &self.verdicts,
        }
    }
}
