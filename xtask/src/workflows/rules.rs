//! What a workflow may hold, and that those in `.github/workflows` do: each step is one command of ours,
//! which runs on any machine as it does there, and nobody gets more than he needs.

use std::collections::BTreeMap;
use std::fs;

use clap::Parser;
use serde_json::Value;

use crate::cli::Cli;
use crate::workspace::Workspace;

const CHECKOUT: &str = "actions/checkout";
/// What was built where nothing can be written, and how it is made to run again: an artefact keeps no modes.
const HANDED: &str = "target/xtask";
const REVIVED: &str = "chmod +x target/xtask";
/// Started by a stranger, with rights of ours.
const FORBIDDEN_EVENTS: [&str; 2] = ["pull_request_target", "workflow_run"];

struct Workflow {
    name: String,
    text: String,
    yaml: Value,
}

impl Workflow {
    fn read(name: &str, text: &str) -> Self {
        Self {
            name: name.to_owned(),
            text: text.to_owned(),
            yaml: serde_norway::from_str(text).unwrap(),
        }
    }

    fn jobs(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.yaml["jobs"].as_object().unwrap().iter()
    }

    /// Every rule that is broken, in words.
    fn faults(&self) -> Vec<String> {
        let mut faults = self.about_all();
        for (name, job) in self.jobs() {
            faults.extend(about_job(job).map(|fault| format!("job {name}: {fault}")));
            for step in steps(job) {
                let fault = about_step(step, Rights::of(job));
                faults.extend(fault.map(|fault| format!("job {name}: {fault}")));
            }
        }
        faults.extend(self.text.lines().filter_map(unpinned));
        faults
    }

    fn about_all(&self) -> Vec<String> {
        let permissions = &self.yaml["permissions"];
        let least = [
            serde_json::json!({}),
            serde_json::json!({"contents": "read"}),
        ];
        let started_by = |event: &&str| self.yaml["on"].get(event).is_some();
        let mut faults = Vec::new();
        if !least.contains(permissions) {
            faults.push(format!("permissions at the top are {permissions}"));
        }
        if self.yaml["concurrency"]["group"].is_null() {
            faults.push("no concurrency group".to_owned());
        }
        let events = FORBIDDEN_EVENTS.iter().filter(|event| started_by(event));
        faults.extend(events.map(|event| format!("is started by {event}")));
        faults
    }
}

/// What a job's token may do, as far as it decides what may run there.
#[derive(Clone, Copy, PartialEq)]
enum Rights {
    Reads,
    /// Compiles nothing: a dependency's build script would have the token too.
    Writes,
    /// Signs as this workflow, and runs nothing of ours at all.
    Signs,
}

impl Rights {
    fn of(job: &Value) -> Self {
        let rights = &job["permissions"];
        let writes = |right: &Value| right == "write";
        match rights.as_object() {
            _ if writes(&rights["id-token"]) => Self::Signs,
            Some(rights) if rights.values().any(writes) => Self::Writes,
            _ => Self::Reads,
        }
    }
}

fn steps(job: &Value) -> impl Iterator<Item = &Value> {
    job["steps"].as_array().into_iter().flatten()
}

fn about_job(job: &Value) -> impl Iterator<Item = String> {
    let mut faults = Vec::new();
    if !job["permissions"].is_object() {
        faults.push("no permissions of its own".to_owned());
    }
    match job["uses"].as_str() {
        Some(called) if called.starts_with("./.github/workflows/") => {}
        Some(called) => faults.push(format!("calls {called}")),
        None => faults.extend(about_machine(job)),
    }
    faults.into_iter()
}

fn about_machine(job: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    if !job["timeout-minutes"].is_u64() {
        faults.push("no timeout".to_owned());
    }
    if job["runs-on"]
        .as_str()
        .is_none_or(|on| on.ends_with("-latest"))
    {
        faults.push("no certain runner".to_owned());
    }
    let digest = |image: &str| {
        image
            .split_once("@sha256:")
            .is_some_and(|(_, hex)| is_hex(hex, 64))
    };
    match &job["container"] {
        Value::Null => {}
        Value::String(image) if digest(image) => {}
        image => faults.push(format!("the image {image} has no digest")),
    }
    faults
}

