//! The files by themselves: their own tools accept them, and nothing in them leads nowhere.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use kit::parts;

use super::documents::{
    RULE_TESTS, alerts, dashboard, document, documented_metrics, metrics_in, panels, rule_tests,
    rules, shipped,
};

fn accepts(tool: &Path, arguments: &[&str]) {
    let output = Command::new(tool)
        .args(arguments)
        .current_dir(shipped(""))
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success(), "{arguments:?}: {text}");
}

#[test]
fn prometheus_and_alertmanager_accept_what_is_shipped_and_the_rules_pass_their_tests() {
    let promtool = parts::prometheus().unwrap().join("promtool");
    accepts(&promtool, &["check", "rules", "--lint-fatal", "rules.yaml"]);
    accepts(&promtool, &[&["test", "rules"], &RULE_TESTS[..]].concat());
    accepts(&promtool, &["check", "config", "prometheus.yaml"]);
    let amtool = parts::alertmanager().unwrap().join("amtool");
    accepts(&amtool, &["check-config", "alertmanager.yaml"]);
}

#[test]
fn each_alert_is_tested_for_firing_and_for_staying_silent() {
    let tested = rule_tests();
    for alert in alerts() {
        let name = alert.alert().unwrap().to_owned();
        for fires in [true, false] {
            assert!(tested.contains(&(name.clone(), fires)), "{name}: {fires}");
        }
    }
}

#[test]
fn each_alert_says_what_it_is_and_leads_to_its_section_of_the_runbook() {
    let runbook = document("runbook.md");
    let sections: BTreeSet<_> = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("## Portcullis"))
        .map(|rest| format!("Portcullis{rest}"))
        .collect();
    let alerts = alerts();
    for alert in &alerts {
        let name = alert.alert().unwrap();
        assert!(
            ["critical", "warning", "info"].contains(&alert.severity()),
            "{name}"
        );
        for annotation in ["summary", "description"] {
            assert!(
                !alert.annotation(annotation).is_empty(),
                "{name}: {annotation}"
            );
        }
        let link = format!("docs/runbook.md#{}", name.to_lowercase());
        assert_eq!(alert.annotation("runbook_url"), link);
    }
    let names = alerts.iter().filter_map(|alert| alert.alert());
    assert_eq!(names.map(str::to_owned).collect::<BTreeSet<_>>(), sections);
}

#[test]
fn each_section_of_the_runbook_says_what_to_look_at_what_to_do_and_how_to_undo_it() {
    let runbook = document("runbook.md");
    for section in runbook.split("\n## Portcullis").skip(1) {
        let name = section.lines().next().unwrap();
        let of = |word: &str| section.find(&format!("\n**{word}"));
        let [look, act, undo] = ["Look", "Act", "Undo"].map(of);
        assert!(look.is_some() && look < act && act < undo, "{name}");
        assert!(section.contains("```sh\n"), "{name} has no command");
    }
    let first = runbook.split("\n## ").nth(1).unwrap();
    assert!(first.starts_with("Stop all blocking now"), "{first}");
}

#[test]
fn each_place_that_the_runbook_leads_to_is_there() {
    let runbook = document("runbook.md");
    for link in runbook.split("](").skip(1) {
        let link = link.split(')').next().unwrap();
        let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
        let file = if file.is_empty() { "runbook.md" } else { file };
        let text = document(file);
        let anchored = |heading: &str| {
            let kept = heading
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.collect::<String>()
                .trim()
                .to_lowercase()
                .replace(' ', "-")
        };
        let mut headings = text.lines().filter(|line| line.starts_with('#'));
        let found = headings.any(|line| anchored(line.trim_start_matches('#')) == anchor);
        assert!(anchor.is_empty() || found, "{link}");
    }
}

#[test]
fn each_metric_of_ours_that_is_asked_for_is_documented() {
    let documented = documented_metrics();
    let rules = rules();
    let panels = panels();
    let of_rules = rules.iter().map(|rule| rule.expression());
    let of_panels = panels.iter().flat_map(|panel| &panel.expressions);
    for expression in of_rules.chain(of_panels.map(String::as_str)) {
        for metric in metrics_in(expression) {
            assert!(documented.contains(&metric), "{metric} in {expression}");
        }
    }
}

#[test]
fn dashboards_name_no_data_source_of_ours_and_each_panel_once() {
    for name in ["edge", "intelligence", "health"] {
        let board = dashboard(name);
        assert_eq!(board["uid"], format!("portcullis-{name}"));
        let panels = board["panels"].as_array().unwrap();
        let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
        assert_eq!(ids.len(), panels.len(), "{name}");
        for panel in panels {
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{name}");
        }
    }
}
