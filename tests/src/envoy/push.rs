//! The plugin's file while Envoy runs: exchanged in one step, as an operator or Kubernetes does it.

use std::path::Path;
use std::sync::PoisonError;
use std::time::Duration;

use serde_json::Value;

use super::Envoy;
use crate::config::{Plugin, exchange, merge, remove};
use crate::error::KitError;
use crate::wait::eventually_async;

const LIMIT: Duration = Duration::from_secs(20);
const STATS: &str = "extension_config_discovery.http_filter.portcullis";

impl Envoy {
    /// Lays `changes` over the plugin's settings, exchanges its file and waits until every worker has taken
    /// it over.
    pub async fn push_plugin(&self, changes: Value) -> Result<(), KitError> {
        self.push(|plugin| {
            merge(plugin.settings()?, changes);
            Ok(())
        })
        .await
    }

    /// As [`Self::push_plugin`], for another build of the plugin.
    pub async fn push_wasm(&self, path: &Path) -> Result<(), KitError> {
        self.push(|plugin| plugin.set_wasm(path)).await
    }

    async fn push(
        &self,
        change: impl FnOnce(&mut Plugin) -> Result<(), KitError>,
    ) -> Result<(), KitError> {
        let changed = {
            let mut plugin = self.plugin.lock().unwrap_or_else(PoisonError::into_inner);
            let before = plugin.clone();
            change(&mut plugin)?;
            (*plugin != before).then(|| plugin.value().to_string())
        };
        let Some(text) = changed else { return Ok(()) };
        let (taken, in_effect) = (
            self.plugin_stat("update_success"),
            self.plugin_stat("config_reload"),
        );
        let (taken, in_effect) = (taken.await, in_effect.await);
        self.push_plugin_file(&text)?;
        // Envoy counts a reload when the last worker is through, a success when there was no fault.
        let done = eventually_async(LIMIT, || async {
            self.plugin_stat("update_success").await > taken
                && self.plugin_stat("config_reload").await > in_effect
        });
        if done.await {
            return Ok(());
        }
        Err(KitError::NotReady {
            part: "Envoy".to_owned(),
            seconds: LIMIT.as_secs(),
            wanted: "it has taken over the plugin's file",
            log: self.child.log_tail(),
        })
    }

    /// Exchanges the plugin's file for any text, and waits for nothing.
    pub fn push_plugin_file(&self, text: &str) -> Result<(), KitError> {
        exchange(self.folder.path(), text).map(drop)
    }

    /// The plugin's file as it was last in effect.
    pub fn plugin_file(&self) -> String {
        let plugin = self.plugin.lock().unwrap_or_else(PoisonError::into_inner);
        plugin.value().to_string()
    }

    pub fn remove_plugin_file(&self) -> Result<(), KitError> {
        remove(self.folder.path())
    }

    /// What Envoy counts about the plugin's file: `update_success`, `update_rejected` and others.
    pub async fn plugin_stat(&self, name: &str) -> u64 {
        self.stat(&format!("{STATS}.{name}")).await
    }
}