fn about_step(step: &Value, rights: Rights) -> Option<String> {
    match (step["run"].as_str(), step["uses"].as_str()) {
        (Some(command), None) => about_command(command, rights),
        (None, Some(action)) if action.starts_with(CHECKOUT) => {
            let keeps = step["with"]["persist-credentials"] != Value::Bool(false);
            keeps.then(|| "the checkout keeps its credentials".to_owned())
        }
        (None, Some(_)) => None,
        _ => Some("a step that neither runs nor uses one thing".to_owned()),
    }
}

/// The command is read by the very parser that will read it there.
fn about_command(command: &str, rights: Rights) -> Option<String> {
    if rights == Rights::Writes && command == REVIVED {
        return None;
    }
    let words: Vec<_> = command
        .split_whitespace()
        .map(|word| word.trim_matches('"'))
        .collect();
    let program: &[&str] = match rights {
        Rights::Reads => &["cargo", "xtask"],
        Rights::Writes => &[HANDED],
        Rights::Signs => return Some(format!("{command:?} runs where this workflow signs")),
    };
    let ours = words.starts_with(program) && command.trim().lines().count() == 1;
    if !ours || command.contains("${{") || command.contains([';', '&', '|', '`']) {
        let program = program.join(" ");
        return Some(format!("{command:?} is not one command of `{program}`"));
    }
    Cli::try_parse_from(&words[program.len() - 1..])
        .err()
        .map(|error| format!("xtask does not know {command:?}: {error}"))
}

/// An action that is not named by a commit, or without the release that the commit is.
fn unpinned(line: &str) -> Option<String> {
    let action = line
        .trim()
        .trim_start_matches("- ")
        .strip_prefix("uses: ")?;
    if action.starts_with("./") {
        return None;
    }
    let pinned = action.split_once('@').is_some_and(|(_, version)| {
        let (commit, release) = version.split_once(" # v").unwrap_or_default();
        is_hex(commit, 40)
            && release
                .split('.')
                .filter(|part| part.parse::<u16>().is_ok())
                .count()
                == 3
    });
    (!pinned).then(|| format!("{action} is not a commit with its release"))
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn shipped() -> Vec<Workflow> {
    let folder = Workspace::locate().unwrap().at(".github/workflows");
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let read = |path: std::path::PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        Workflow::read(&name, &fs::read_to_string(path).unwrap())
    };
    entries.map(read).collect()
}

#[test]
fn our_workflows_run_our_commands_with_the_least_rights() {
    let workflows = shipped();
    assert!(!workflows.is_empty());
    for workflow in workflows {
        assert_eq!(workflow.faults(), Vec::<String>::new(), "{}", workflow.name);
    }
}

#[test]
fn only_a_release_writes() {
    for workflow in shipped()
        .iter()
        .filter(|workflow| workflow.name != "release.yml")
    {
        for (job, rights) in workflow
            .jobs()
            .map(|(name, job)| (name, &job["permissions"]))
        {
            let mut rights = rights.as_object().unwrap().values();
            assert!(
                rights.all(|right| right == "read"),
                "{}: {job}",
                workflow.name
            );
        }
    }
}

