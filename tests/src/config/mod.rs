//! The shipped Envoy configuration, and named changes to it. Tests and the demo never have a
//! configuration of their own: they start from `envoy/envoy.yaml` and `envoy/portcullis.yaml` and change
//! what they must.

mod json;
mod plugin;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::error::KitError;
use crate::sidecar::Addresses;
use crate::{parts, ports};

pub use json::{differences, insert, merge};
pub use plugin::{Plugin, exchange};

const LISTENERS: &str = "/static_resources/listeners";
const CLUSTERS: &str = "/static_resources/clusters";
const MANAGER: &str = "/filter_chains/0/filters";

/// Where a cluster's one endpoint is.
#[derive(Debug, Clone)]
pub enum Endpoint {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Envoy's bootstrap as JSON, and the plugin's file.
#[derive(Debug, Clone)]
pub struct EdgeConfig {
    bootstrap: Value,
    plugin: Plugin,
}

impl EdgeConfig {
    /// `envoy/envoy.yaml` and `envoy/portcullis.yaml` as they are shipped.
    pub fn shipped() -> Result<Self, KitError> {
        Ok(Self {
            bootstrap: read(&parts::in_checkout("envoy/envoy.yaml"))?,
            plugin: Plugin::new(read(&parts::in_checkout("envoy/portcullis.yaml"))?),
        })
    }

    /// The bootstrap.
    pub fn value(&self) -> &Value {
        &self.bootstrap
    }

    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// Writes both files into `folder`, where they refer to each other; says where the bootstrap is.
    pub fn write(&self, folder: &Path) -> Result<PathBuf, KitError> {
        let mut bootstrap = self.bootstrap.clone();
        let plugin = self.plugin.write(folder)?;
        for filter in filters_of(&mut bootstrap) {
            if let Some(source) = filter.pointer_mut(plugin::SOURCE) {
                *source = json!({"path": plugin, "watched_directory": {"path": folder}});
            }
        }
        let path = folder.join("envoy.json");
        std::fs::write(&path, bootstrap.to_string())
            .map_err(KitError::io("cannot write Envoy's configuration"))?;
        Ok(path)
    }

    /// With the plugin's file put in where it is referred to, so that `envoy --mode validate`, which does
    /// not read that file, sees it all.
    pub fn in_one(&self) -> Self {
        let mut one = self.clone();
        for filter in filters_of(&mut one.bootstrap) {
            if filter.pointer(plugin::SOURCE).is_some() {
                *filter = self.plugin.as_filter();
            }
        }
        one
    }

    /// The demo enforces, and lets whoever connects from this machine speak for a client. Nothing else
    /// differs from what is shipped.
    pub fn demo_patch(&mut self) -> Result<(), KitError> {
        self.set_mode("enforce")?;
        let hcm = self.hcm()?;
        insert(hcm, "use_remote_address", json!(false));
        let trusted = json!([
            {"address_prefix": "127.0.0.0", "prefix_len": 8},
            {"address_prefix": "::1", "prefix_len": 128},
        ]);
        let detection = json!([{
            "name": "envoy.http.original_ip_detection.xff",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.http.original_ip_detection.xff.v3.XffConfig",
                "xff_trusted_cidrs": {"cidrs": trusted},
            },
        }]);
        insert(hcm, "original_ip_detection_extensions", detection);
        Ok(())
    }

    pub fn set_mode(&mut self, mode: &str) -> Result<(), KitError> {
        insert(self.plugin_settings()?, "mode", json!(mode));
        Ok(())
    }

    /// How many proxies in front of the edge and of the reputation API are trusted to append to
    /// `x-forwarded-for`.
    pub fn set_hops(&mut self, hops: u32) -> Result<(), KitError> {
        for listener in ["edge", "reputation_api"] {
            let manager = self.manager(listener)?;
            insert(manager, "xff_num_trusted_hops", json!(hops));
        }
        Ok(())
    }

    pub fn set_wasm(&mut self, path: &Path) -> Result<(), KitError> {
        *self.plugin_at("/vm_config/code/local/filename")? = json!(path);
        Ok(())
    }

    /// All listeners and admin on loopback, on ports that nobody else has.
    pub fn on_any_port(&mut self) -> Result<(), KitError> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        for listener in members(&mut self.bootstrap, LISTENERS) {
            insert(listener, "address", socket(any));
        }
        // Known beforehand, because a cluster leads there.
        self.set_admin((Ipv4Addr::LOCALHOST, ports::reserve()?).into())
    }

    /// Points everything that asks a sidecar at one sidecar.
    pub fn set_sidecar(&mut self, addresses: &Addresses) -> Result<(), KitError> {
        for cluster in ["portcullis", "portcullis_poll"] {
            self.set_cluster(cluster, &addresses.edge, addresses.probes)?;
        }
        self.set_cluster("portcullis_api", &addresses.edge, None)?;
        let probes = addresses.probes.map(Endpoint::Tcp);
        self.set_cluster(
            "portcullis_probes",
            probes.as_ref().unwrap_or(&addresses.edge),
            None,
        )
    }

    pub fn set_admin(&mut self, address: SocketAddr) -> Result<(), KitError> {
        *self.at("/admin/address")? = socket(address);
        self.set_cluster("envoy_admin", &Endpoint::Tcp(address), None)
    }

    /// Points a cluster at `endpoint`; its probes go to `probes`, by default to the same place.
    pub fn set_cluster(
        &mut self,
        name: &str,
        endpoint: &Endpoint,
        probes: Option<SocketAddr>,
    ) -> Result<(), KitError> {
        let address = match endpoint {
            Endpoint::Tcp(address) => socket(*address),
            Endpoint::Unix(path) => json!({"pipe": {"path": path}}),
        };
        let mut endpoint = json!({"address": address});
        if let Some(probes) = probes {
            let health = json!({"address": socket(probes)});
            insert(&mut endpoint, "health_check_config", health);
        }
        let place = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint";
        let cluster = self.cluster(name)?;
        let found = cluster.pointer_mut(place);
        *found.ok_or_else(|| KitError::Config(format!("{place} in cluster {name}")))? = endpoint;
        Ok(())
    }

    /// The settings of the plugin: what `filter` reads.
    pub fn plugin_settings(&mut self) -> Result<&mut Value, KitError> {
        self.plugin.settings()
    }

    /// A place in the plugin's entry in Envoy, such as `/failure_policy`.
    pub fn plugin_at(&mut self, pointer: &str) -> Result<&mut Value, KitError> {
        self.plugin.at(pointer)
    }

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

fn read(path: &Path) -> Result<Value, KitError> {
    let text = std::fs::read_to_string(path)
        .map_err(KitError::io(format!("cannot read {}", path.display())))?;
    serde_norway::from_str(&text)
        .map_err(|error| KitError::Config(format!("YAML in {}: {error}", path.display())))
}

/// The members of a list; none where there is no list.
fn members<'a>(value: &'a mut Value, pointer: &str) -> &'a mut [Value] {
    let list = value.pointer_mut(pointer).and_then(Value::as_array_mut);
    list.map(Vec::as_mut_slice).unwrap_or_default()
}

/// The HTTP filters of all listeners.
fn filters_of(bootstrap: &mut Value) -> impl Iterator<Item = &mut Value> {
    members(bootstrap, LISTENERS)
        .iter_mut()
        .flat_map(|listener| members(listener, MANAGER))
        .filter(|filter| is_manager(filter))
        .flat_map(|manager| members(manager, "/typed_config/http_filters"))
}

fn is_manager(filter: &Value) -> bool {
    filter["name"] == "envoy.filters.network.http_connection_manager"
}

fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}
