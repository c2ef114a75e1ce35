//! What in the documentation is no command: configurations, data, links, and commands that are named in passing.

use std::collections::BTreeMap;
use std::path::Path;

use kit::pages::{Block, Page, anchors, links, named_commands};
use kit::parts;
use serde_json::{Value, json};

fn blocks_in(language: &str) -> Vec<(String, Block)> {
    let mut found = Vec::new();
    for page in Page::all().unwrap() {
        for block in page.blocks().unwrap() {
            if block.language == language {
                found.push((format!("{}:{}", page.path, block.line), block));
            }
        }
    }
    assert!(!found.is_empty(), "{language}");
    found
}

/// Runs `portcullis` without a sidecar; whether it ended well, and what it said.
fn portcullis(arguments: &[&str]) -> (bool, String) {
    let mut command = std::process::Command::new(parts::portcullis().unwrap());
    let output = command.args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[test]
fn every_configuration_of_the_sidecar_is_a_good_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("portcullis.toml");
    for (place, block) in blocks_in("toml") {
        std::fs::write(&file, &block.text).unwrap();
        let (good, said) = portcullis(&["check-config", &file.display().to_string()]);
        assert!(good, "{place}: {said}");
    }
}

#[test]
fn every_piece_of_yaml_and_json_can_be_read() {
    for (place, block) in blocks_in("yaml") {
        for document in block.text.split("\n---\n") {
            let read = serde_norway::from_str::<Value>(document);
            assert!(read.is_ok(), "{place}: {read:?}");
        }
    }
    for (place, block) in blocks_in("json") {
        let read = serde_json::from_str::<Value>(&block.text);
        assert!(read.is_ok(), "{place}: {read:?}");
    }
}

#[test]
fn what_a_reader_types_stands_in_blocks_that_are_run() {
    for (place, block) in blocks_in("text") {
        let typed = block.text.lines().find(|line| line.starts_with("$ "));
        assert_eq!(typed, None, "{place}: this belongs into a `console` block");
    }
    for (place, block) in blocks_in("console") {
        assert!(
            block.text.starts_with("$ "),
            "{place}: a prompt comes first"
        );
    }
}

#[test]
fn every_link_leads_somewhere() {
    let pages = Page::all().unwrap();
    let known: BTreeMap<_, _> = pages
        .iter()
        .map(|page| (page.path.as_str(), anchors(&page.text)))
        .collect();
    let mut faults = Vec::new();
    for page in &pages {
        for link in links(&page.text)
            .iter()
            .filter(|link| !link.target.contains("://"))
        {
            let (path, anchor) = link.target.split_once('#').unwrap_or((&link.target, ""));
            let path = if path.is_empty() {
                page.path.clone()
            } else {
                beside(&page.path, path)
            };
            let there = parts::in_checkout(&path).exists();
            let named = known
                .get(path.as_str())
                .is_some_and(|anchors| anchors.iter().any(|one| one == anchor));
            if !there || !(anchor.is_empty() || named) {
                faults.push(format!("{}:{}: {}", page.path, link.line, link.target));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// A path in the checkout, as a page at `page` writes it.
fn beside(page: &str, target: &str) -> String {
    let mut parts: Vec<_> = page.split('/').collect();
    parts.pop();
    for part in target.split('/').filter(|part| !matches!(*part, "" | ".")) {
        match part {
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[test]
fn every_page_is_reached_from_the_index() {
    let index = Page::read("docs/README.md").unwrap();
    let reached: Vec<_> = links(&index.text)
        .into_iter()
        .map(|link| beside("docs/README.md", &link.target))
        .collect();
    for page in Page::all().unwrap() {
        if page.path.starts_with("docs/") && page.path != index.path {
            assert!(
                reached.contains(&page.path),
                "{} is not in docs/README.md",
                page.path
            );
        }
    }
    assert!(Path::new(&index.path).starts_with("docs"));
}

#[test]
fn commands_that_are_named_in_passing_exist_with_their_options() {
    let mut help = BTreeMap::new();
    for page in Page::all().unwrap() {
        for (line, text) in named_commands(&page.text) {
            let Some(rest) = text.strip_prefix("portcullis ") else {
                continue;
            };
            let words: Vec<_> = rest.split(' ').filter(|word| !word.is_empty()).collect();
            let name = words[0];
            let (known, said) = help
                .entry(name.to_owned())
                .or_insert_with(|| portcullis(&[name, "--help"]));
            assert!(*known, "{}:{line}: {text}: {said}", page.path);
            for option in words.iter().filter(|word| word.starts_with("--")) {
                let option = option.trim_end_matches([']', ',']);
                assert!(
                    said.contains(option),
                    "{}:{line}: {text}: no {option}",
                    page.path
                );
            }
        }
    }
}

#[test]
fn every_query_is_one_that_prometheus_can_read() {
    let blocks = blocks_in("promql");
    let rule = |(place, block): &(String, Block)| {
        let name: String = place.chars().filter(char::is_ascii_alphanumeric).collect();
        json!({"record": format!("documentation:{name}"), "expr": block.text})
    };
    let rules: Vec<_> = blocks.iter().map(rule).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.json");
    let text = json!({"groups": [{"name": "documentation", "rules": rules}]}).to_string();
    std::fs::write(&file, text).unwrap();
    let promtool = parts::prometheus().unwrap().join("promtool");
    let mut command = std::process::Command::new(promtool);
    let output = command.args(["check", "rules"]).arg(file).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}
