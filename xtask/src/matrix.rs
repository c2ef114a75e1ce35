//! `cargo xtask matrix`: the end-to-end tests against every release of Envoy that is supported. Everything
//! else is built once. Ends with a table and `target/matrix/report.json`, and fails if any test did.

use std::fs;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::error::Error;
use crate::workspace::Workspace;
use crate::{envoy, say, tests};

/// The last release of each minor version that Envoy's wheels offer with V8 in it.
pub const VERSIONS: [&str; 5] = ["1.36.4", "1.37.0", "1.38.2", "1.39.3", "1.40.0"];

pub struct Options {
    pub versions: Vec<String>,
    /// Names of tests; all if there are none.
    pub only: Vec<String>,
}

/// What a version made of the tests.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    passed: usize,
    failed: Vec<String>,
    ended_well: bool,
}

pub fn run(workspace: &Workspace, options: &Options) -> Result<(), Error> {
    let mut built = tests::prepare(workspace, envoy::DEFAULT_VERSION)?;
    let folder = workspace.built("matrix");
    fs::create_dir_all(&folder).map_err(Error::file("cannot create", &folder))?;
    let mut outcomes = Vec::new();
    for version in &options.versions {
        built.fetched.envoy = envoy::ensure(workspace, version)?;
        tests::validate(workspace, &built)?;
        let log = folder.join(format!("{version}.log"));
        say::step(format_args!("Envoy {version}: {}", log.display()));
        let output = fs::File::create(&log).map_err(Error::file("cannot write", &log))?;
        let errors = output
            .try_clone()
            .map_err(Error::file("cannot write", &log))?;
        let mut command = tests::end_to_end(workspace, &built, &options.only);
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let ended_well = command.status().is_ok_and(|status| status.success());
        let text = fs::read_to_string(&log).map_err(Error::file("cannot read", &log))?;
        let outcome = Outcome::read(&text, ended_well);
        say::step(format_args!("Envoy {version}: {}", outcome.shown()));
        outcomes.push((version.as_str(), outcome));
    }
    report(workspace, &outcomes)
}

fn report(workspace: &Workspace, outcomes: &[(&str, Outcome)]) -> Result<(), Error> {
    say::line("\n| Envoy | passed | failed |\n| --- | --- | --- |");
    for (version, outcome) in outcomes {
        let (passed, failed) = (outcome.passed, outcome.failed.len());
        say::line(format_args!("| {version} | {passed} | {failed} |"));
    }
    let all: serde_json::Map<_, _> = outcomes
        .iter()
        .map(|(version, outcome)| ((*version).to_owned(), outcome.report()))
        .collect();
    let path = workspace.built("matrix/report.json");
    fs::write(&path, format!("{:#}\n", Value::Object(all)))
        .map_err(Error::file("cannot write", &path))?;
    say::line(format_args!("\nwritten to {}", path.display()));
    let bad: Vec<_> = outcomes
        .iter()
        .filter(|(_, outcome)| !outcome.is_good())
        .collect();
    if bad.is_empty() {
        return Ok(());
    }
    let bad = bad
        .iter()
        .map(|(version, outcome)| format!("Envoy {version}: {}", outcome.shown()));
    Err(Error::Said(bad.collect::<Vec<_>>().join("\n")))
}

impl Outcome {
    /// From what the tests printed.
    fn read(text: &str, ended_well: bool) -> Self {
        let tests = text.lines().filter_map(|line| line.strip_prefix("test "));
        let ends = |word: &'static str| {
            let named = tests
                .clone()
                .filter_map(move |test| test.strip_suffix(word));
            named.map(|name| name.trim_end_matches(" ...").to_owned())
        };
        Self {
            passed: ends(" ok").count(),
            failed: ends(" FAILED").collect(),
            ended_well,
        }
    }

    /// No test at all is no success.
    fn is_good(&self) -> bool {
        self.ended_well && self.failed.is_empty() && self.passed > 0
    }

    fn shown(&self) -> String {
        let Self {
            passed,
            failed,
            ended_well,
        } = self;
        match (failed.as_slice(), ended_well) {
            ([], true) => format!("{passed} passed"),
            ([], false) => format!("{passed} passed, and it did not end well: see its log"),
            (failed, _) => format!("{passed} passed, failed: {}", failed.join(", ")),
        }
    }

    fn report(&self) -> Value {
        json!({"passed": self.passed, "failed": self.failed, "good": self.is_good()})
    }
}

#[cfg(test)]
mod tests_of_it {
    use super::*;

    const TEXT: &str = "running 3 tests\ntest a::b ... ok\ntest a::c ... FAILED\ntest d ... ok\n\
        test result: FAILED. 2 passed; 1 failed; 0 ignored\n";

    #[test]
    fn what_the_tests_printed_is_counted() {
        let outcome = Outcome::read(TEXT, false);
        assert_eq!(
            (outcome.passed, outcome.failed.as_slice()),
            (2, ["a::c".to_owned()].as_slice())
        );
        assert!(!outcome.is_good());
        assert!(Outcome::read("test a ... ok\n", true).is_good());
    }

    #[test]
    fn a_run_without_tests_or_with_an_end_in_between_is_not_good() {
        assert!(!Outcome::read("", true).is_good());
        assert!(!Outcome::read("test a ... ok\n", false).is_good());
    }
}
