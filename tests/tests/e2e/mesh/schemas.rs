//! The schemas of custom resources, as an API server that refuses unknown fields would apply them. They lie outside of
//! this repository: in `../shared/data/crds`, or where PORTCULLIS_CRDS says.

use std::collections::BTreeMap;
use std::env;
use std::io::Write as _;
use std::path::PathBuf;

use jsonschema::{Draft, Validator};
use kit::{config, parts};
use serde_json::{Value, json};

use super::{core_kinds, rendered::list};

/// By apiVersion and kind.
pub struct Schemas(BTreeMap<(String, String), Validator>);

impl Schemas {
    /// Nothing where there are none, which the test's output says.
    pub fn read() -> Option<Self> {
        let folder = env::var_os("PORTCULLIS_CRDS")
            .map_or_else(|| parts::in_checkout("../shared/data/crds"), PathBuf::from);
        let Ok(entries) = std::fs::read_dir(&folder) else {
            let folder = folder.display();
            // Past the test runner, which swallows what a test that passes prints.
            let _ = writeln!(
                std::io::stderr(),
                "skipped: no schemas of custom resources in {folder}"
            );
            return None;
        };
        let files = entries.map(|entry| entry.unwrap().path());
        let files = files.filter(|path| path.extension().is_some_and(|end| end == "yaml"));
        let definitions = files.map(|path| config::read(&path).unwrap());
        Some(Self(definitions.flat_map(|one| versions(&one)).collect()))
    }

    /// Each fault with its place.
    pub fn faults(&self, object: &Value) -> Vec<String> {
        let text = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
        let id = (text("apiVersion"), text("kind"));
        let Some(schema) = self.0.get(&id) else {
            return vec![format!("no schema of {id:?}")];
        };
        let mut faults: Vec<_> = schema
            .iter_errors(object)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        faults.extend(core_kinds::metadata_faults(object));
        faults
    }
}

fn versions(definition: &Value) -> Vec<((String, String), Validator)> {
    let spec = &definition["spec"];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let one = |version: &Value| {
        let api = format!("{}/{}", text(&spec["group"]), text(&version["name"]));
        let mut schema = version["schema"]["openAPIV3Schema"].clone();
        let properties = schema["properties"].as_object_mut().unwrap();
        for key in ["apiVersion", "kind"] {
            properties.insert(key.to_owned(), json!({"type": "string"}));
        }
        properties.insert("metadata".to_owned(), json!({"type": "object"}));
        close(&mut schema);
        let validator = jsonschema::options()
            .with_draft(Draft::Draft4)
            .build(&schema);
        ((api, text(&spec["names"]["kind"])), validator.unwrap())
    };
    list(spec, "/versions").iter().map(one).collect()
}

/// Refuses what a schema does not name, where it names anything and does not say that the rest is kept; and says in
/// JSON Schema what OpenAPI says otherwise.
fn close(schema: &mut Value) {
    let Some(members) = schema.as_object_mut() else {
        return;
    };
    let keeps = members.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(true));
    if members.contains_key("properties") && !keeps {
        members
            .entry("additionalProperties")
            .or_insert(json!(false));
    }
    if members.remove("nullable") == Some(json!(true)) && members.contains_key("type") {
        let kind = members["type"].clone();
        members.insert("type".to_owned(), json!([kind, "null"]));
    }
    if let Some(Value::String(pattern)) = members.get_mut("pattern") {
        // Go's way to ignore case, which JSON Schema does not know: without it less is accepted.
        *pattern = pattern.replace("(?i)", "");
    }
    if let Some(properties) = members.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(close);
    }
    for nested in ["items", "additionalProperties"] {
        members.get_mut(nested).into_iter().for_each(close);
    }
}
