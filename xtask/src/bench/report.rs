//! `target/bench/report.json` and the table on the terminal.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::statistics::Median;
use crate::error::Error;
use crate::say;
use crate::workspace::Workspace;

/// Figures by name. Written over an earlier report figure by figure, so that benchmarks which are run
/// one by one end up in one file.
#[derive(Debug, Default)]
pub struct Report {
    ratios: Vec<(&'static str, Median, &'static str)>,
    microseconds: Vec<(&'static str, Median)>,
    bytes: Vec<(&'static str, f64)>,
}

impl Report {
    /// A ratio, and what it says in words.
    pub fn ratio(&mut self, name: &'static str, value: Median, meaning: &'static str) {
        self.ratios.push((name, value, meaning));
    }

    /// An absolute figure, in microseconds. On a shared machine only a ratio means much.
    pub fn micros(&mut self, name: &'static str, value: Median) {
        self.microseconds.push((name, value));
    }

    pub fn bytes(&mut self, name: &'static str, value: f64) {
        self.bytes.push((name, value));
    }

    /// Prints the table and writes the file.
    pub fn finish(&self, workspace: &Workspace) -> Result<(), Error> {
        say::line("\nmedians of rounds [95 % interval]\n");
        for (name, value) in &self.microseconds {
            say::line(format_args!("  {name:<28} {value:.1} µs"));
        }
        for (name, value) in &self.bytes {
            say::line(format_args!("  {name:<28} {value:.1} bytes"));
        }
        say::line("");
        for (name, value, meaning) in &self.ratios {
            say::line(format_args!("  {name:<28} {value:.2}   {meaning}"));
        }
        let folder = workspace.built("bench");
        std::fs::create_dir_all(&folder).map_err(Error::file("cannot create", &folder))?;
        let path = folder.join("report.json");
        let report = self.over(earlier(&path));
        std::fs::write(&path, format!("{report:#}\n"))
            .map_err(Error::file("cannot write", &path))?;
        say::line(format_args!("\nwritten to {}", path.display()));
        Ok(())
    }

    fn over(&self, mut report: Value) -> Value {
        for (name, median, _) in &self.ratios {
            set(&mut report, "ratios", name, json!(median.value));
            set(
                &mut report,
                "intervals",
                name,
                json!([median.low, median.high]),
            );
        }
        for (name, median) in &self.microseconds {
            set(&mut report, "microseconds", name, json!(median.value));
        }
        for (name, bytes) in &self.bytes {
            set(&mut report, "bytes", name, json!(bytes));
        }
        report
    }
}

/// What is there, if it is a report.
fn earlier(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let parsed = serde_json::from_str(&text).ok().filter(Value::is_object);
    parsed.unwrap_or_else(|| json!({}))
}

fn set(report: &mut Value, group: &str, name: &str, value: Value) {
    let Some(report) = report.as_object_mut() else {
        return;
    };
    let group = report.entry(group).or_insert_with(|| json!({}));
    if !group.is_object() {
        *group = Value::Object(Map::new());
    }
    if let Some(group) = group.as_object_mut() {
        group.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_benchmark_leaves_the_figures_of_an_earlier_one() {
        let median = |value| Median::of(vec![value]);
        let mut report = Report::default();
        report.ratio("one", median(2.0), "");
        report.micros("cost", median(3.0));
        let before = json!({"ratios": {"one": 1.0, "other": 9.0}, "intervals": "rubbish"});
        let expected = json!({
            "ratios": {"one": 2.0, "other": 9.0},
            "intervals": {"one": [2.0, 2.0]},
            "microseconds": {"cost": 3.0},
        });
        assert_eq!(report.over(before), expected);
    }
}
