//! The shipped Envoy configuration, and named changes to it. Tests and the demo never have a
//! configuration of their own: they start from `envoy/envoy.yaml` and `envoy/portcullis.yaml` and change
//! what they must.

mod json;
mod places;
mod plugin;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::error::KitError;
use crate::sidecar::Addresses;
use crate::{parts, ports};

pub use json::{differences, insert, merge};
pub use plugin::{Plugin, exchange, remove};

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
        Self::of(read(&parts::in_checkout("envoy/envoy.yaml"))?)
    }

    /// Somebody's own configuration. The plugin's file is the shipped one, for where it refers to that.
    pub fn of(bootstrap: Value) -> Result<Self, KitError> {
        let plugin = Plugin::new(read(&parts::in_checkout("envoy/portcullis.yaml"))?);
        Ok(Self { bootstrap, plugin })
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
        for filter in places::filters(&mut bootstrap) {
            // One that a test put elsewhere stays there.
            if let Some(source) = filter.pointer_mut(plugin::SOURCE)
                && source["path"] == plugin::SHIPPED
            {
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
        for filter in places::filters(&mut one.bootstrap) {
            if filter.pointer(plugin::SOURCE).is_some() {
                *filter = self.plugin.as_filter();
            }
        }
        one
    }

    /// For an Envoy that knows no masks: addresses that would be masked do not stand in the access log at
    /// all, as docs/edge.md says.
    pub fn without_masks(&mut self) {
        for manager in places::managers(&mut self.bootstrap) {
            let format = "/access_log/0/typed_config/log_format/json_format";
            let fields = manager.pointer_mut(format).and_then(Value::as_object_mut);
            if let Some(fields) = fields {
                fields.remove("network");
                fields.remove("peer_network");
            }
        }
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
        self.plugin.set_wasm(path)
    }

    /// All listeners and admin on loopback, on ports that nobody else has.
    pub fn on_any_port(&mut self) -> Result<(), KitError> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        for listener in places::listeners(&mut self.bootstrap) {
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
        if self.cluster("envoy_admin").is_err() {
            // Not every configuration shows its statistics elsewhere.
            return Ok(());
        }
        self.set_cluster("envoy_admin", &Endpoint::Tcp(address), None)
    }

    /// Points a cluster at `endpoint`; its probes go to `probes`, by default to the same place.
    pub fn set_cluster(
        &mut self,
        name: &str,
        endpoint: &Endpoint,
        probes: Option<SocketAddr>,
    ) -> Result<(), KitError> {
        let place = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint";
        let cluster = self.cluster(name)?;
        let found = cluster.pointer_mut(place);
        *found.ok_or_else(|| KitError::Config(format!("{place} in cluster {name}")))? =
            lead_to(endpoint, probes);
        Ok(())
    }

    /// One more endpoint for a cluster that has some.
    pub fn add_endpoint(
        &mut self,
        name: &str,
        endpoint: &Endpoint,
        probes: Option<SocketAddr>,
    ) -> Result<(), KitError> {
        let place = "/load_assignment/endpoints/0/lb_endpoints";
        let cluster = self.cluster(name)?;
        let found = cluster.pointer_mut(place).and_then(Value::as_array_mut);
        found
            .ok_or_else(|| KitError::Config(format!("{place} in cluster {name}")))?
            .push(json!({"endpoint": lead_to(endpoint, probes)}));
        Ok(())
    }

    /// The settings of the plugin: what `filter` reads.
    pub fn plugin_settings(&mut self) -> Result<&mut Value, KitError> {
        self.plugin.settings()
    }

    /// Lets Envoy read the plugin's file at this path, whenever something is moved into `watched`.
    pub fn set_plugin_file(&mut self, path: &Path, watched: &Path) -> Result<(), KitError> {
        let source = json!({"path": path, "watched_directory": {"path": watched}});
        let found = places::filters(&mut self.bootstrap)
            .find_map(|filter| filter.pointer_mut(plugin::SOURCE));
        *found.ok_or_else(|| KitError::Config(plugin::SOURCE.to_owned()))? = source;
        Ok(())
    }

    /// A place in the plugin's entry in Envoy, such as `/failure_policy`.
    pub fn plugin_at(&mut self, pointer: &str) -> Result<&mut Value, KitError> {
        self.plugin.at(pointer)
    }
}

/// A YAML file as JSON.
pub fn read(path: &Path) -> Result<Value, KitError> {
    let text = std::fs::read_to_string(path)
        .map_err(KitError::io(format!("cannot read {}", path.display())))?;
    serde_norway::from_str(&text)
        .map_err(|error| KitError::Config(format!("YAML in {}: {error}", path.display())))
}

fn lead_to(endpoint: &Endpoint, probes: Option<SocketAddr>) -> Value {
    let address = match endpoint {
        Endpoint::Tcp(address) => socket(*address),
        Endpoint::Unix(path) => json!({"pipe": {"path": path}}),
    };
    let mut endpoint = json!({"address": address});
    if let Some(probes) = probes {
        let health = json!({"address": socket(probes)});
        insert(&mut endpoint, "health_check_config", health);
    }
    endpoint
}

/// An address as Envoy writes it.
pub fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}
