//! JSON values: setting, overlaying and comparing them.

use serde_json::Value;

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
