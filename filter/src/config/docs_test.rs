//! `docs/filter.md` says what this module reads.

use super::*;

const DOCUMENT: &str = include_str!("../../../docs/filter.md");

/// One key in each object that no object has.
const STRANGERS: &str = r#"{"?": 1, "sidecar": {"?": 1}, "actions": {"?": 1}, "limits": {"?": 1},
    "deny": {"?": 1}, "routes": {"*": {"?": 1}}}"#;

fn blocks() -> Vec<&'static str> {
    let after = DOCUMENT.split("```json\n").skip(1);
    after.filter_map(|text| text.split("```").next()).collect()
}

#[test]
fn every_configuration_of_the_document_is_taken_without_a_word() {
    let blocks = blocks();
    assert!(blocks.len() >= 3, "{}", blocks.len());
    for block in blocks {
        let checked = Checked::parse(block.as_bytes()).unwrap();
        assert!(checked.warnings.is_empty(), "{:?}", checked.warnings);
    }
}

#[test]
fn the_full_configuration_of_the_document_states_the_defaults() {
    let [stated, shipped] = [blocks()[2], "{}"].map(|text| Checked::parse(text.as_bytes()));
    let [mut stated, shipped] = [stated.unwrap().config, shipped.unwrap().config];
    // What has no default worth showing.
    stated.allow = shipped.allow.clone();
    stated.routes = Vec::new();
    stated.deny.templates = Templates::default();
    assert_eq!(stated, shipped);
}

#[test]
fn every_key_stands_in_the_document() {
    let warnings = Checked::parse(STRANGERS.as_bytes()).unwrap().warnings;
    assert_eq!(warnings.len(), 6, "{warnings:?}");
    for warning in warnings {
        let (path, keys) = warning.split_once("?: unknown key; known here: ").unwrap();
        let section = path.replace('"', "");
        for key in keys.split(", ").filter(|key| !key.starts_with("trap")) {
            let objects = ["sidecar", "actions", "limits", "deny"];
            let named = match objects.contains(&key) {
                true => format!("| `{key}."),
                false => format!("`{section}{key}`"),
            };
            assert!(DOCUMENT.contains(&named), "{named} is not in the document");
        }
    }
}
