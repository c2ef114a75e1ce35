//! What Envoy's admin says it runs with, taken apart as far as the checks need it.

use serde_json::Value;

/// Out of `/config_dump`.
#[derive(Debug, Default)]
pub struct Dump {
    /// Where the admin listens, if on a port.
    pub admin: Option<String>,
    /// Connection managers that have the plugin.
    pub edges: Vec<Value>,
    /// Those that offer the reputation API.
    pub apis: Vec<Value>,
    /// The plugin as Wasm filter, wherever it is configured.
    pub plugins: Vec<Value>,
}

const MANAGER: &str = "HttpConnectionManager";
const WASM: &str = "envoy.extensions.filters.http.wasm.v3.Wasm";
const PLUGIN: &str = "portcullis";
const API_PATH: &str = "/v1/reputation/";

impl Dump {
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let dump: Value = serde_json::from_slice(bytes).ok()?;
        let configs = dump.get("configs")?.as_array()?;
        let of_type = |name: &str| {
            let fits = |config: &&Value| type_of(config).ends_with(name);
            configs.iter().find(fits).cloned().unwrap_or_default()
        };
        let bootstrap = of_type("BootstrapConfigDump");
        let socket = bootstrap.pointer("/bootstrap/admin/address/socket_address");
        let listeners = of_type("ListenersConfigDump");
        let (mut managers, mut plugins) = (Vec::new(), Vec::new());
        all_of(&listeners, MANAGER, &mut managers);
        all_of(&listeners, WASM, &mut plugins);
        all_of(&of_type("EcdsConfigDump"), WASM, &mut plugins);
        plugins.retain(is_ours);
        Some(Self {
            admin: socket.and_then(address),
            apis: managers
                .iter()
                .filter(|manager| offers_the_api(manager))
                .cloned()
                .collect(),
            edges: managers.into_iter().filter(has_the_plugin).collect(),
            plugins,
        })
    }

    /// Rate limits of edges and APIs.
    pub fn limits(&self) -> Vec<Value> {
        let mut limits = Vec::new();
        for manager in self.edges.iter().chain(&self.apis) {
            all_of(manager, "LocalRateLimit", &mut limits);
        }
        limits
    }
}

/// What the plugin is told: a struct, or the same as a JSON string.
pub fn settings(plugin: &Value) -> Value {
    let value = plugin.pointer("/config/configuration/value");
    match value {
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        Some(value) => value.clone(),
        None => Value::Null,
    }
}

/// Every object of this type inside `value`.
pub fn all_of(value: &Value, name: &str, found: &mut Vec<Value>) {
    match value {
        Value::Object(members) => {
            if type_of(value).ends_with(name) {
                found.push(value.clone());
            }
            members
                .values()
                .for_each(|member| all_of(member, name, found));
        }
        Value::Array(items) => items.iter().for_each(|item| all_of(item, name, found)),
        _ => {}
    }
}

pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn type_of(value: &Value) -> &str {
    text(value, "@type")
}

fn address(socket: &Value) -> Option<String> {
    Some(socket.get("address")?.as_str()?.to_owned())
}

fn has_the_plugin(manager: &Value) -> bool {
    let filters = manager.get("http_filters").and_then(Value::as_array);
    let ours = |filter: &Value| {
        let mut plugins = Vec::new();
        all_of(filter, WASM, &mut plugins);
        text(filter, "name") == PLUGIN || plugins.iter().any(is_ours)
    };
    filters.is_some_and(|filters| filters.iter().any(ours))
}

fn is_ours(wasm: &Value) -> bool {
    let name = wasm.pointer("/config/name").and_then(Value::as_str);
    let file = wasm.pointer("/config/vm_config/code/local/filename");
    let file = file.and_then(Value::as_str).unwrap_or_default();
    name == Some(PLUGIN) || file.contains(PLUGIN)
}

fn offers_the_api(manager: &Value) -> bool {
    match manager {
        Value::Object(members) => members.values().any(offers_the_api),
        Value::Array(items) => items.iter().any(offers_the_api),
        Value::String(text) => text.as_str() == API_PATH,
        _ => false,
    }
}
