//! Reads the shipped rules, their tests, the dashboards and the documents.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use kit::{config, parts};
use serde_json::Value;

/// One alert, or one recorded series.
pub struct Rule {
    pub value: Value,
}

impl Rule {
    pub fn alert(&self) -> Option<&str> {
        self.value["alert"].as_str()
    }

    pub fn expression(&self) -> &str {
        self.value["expr"].as_str().unwrap_or_default()
    }

    pub fn annotation(&self, name: &str) -> &str {
        self.value["annotations"][name].as_str().unwrap_or_default()
    }

    pub fn severity(&self) -> &str {
        self.value["labels"]["severity"]
            .as_str()
            .unwrap_or_default()
    }
}

/// A file of the folder that is shipped.
pub fn shipped(name: &str) -> PathBuf {
    parts::in_checkout("envoy/monitoring").join(name)
}

pub fn document(name: &str) -> String {
    std::fs::read_to_string(parts::in_checkout("docs").join(name)).unwrap()
}

pub fn rules() -> Vec<Rule> {
    let file = config::read(&shipped("rules.yaml")).unwrap();
    let groups = file["groups"].as_array().unwrap();
    let rules = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap());
    rules
        .map(|value| Rule {
            value: value.clone(),
        })
        .collect()
}

pub fn alerts() -> Vec<Rule> {
    let rules = rules().into_iter();
    rules.filter(|rule| rule.alert().is_some()).collect()
}

/// The tests of the rules.
pub const RULE_TESTS: [&str; 2] = ["rules_test.yaml", "rules_long_test.yaml"];

/// What they say of each alert: its name, and whether it fires there.
pub fn rule_tests() -> Vec<(String, bool)> {
    let files = RULE_TESTS.map(|name| config::read(&shipped(name)).unwrap());
    let tests = files
        .iter()
        .flat_map(|file| file["tests"].as_array().unwrap());
    let cases = tests.flat_map(|test| test["alert_rule_test"].as_array().unwrap());
    let told = cases.map(|case| {
        let expected = case["exp_alerts"].as_array().unwrap();
        let name = case["alertname"].as_str().unwrap();
        (name.to_owned(), !expected.is_empty())
    });
    told.collect()
}

/// The metrics that docs/metrics.md has a section on.
pub fn documented_metrics() -> BTreeSet<String> {
    let document = document("metrics.md");
    let headings = document
        .lines()
        .filter_map(|line| line.strip_prefix("### `"));
    headings
        .map(|rest| rest.trim_end_matches('`').to_owned())
        .collect()
}

/// Each metric of docs/metrics.md with the names of its labels.
#[derive(Debug, Default)]
pub struct Documented {
    pub filter: BTreeMap<String, BTreeSet<String>>,
    pub sidecar: BTreeMap<String, BTreeSet<String>>,
}

pub fn documented_labels() -> Documented {
    let document = document("metrics.md");
    let (filter, sidecar) = document.split_once("## From the sidecar").unwrap();
    Documented {
        filter: labels_of(filter),
        sidecar: labels_of(sidecar),
    }
}

fn labels_of(document: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::<String, BTreeSet<String>>::new();
    let mut metric = String::new();
    for line in document.lines() {
        if let Some(heading) = line.strip_prefix("### `") {
            metric = heading.trim_end_matches('`').to_owned();
            found.entry(metric.clone()).or_default();
        } else if let Some((label, _)) =
            line.strip_prefix("| `").and_then(|row| row.split_once('`'))
        {
            found
                .entry(metric.clone())
                .or_default()
                .insert(label.to_owned());
        }
    }
    found
}

/// One panel of a dashboard, with the variables put in.
#[derive(Debug)]
pub struct Panel {
    pub title: String,
    pub description: String,
    pub expressions: Vec<String>,
}

/// The panels of all dashboards.
pub fn panels() -> Vec<Panel> {
    let boards = ["edge", "intelligence", "health"].map(dashboard);
    let panels = boards
        .iter()
        .flat_map(|board| board["panels"].as_array().unwrap());
    panels.map(Panel::of).collect()
}

pub fn dashboard(name: &str) -> Value {
    let path = shipped("dashboards").join(format!("{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

impl Panel {
    fn of(panel: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let put_in = |target: &Value| {
            let expression = text(&target["expr"]);
            let expression = expression.replace("$__rate_interval", "1m");
            expression.replace("$instance", ".+")
        };
        let targets = panel["targets"].as_array().into_iter().flatten();
        Self {
            title: text(&panel["title"]),
            description: text(&panel["description"]),
            expressions: targets.map(put_in).collect(),
        }
    }
}

/// Our metrics in an expression, under the name of their family.
pub fn metrics_in(expression: &str) -> BTreeSet<String> {
    // What stands in quotes is a label's value.
    let outside: String = expression.split('"').step_by(2).collect();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = outside.split(|c: char| !is_name(c));
    let ours = words.filter(|word| word.starts_with("portcullis_"));
    let histogram = ["_bucket", "_sum", "_count"];
    let family = |word: &str| {
        let cut = histogram.iter().find_map(|end| word.strip_suffix(end));
        cut.unwrap_or(word).to_owned()
    };
    ours.map(family).collect()
}

#[test]
fn our_metrics_are_found_in_an_expression() {
    let expression =
        "rate(portcullis_a_bucket{job=\"portcullis_b\"}[5m]) / on (x) instance:portcullis_c:rate5m";
    assert_eq!(
        metrics_in(expression),
        BTreeSet::from(["portcullis_a".to_owned()])
    );
}