#[test]
fn the_gate_of_a_merge_waits_for_every_other_job_whatever_becomes_of_it() {
    let ci = shipped()
        .into_iter()
        .find(|workflow| workflow.name == "ci.yml")
        .unwrap();
    let gate = &ci.yaml["jobs"]["gate"];
    let mut needed: Vec<_> = gate["needs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job.as_str().unwrap())
        .collect();
    let mut others: Vec<_> = ci
        .jobs()
        .map(|(name, _)| name.as_str())
        .filter(|name| *name != "gate")
        .collect();
    needed.sort_unstable();
    others.sort_unstable();
    assert_eq!(needed, others);
    assert_eq!(gate["if"], "always()");
    assert!(steps(gate).any(|step| step["run"] == "cargo xtask gate"));
    for (name, job) in ci.jobs().filter(|(name, _)| *name != "gate") {
        assert!(job["if"].is_null(), "{name} may be skipped");
    }
}

#[test]
fn an_action_is_one_commit_everywhere() {
    let mut commits: BTreeMap<String, String> = BTreeMap::new();
    for workflow in shipped() {
        for (_, job) in workflow.jobs() {
            let used = steps(job).filter_map(|step| step["uses"].as_str()?.split_once('@'));
            for (action, commit) in used {
                let first = commits
                    .entry(action.to_owned())
                    .or_insert(commit.to_owned());
                assert_eq!(first, commit, "{action} in {}", workflow.name);
            }
        }
    }
    assert!(commits.contains_key(CHECKOUT));
}

const GOOD: &str = "
on: {pull_request: {}}
permissions: {}
concurrency: {group: one}
jobs:
  test:
    runs-on: ubuntu-24.04
    timeout-minutes: 5
    permissions: {contents: read}
    container: debian@sha256:0123456789012345678901234567890123456789012345678901234567890123
    steps:
      - uses: actions/checkout@0123456789012345678901234567890123456789 # v1.2.3
        with: {persist-credentials: false}
      - run: cargo xtask test
";

#[test]
fn each_rule_finds_what_breaks_it() {
    assert_eq!(Workflow::read("good", GOOD).faults(), Vec::<String>::new());
    for (good, bad, told) in [
        (
            "permissions: {}",
            "permissions: write-all",
            "permissions at the top",
        ),
        (
            "permissions: {}",
            "permissions: {contents: write}",
            "permissions at the top",
        ),
        ("concurrency: {group: one}", "x: y", "no concurrency group"),
        (
            "pull_request:",
            "pull_request_target:",
            "started by pull_request_target",
        ),
        ("    timeout-minutes: 5\n", "", "no timeout"),
        (
            "    permissions: {contents: read}\n",
            "",
            "no permissions of its own",
        ),
        ("ubuntu-24.04", "ubuntu-latest", "no certain runner"),
        ("debian@sha256:", "debian:12 #", "has no digest"),
        (
            "persist-credentials: false",
            "fetch-depth: 0",
            "keeps its credentials",
        ),
        (" # v1.2.3", "", "not a commit with its release"),
        (" # v1.2.3", " # v1", "not a commit with its release"),
        (
            "@0123456789012345678901234567890123456789",
            "@v4",
            "not a commit with its release",
        ),
        ("cargo xtask test", "make test", "is not one command"),
        (
            "cargo xtask test",
            "cargo xtask test && true",
            "is not one command",
        ),
        (
            "cargo xtask test",
            "cargo xtask test -- ${{ inputs.name }}",
            "is not one command",
        ),
        (
            "run: cargo xtask test",
            "run: |\n          cargo xtask test\n          cargo xtask demo",
            "is not one command",
        ),
        (
            "permissions: {contents: read}\n    container",
            "permissions: {contents: write}\n    container",
            "is not one command of `target/xtask`",
        ),
        (
            "permissions: {contents: read}\n    container",
            "permissions: {id-token: write}\n    container",
            "runs where this workflow signs",
        ),
        (
            "cargo xtask test",
            "chmod +x target/xtask",
            "is not one command of `cargo xtask`",
        ),
        (
            "cargo xtask test",
            "cargo xtask tset",
            "xtask does not know",
        ),
        (
            "cargo xtask test",
            "cargo xtask test --fast",
            "xtask does not know",
        ),
        (
            "run: cargo xtask test",
            "name: nothing",
            "neither runs nor uses",
        ),
    ] {
        assert!(GOOD.contains(good), "{good}");
        let faults = Workflow::read("bad", &GOOD.replace(good, bad)).faults();
        assert_eq!(faults.len(), 1, "{bad}: {faults:?}");
        assert!(faults[0].contains(told), "{faults:?} does not tell {told}");
    }
}
