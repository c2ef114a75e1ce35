//! The canary that the sidecar sends to the real edge: enforcement that silently stopped is seen.

use std::time::Duration;

use kit::eventually_async;
use serde_json::json;

use crate::common::{CANARY, Edge, LIMIT, sidecar_that_blocks};

const INTERVAL: Duration = Duration::from_secs(2);
const LAST_SUCCESS: &str = "portcullis_canary_last_success_timestamp_seconds";

/// An edge whose sidecar sends it a canary, and reads what it counts.
async fn watched() -> Edge {
    let edge = Edge::start(sidecar_that_blocks(&[])).await;
    watch(&edge);
    edge
}

/// Tells a sidecar where its proxy is, once that is known.
pub fn watch(edge: &Edge) {
    let (config, envoy) = (edge.sidecar.config(), &edge.envoy);
    let sections = format!(
        "{config}\n[canary]\nedge = \"http://{}\"\ninterval = \"2s\"\n[envoy]\nstats = [\"http://{}\"]\n",
        envoy.edge(),
        envoy.stats_address()
    );
    edge.sidecar.rewrite(&sections).unwrap();
}

impl Edge {
    /// Waits until this became of the last canary.
    pub async fn until_canary(&self, state: &str, limit: Duration) -> bool {
        let label = format!("state=\"{state}\"");
        let seen = || async {
            let name = "portcullis_canary_state";
            self.sidecar.metric(name, &[&label]).await == 1.0
        };
        eventually_async(limit, seen).await
    }

    async fn last_success(&self) -> f64 {
        self.sidecar.metric(LAST_SUCCESS, &[]).await
    }
}

#[tokio::test]
async fn enforcement_that_silently_stopped_is_seen_within_two_intervals() {
    let edge = watched().await;
    assert!(
        edge.until_canary("refused", LIMIT).await,
        "{}",
        edge.sidecar.log()
    );
    let good = edge.envoy.plugin_file();

    // Somebody switches the plugin off.
    edge.envoy
        .push_plugin(json!({"mode": "off"}))
        .await
        .unwrap();
    assert!(
        edge.until_canary("passed", 2 * INTERVAL).await,
        "{}",
        edge.sidecar.log()
    );
    let stopped = edge.last_success().await;
    assert!(stopped > 0.0);
    let said = "the edge passes the canary";
    assert!(edge.sidecar.log().contains(said), "{}", edge.sidecar.log());
    edge.envoy.push_plugin_file(&good).unwrap();
    assert!(edge.until_canary("refused", LIMIT).await);
    assert!(edge.last_success().await > stopped);

    // The plugin is no longer there: another filter stands in its place.
    edge.envoy
        .push_plugin_file(&nothing_in_its_place().to_string())
        .unwrap();
    assert!(
        edge.until_canary("passed", 2 * INTERVAL).await,
        "{}",
        edge.sidecar.log()
    );
    assert_eq!(edge.envoy.status_for(CANARY).await, 200);
}

#[tokio::test]
async fn in_monitor_it_is_noted_and_an_operators_off_pauses_it() {
    let edge = watched().await;
    edge.envoy
        .push_plugin(json!({"mode": "monitor"}))
        .await
        .unwrap();
    assert!(
        edge.until_canary("noted", LIMIT).await,
        "{}",
        edge.sidecar.log()
    );
    assert!(edge.last_success().await > 0.0);

    edge.cli(&["mode", "off", "--for", "1h"]).await;
    assert!(
        edge.until_canary("paused", LIMIT).await,
        "{}",
        edge.sidecar.log()
    );
    let off = ["mode=\"off\"", "scope=\"all\""];
    let overrides = "portcullis_mode_overrides";
    assert_eq!(edge.sidecar.metric(overrides, &off).await, 1.0);
    edge.cli(&["mode", "--clear"]).await;
    assert!(edge.until_canary("noted", LIMIT).await);
    assert_eq!(edge.sidecar.metric(overrides, &off).await, 0.0);
}

/// A file with a filter that does nothing, which envoy.yaml permits in this place.
fn nothing_in_its_place() -> serde_json::Value {
    json!({"resources": [{
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": "portcullis",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config",
        },
    }]})
}
