//! Places in a bootstrap: listeners and clusters by their names, and what stands in a listener.

use serde_json::Value;

use super::EdgeConfig;
use crate::error::KitError;

const LISTENERS: &str = "/static_resources/listeners";
const CLUSTERS: &str = "/static_resources/clusters";
const MANAGER: &str = "/filter_chains/0/filters";

impl EdgeConfig {
    /// The connection manager of the edge.
    pub fn hcm(&mut self) -> Result<&mut Value, KitError> {
        self.manager("edge")
    }

    /// The connection manager of a listener.
    pub fn manager(&mut self, listener: &str) -> Result<&mut Value, KitError> {
        let filters = members(self.listener(listener)?, MANAGER);
        let manager = filters.iter_mut().find(|filter| is_manager(filter));
        let config = manager.and_then(|manager| manager.get_mut("typed_config"));
        config.ok_or_else(|| KitError::Config(format!("connection manager of listener {listener}")))
    }

    pub fn listener(&mut self, name: &str) -> Result<&mut Value, KitError> {
        let mut listeners = members(&mut self.bootstrap, LISTENERS).iter_mut();
        let found = listeners.find(|one| one["name"] == name);
        found.ok_or_else(|| KitError::Config(format!("listener {name}")))
    }

    pub fn cluster(&mut self, name: &str) -> Result<&mut Value, KitError> {
        let mut clusters = members(&mut self.bootstrap, CLUSTERS).iter_mut();
        let found = clusters.find(|one| one["name"] == name);
        found.ok_or_else(|| KitError::Config(format!("cluster {name}")))
    }

    /// Any place in the bootstrap, by JSON pointer.
    pub fn at(&mut self, pointer: &str) -> Result<&mut Value, KitError> {
        let found = self.bootstrap.pointer_mut(pointer);
        found.ok_or_else(|| KitError::Config(pointer.to_owned()))
    }
}

pub fn listeners(bootstrap: &mut Value) -> &mut [Value] {
    members(bootstrap, LISTENERS)
}

/// The members of a list; none where there is no list.
fn members<'a>(value: &'a mut Value, pointer: &str) -> &'a mut [Value] {
    let list = value.pointer_mut(pointer).and_then(Value::as_array_mut);
    list.map(Vec::as_mut_slice).unwrap_or_default()
}

/// The HTTP filters of all listeners.
pub fn filters(bootstrap: &mut Value) -> impl Iterator<Item = &mut Value> {
    managers(bootstrap).flat_map(|manager| members(manager, "/http_filters"))
}

/// The connection managers of all listeners.
pub fn managers(bootstrap: &mut Value) -> impl Iterator<Item = &mut Value> {
    listeners(bootstrap)
        .iter_mut()
        .flat_map(|listener| members(listener, MANAGER))
        .filter(|filter| is_manager(filter))
        .filter_map(|filter| filter.get_mut("typed_config"))
}

fn is_manager(filter: &Value) -> bool {
    filter["name"] == "envoy.filters.network.http_connection_manager"
}
