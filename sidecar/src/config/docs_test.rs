//! `docs/sidecar.md` says what this module reads.

use super::*;

const DOCUMENT: &str = include_str!("../../../docs/sidecar.md");

/// One key in each section that no section has.
const STRANGERS: &str = "[listen]\nzzzzzzzz = 1\n[log]\nzzzzzzzz = 1\n[store]\nzzzzzzzz = 1\n[history]\nzzzzzzzz = 1\n\
    [policy]\nzzzzzzzz = 1\n[guard]\nzzzzzzzz = 1\n[budget]\nzzzzzzzz = 1\n[envoy]\nzzzzzzzz = 1\n[canary]\nzzzzzzzz = 1\n[sentry]\nzzzzzzzz = 1\n[otlp]\nzzzzzzzz = 1\n[[feed]]\nzzzzzzzz = 1\n\
    [[database]]\nzzzzzzzz = 1\n[[provider]]\nzzzzzzzz = 1\n[secret.NAME]\nzzzzzzzz = 1\n";

/// The blocks of the document that are marked as `language`.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    let after = DOCUMENT.split(&fence).skip(1);
    after.filter_map(|text| text.split("```").next()).collect()
}

#[test]
fn every_toml_block_of_the_document_is_a_good_configuration() {
    let blocks = blocks("toml");
    assert!(blocks.len() >= 3, "{}", blocks.len());
    for block in blocks {
        let checked = Config::parse(block, std::iter::empty());
        assert!(checked.is_ok(), "{}\n{block}", checked.unwrap_err());
    }
}

#[test]
fn the_first_block_of_the_document_states_the_defaults() {
    let [stated, shipped] = [blocks("toml")[0], ""].map(|text| {
        let config = Config::parse(text, std::iter::empty()).unwrap();
        let Config {
            listen,
            log,
            store,
            policy,
            guard,
            budget,
            envoy,
            canary,
            ..
        } = config;
        (listen, log, store, policy, guard, budget, envoy, canary)
    });
    assert_eq!(stated, shipped);
}

#[test]
fn every_key_stands_in_the_document() {
    let faults = Config::parse(STRANGERS, std::iter::empty()).unwrap_err();
    let mut sections = 0;
    for fault in faults.iter() {
        let Some((_, keys)) = fault.message.split_once("the keys are ") else {
            continue;
        };
        sections += 1;
        let section = fault.path.trim_end_matches(".zzzzzzzz").replace("[0]", "");
        for key in keys.split(", ") {
            let named = format!("`{section}.{key}`");
            assert!(DOCUMENT.contains(&named), "{named} is not in the document");
        }
    }
    assert_eq!(sections, 15, "{faults}");
}
