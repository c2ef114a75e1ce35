//! What was measured, what of it is beyond its bound, and `target/soak/report.json`.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::say;

pub struct Findings {
    figures: Map<String, Value>,
    bounds: Map<String, Value>,
    faults: Vec<String>,
    load_before: String,
}

impl Findings {
    pub fn begin() -> Self {
        Self {
            figures: Map::new(),
            bounds: Map::new(),
            faults: Vec::new(),
            load_before: load_average(),
        }
    }

    /// A figure; its name ends with its unit.
    pub fn figure(&mut self, name: &str, value: f64) {
        say::line(format_args!("  {name:<44} {value:>10.2}"));
        self.figures.insert(name.to_owned(), json!(value));
    }

    /// A figure that must not be beyond `most`. One that is no number is beyond.
    pub fn at_most(&mut self, name: &str, value: f64, most: f64) {
        say::line(format_args!("  {name:<44} {value:>10.2}   at most {most}"));
        self.figures.insert(name.to_owned(), json!(value));
        self.bounds.insert(name.to_owned(), json!(most));
        if value.is_nan() || value > most {
            self.faults
                .push(format!("{name} is {value:.2}, over {most}"));
        }
    }

    pub fn faults(&mut self, faults: impl IntoIterator<Item = String>) {
        self.faults.extend(faults);
    }

    /// Writes the report; fails if anything is beyond its bound.
    pub fn finish(self, folder: &Path) -> Result<(), Error> {
        let path = folder.join("report.json");
        let report = format!("{:#}\n", self.report());
        std::fs::write(&path, report).map_err(Error::file("cannot write", &path))?;
        say::line(format_args!("\nwritten to {}", path.display()));
        if self.faults.is_empty() {
            say::line("Everything is within its bounds.");
            return Ok(());
        }
        Err(Error::Said(self.faults.join("\n")))
    }

    fn report(&self) -> Value {
        json!({
            "figures": self.figures,
            "at_most": self.bounds,
            "faults": self.faults,
            "load_average": {"before": self.load_before, "after": load_average()},
        })
    }
}

/// How busy the machine was over 1, 5 and 15 minutes; what is measured on a busy one says little.
fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let words: Vec<_> = text.split(' ').take(3).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_its_bound_or_no_number_fails_and_stands_in_the_report() {
        let folder = tempfile::tempdir().unwrap();
        let mut good = Findings::begin();
        good.at_most("ban_p99_ms", 500.0, 500.0);
        good.figure("image_bytes", 7.0);
        assert!(good.finish(folder.path()).is_ok());
        for bad in [500.1, f64::NAN] {
            let mut findings = Findings::begin();
            findings.at_most("ban_p99_ms", bad, 500.0);
            let told = findings.finish(folder.path()).unwrap_err().to_string();
            assert!(told.contains("ban_p99_ms is"), "{told}");
            let text = std::fs::read_to_string(folder.path().join("report.json")).unwrap();
            let report: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(report["faults"], json!([told]));
            assert_eq!(report["at_most"]["ban_p99_ms"], json!(500.0));
        }
    }
}
