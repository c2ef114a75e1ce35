//! Somebody's own `envoy.yaml`, and the edits of docs/install-envoy.md in it, as a reader makes them.

use std::net::SocketAddr;

use kit::config::{EdgeConfig, Endpoint, insert, read};
use kit::pages::Page;
use kit::parts;
use kit::sidecar::Addresses;
use serde_json::Value;

/// The listener that clients reach in the fixture.
pub const WEB: &str = "web";
const WASM: &str = "/etc/envoy/portcullis.wasm";

/// The second edit, in both forms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Filter {
    InPlace,
    InItsFile,
}

/// The fixture with the five edits, on ports of the system's choice.
pub struct Plain {
    pub config: EdgeConfig,
}

pub fn page() -> Page {
    Page::read("docs/install-envoy.md").unwrap()
}

impl Plain {
    pub fn edited(filter: Filter) -> Self {
        let fixture = parts::in_checkout("tests/fixtures/envoy/plain.yaml");
        let config = EdgeConfig::of(read(&fixture).unwrap()).unwrap();
        let mut plain = Self { config };
        let page = page();
        let clusters = page.yaml("1. Clusters").unwrap();
        append(
            plain.config.at("/static_resources/clusters").unwrap(),
            clusters,
        );
        let heading = match filter {
            Filter::InPlace => "2. The filter",
            Filter::InItsFile => "The filter in a file of its own",
        };
        let manager = plain.config.manager(WEB).unwrap();
        add_filter(manager, with_our_wasm(page.yaml(heading).unwrap()));
        add_keys(manager, page.yaml("3. Headers from outside").unwrap());
        add_keys(
            plain.config.at("").unwrap(),
            page.yaml("4. Statistics").unwrap(),
        );
        let manager = plain.config.manager(WEB).unwrap();
        append(
            &mut manager["access_log"],
            page.yaml("5. The access log").unwrap(),
        );
        plain.config.set_wasm(&parts::wasm().unwrap()).unwrap();
        plain.config.on_any_port().unwrap();
        plain
    }

    /// Between a sidecar and an upstream.
    pub fn between(mut self, sidecar: &Addresses, upstream: SocketAddr) -> Self {
        for cluster in ["portcullis", "portcullis_poll"] {
            let set = self
                .config
                .set_cluster(cluster, &sidecar.edge, sidecar.probes);
            set.unwrap();
        }
        let upstream = Endpoint::Tcp(upstream);
        self.config.set_cluster("shop", &upstream, None).unwrap();
        self
    }

    /// The plugin's settings, where they stand in place.
    pub fn settings(&mut self) -> &mut Value {
        let filters = self.config.manager(WEB).unwrap()["http_filters"].as_array_mut();
        let ours = filters
            .unwrap()
            .iter_mut()
            .find(|one| one["name"] == "portcullis");
        &mut ours.unwrap()["typed_config"]["config"]["configuration"]["value"]
    }
}

/// After `health_check` and `cors`, before all others.
fn add_filter(manager: &mut Value, filter: Value) {
    let filters = manager["http_filters"].as_array_mut().unwrap();
    let before = ["envoy.filters.http.health_check", "envoy.filters.http.cors"];
    let place = filters
        .iter()
        .position(|one| !before.contains(&one["name"].as_str().unwrap()));
    let [filter] = <[Value; 1]>::try_from(filter.as_array().unwrap().clone()).unwrap();
    filters.insert(place.unwrap(), filter);
}

/// Keys that are not there yet: a reader who has one is told to merge.
pub fn add_keys(object: &mut Value, keys: Value) {
    for (key, value) in keys.as_object().unwrap() {
        assert!(object.get(key).is_none(), "{key} is there already");
        insert(object, key, value.clone());
    }
}

fn append(list: &mut Value, entries: Value) {
    let entries = entries.as_array().unwrap().clone();
    list.as_array_mut().unwrap().extend(entries);
}

fn with_our_wasm(filter: Value) -> Value {
    let ours = parts::wasm().unwrap();
    let text = filter.to_string().replace(WASM, ours.to_str().unwrap());
    serde_json::from_str(&text).unwrap()
}
