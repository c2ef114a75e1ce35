//! What several tests set up alike.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kit::envoy::EnvoyBuilder;
use kit::sidecar::{Addresses, SidecarBuilder};
use kit::{Envoy, RawSidecar, Sidecar, Upstream, eventually_async};
use serde_json::Value;

/// Longer than anything that is awaited takes on a busy machine; shorter than patience.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Stands on a list in every edge with a real sidecar.
pub const CANARY: &str = "192.0.2.255";

/// Envoy with the plugin, the real sidecar and an upstream.
pub struct Edge {
    pub envoy: Envoy,
    pub sidecar: Sidecar,
    pub upstream: Upstream,
}

/// Envoy with the plugin, a sidecar made by hand and an upstream.
pub struct RawEdge {
    pub envoy: Envoy,
    pub sidecar: RawSidecar,
    pub upstream: Upstream,
}

/// Connections that together reach every worker.
pub struct Workers(kit::Workers);

/// A sidecar whose one list holds the canary and these lines.
pub fn sidecar_that_blocks(lines: &[&str]) -> SidecarBuilder {
    let lines = [&[CANARY], lines].concat();
    Sidecar::builder()
        .unwrap()
        .block_list("listed", &lines)
        .unwrap()
}

impl Edge {
    /// One worker, and an upstream.
    pub async fn start(sidecar: SidecarBuilder) -> Self {
        Self::start_with(sidecar, |envoy| envoy).await
    }

    /// Waits until every worker has the snapshot.
    pub async fn start_with(
        sidecar: SidecarBuilder,
        change: impl FnOnce(EnvoyBuilder) -> EnvoyBuilder,
    ) -> Self {
        let edge = Self::start_unready(sidecar, change).await;
        assert!(
            edge.envoy.until_snapshot(LIMIT).await.unwrap(),
            "no snapshot: {}",
            edge.envoy.log()
        );
        edge
    }

    /// Does not wait for a snapshot.
    pub async fn start_unready(
        sidecar: SidecarBuilder,
        change: impl FnOnce(EnvoyBuilder) -> EnvoyBuilder,
    ) -> Self {
        let upstream = Upstream::start().await.unwrap();
        let sidecar = sidecar.start().await.unwrap();
        let builder = between(&upstream, &sidecar.addresses());
        let envoy = change(builder).start().await.unwrap();
        Self {
            envoy,
            sidecar,
            upstream,
        }
    }

    /// Runs a command that must succeed; returns what it printed.
    pub async fn cli(&self, arguments: &[&str]) -> String {
        cli(&self.sidecar, arguments).await
    }
}

/// An Envoy in the demo's configuration that knows where both are.
pub fn between(upstream: &Upstream, sidecar: &Addresses) -> EnvoyBuilder {
    let builder = Envoy::builder().unwrap();
    let builder = builder.upstream(upstream.address()).unwrap();
    builder.sidecar(sidecar).unwrap()
}

/// Runs a command that must succeed; returns what it printed.
pub async fn cli(sidecar: &Sidecar, arguments: &[&str]) -> String {
    let output = sidecar.cli(arguments).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success(),
        "portcullis {arguments:?}: {out}{err}"
    );
    out
}

/// Builds a library that is loaded ahead of the C library.
pub fn build_library(source: &Path, library: &Path) {
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-o"]);
    let built = compiler.arg(library).arg(source).arg("-ldl").output();
    let built = built.unwrap();
    assert!(built.status.success(), "{built:?}");
}

impl RawEdge {
    /// One worker, and a sidecar that has no snapshot yet.
    pub async fn start() -> Self {
        Self::start_with(|envoy| envoy).await
    }

    pub async fn start_with(change: impl FnOnce(EnvoyBuilder) -> EnvoyBuilder) -> Self {
        let upstream = Upstream::start().await.unwrap();
        let sidecar = RawSidecar::start().await.unwrap();
        let builder = between(&upstream, &sidecar.addresses());
        let envoy = change(builder).start().await.unwrap();
        Self {
            envoy,
            sidecar,
            upstream,
        }
    }
}

impl Workers {
    pub async fn of(envoy: &Envoy) -> Self {
        Self(kit::Workers::of(envoy).await.unwrap())
    }

    /// Waits until every worker answers this client with this status.
    pub async fn all_answer(&mut self, client: &str, status: u16) -> bool {
        let answered = self.0.all_answer(client, status, LIMIT).await;
        answered.unwrap()
    }
}

/// Waits until `GET /` for this client is answered with this status. Enough with one worker.
pub async fn until_status(envoy: &Envoy, client: &str, status: u16) -> bool {
    eventually_async(LIMIT, || async { envoy.status_for(client).await == status }).await
}

/// Waits until a metric of the plugin is at least this.
pub async fn until_metric(envoy: &Envoy, name: &str, labels: &[&str], least: f64) -> bool {
    eventually_async(LIMIT, || async {
        envoy.metric(name, labels).await >= least
    })
    .await
}

/// No VM of the plugin died so far.
pub fn no_vm_died(envoy: &Envoy) -> bool {
    let log = envoy.log();
    !log.contains("Uncaught RuntimeError") && !log.contains("panicked at")
}

/// The names of the request headers that reached the upstream, from its answer.
pub fn header_names(seen: &Value) -> Vec<String> {
    let headers = seen["headers"].as_object();
    headers
        .map(|headers| headers.keys().cloned().collect())
        .unwrap_or_default()
}
