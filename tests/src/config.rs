//! The shipped Envoy configuration, and named changes to it. Tests and the demo never have a
//! configuration of their own: they start from `envoy/envoy.yaml` and change what they must.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::error::KitError;
use crate::parts;
use crate::sidecar::Addresses;

/// Where a cluster's one endpoint is.
#[derive(Debug, Clone)]
pub enum Endpoint {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// An Envoy bootstrap as JSON.
#[derive(Debug, Clone)]
pub struct EdgeConfig(Value);

impl EdgeConfig {
    /// `envoy/envoy.yaml` as it is shipped.
    pub fn shipped() -> Result<Self, KitError> {
        Self::read(&parts::in_checkout("envoy/envoy.yaml"))
    }

    pub fn read(path: &Path) -> Result<Self, KitError> {
        let text = std::fs::read_to_string(path)
            .map_err(KitError::io(format!("cannot read {}", path.display())))?;
        let value = serde_norway::from_str(&text)
            .map_err(|error| KitError::Config(format!("YAML in {}: {error}", path.display())))?;
        Ok(Self(value))
    }

    pub fn value(&self) -> &Value {
        &self.0
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

    /// How many proxies in front are trusted to append to `x-forwarded-for`.
    pub fn set_hops(&mut self, hops: u32) -> Result<(), KitError> {
        insert(self.hcm()?, "xff_num_trusted_hops", json!(hops));
        Ok(())
    }

    pub fn set_wasm(&mut self, path: &Path) -> Result<(), KitError> {
        *self.plugin_at("/vm_config/code/local/filename")? = json!(path);
        Ok(())
    }

    /// Edge and admin on loopback, on ports of the system's choice.
    pub fn on_any_port(&mut self) -> Result<(), KitError> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        self.set_edge(any)?;
        self.set_admin(any)
    }

    /// Points both sidecar clusters at one sidecar.
    pub fn set_sidecar(&mut self, addresses: &Addresses) -> Result<(), KitError> {
        for cluster in ["portcullis", "portcullis_poll"] {
            self.set_cluster(cluster, &addresses.edge, addresses.probes)?;
        }
        Ok(())
    }

    /// The address of the edge listener.
    pub fn set_edge(&mut self, address: SocketAddr) -> Result<(), KitError> {
        *self.at("/static_resources/listeners/0/address")? = socket(address);
        Ok(())
    }

    pub fn set_admin(&mut self, address: SocketAddr) -> Result<(), KitError> {
        *self.at("/admin/address")? = socket(address);
        Ok(())
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
        self.plugin_at("/configuration/value")
    }

    /// A place in the plugin's entry in Envoy, such as `/failure_policy`.
    pub fn plugin_at(&mut self, pointer: &str) -> Result<&mut Value, KitError> {
        let filters = self
            .hcm()?
            .get_mut("http_filters")
            .and_then(Value::as_array_mut);
        let plugin = filters
            .and_then(|filters| {
                filters
                    .iter_mut()
                    .find(|filter| filter["name"] == "portcullis")
            })
            .and_then(|filter| filter.pointer_mut("/typed_config/config"))
            .and_then(|config| config.pointer_mut(pointer));
        plugin.ok_or_else(|| KitError::Config(format!("{pointer} in the plugin")))
    }

    /// The connection manager of the edge.
    pub fn hcm(&mut self) -> Result<&mut Value, KitError> {
        self.at("/static_resources/listeners/0/filter_chains/0/filters/0/typed_config")
    }

    pub fn cluster(&mut self, name: &str) -> Result<&mut Value, KitError> {
        let clusters = self.at("/static_resources/clusters")?.as_array_mut();
        let found = clusters.and_then(|all| all.iter_mut().find(|one| one["name"] == name));
        found.ok_or_else(|| KitError::Config(format!("cluster {name}")))
    }

    /// Any place, by JSON pointer.
    pub fn at(&mut self, pointer: &str) -> Result<&mut Value, KitError> {
        let found = self.0.pointer_mut(pointer);
        found.ok_or_else(|| KitError::Config(pointer.to_owned()))
    }
}

/// Sets a member of a JSON object; does nothing to other values.
pub fn insert(object: &mut Value, key: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(key.to_owned(), value);
    }
}

/// Lays `changes` over `base`: members of objects one by one, everything else as a whole.
pub fn merge(base: &mut Value, changes: Value) {
    match (base, changes) {
        (Value::Object(members), Value::Object(changes)) => {
            for (key, change) in changes {
                merge(members.entry(key).or_insert(Value::Null), change);
            }
        }
        (base, change) => *base = change,
    }
}

/// The places at which two configurations differ, as JSON pointers.
pub fn differences(one: &Value, other: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect_differences(one, other, String::new(), &mut found);
    found
}

fn collect_differences(one: &Value, other: &Value, place: String, found: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(a), Value::Object(b)) => {
            let mut keys: Vec<_> = a.keys().chain(b.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let (a, b) = (a.get(key), b.get(key));
                let (a, b) = (a.unwrap_or(&Value::Null), b.unwrap_or(&Value::Null));
                collect_differences(a, b, format!("{place}/{key}"), found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (at, (a, b)) in a.iter().zip(b).enumerate() {
                collect_differences(a, b, format!("{place}/{at}"), found);
            }
        }
        (a, b) if a != b => found.push(place),
        _ => {}
    }
}

fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}
