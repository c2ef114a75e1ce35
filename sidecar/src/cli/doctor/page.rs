//! The doctor's page, for people and for programs.

use std::fmt::Write as _;

use serde::Serialize;

use crate::doctor::{Finding, State};

/// What `--json` prints.
#[derive(Serialize)]
struct Document<'a> {
    falls_short: usize,
    checks: usize,
    findings: &'a [Finding],
}

/// Whether states are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    Plain,
    Colours,
}

const STATE_WIDTH: usize = 9;
const NAME_WIDTH: usize = 19;
/// Where what was seen begins, and each further line of it.
const INDENT: usize = STATE_WIDTH + NAME_WIDTH + 4;

pub fn json(findings: &[Finding]) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Document {
        falls_short: short(findings),
        checks: findings.len(),
        findings,
    })
}

/// Grouped, one line a check, and below those that fall short what to do.
pub fn text(findings: &[Finding], paint: Paint) -> String {
    let mut text = String::new();
    for group in findings.chunk_by(|one, other| one.check.group() == other.check.group()) {
        if let Some(first) = group.first() {
            text.push_str(first.check.group());
            text.push('\n');
        }
        for run in group.chunk_by(skipped_alike) {
            match run {
                [first, _, ..] if run.len() == group.len() => {
                    folded(&mut text, first, "all", paint)
                }
                [first, _, ..] => folded(&mut text, first, &format!("{} more", run.len()), paint),
                run => run
                    .iter()
                    .for_each(|finding| entry(&mut text, finding, paint)),
            }
        }
        text.push('\n');
    }
    let skipped = findings
        .iter()
        .filter(|finding| finding.state == State::Skipped);
    // Writing to a string cannot fail.
    let _written = write!(
        text,
        "{} of {} checks fall short",
        short(findings),
        findings.len()
    );
    match skipped.count() {
        0 => {}
        number => {
            let _written = write!(text, "; {number} could not be made");
        }
    }
    text
}

pub fn short(findings: &[Finding]) -> usize {
    findings
        .iter()
        .filter(|finding| finding.state.falls_short())
        .count()
}

fn entry(text: &mut String, finding: &Finding, paint: Paint) {
    let name = finding.check.name();
    let name = name.split_once('.').map_or(name, |(_, name)| name);
    let seen = match &finding.at {
        Some(place) => format!("{place}: {}", finding.seen),
        None => finding.seen.clone(),
    };
    line(text, finding.state, name, &seen, paint);
    if let Some(remedy) = finding
        .remedy
        .as_ref()
        .filter(|_| finding.state != State::Ok)
    {
        let _written = writeln!(text, "{:INDENT$}-> {remedy}", "");
    }
}

fn line(text: &mut String, state: State, name: &str, seen: &str, paint: Paint) {
    let (on, off) = match paint {
        Paint::Plain => ("", ""),
        Paint::Colours => (colour(state), "\u{1b}[0m"),
    };
    let state = state.name();
    let _written = writeln!(
        text,
        "  {on}{state:STATE_WIDTH$}{off} {name:NAME_WIDTH$} {}",
        seen.replace('\n', &format!("\n{:INDENT$}", ""))
    );
}

fn colour(state: State) -> &'static str {
    match state {
        State::Ok => "\u{1b}[32m",
        State::Note => "\u{1b}[36m",
        State::Skipped => "\u{1b}[90m",
        State::Attention => "\u{1b}[33m",
        State::Failing => "\u{1b}[31m",
    }
}

/// Several that are skipped for one reason, in one line.
fn folded(text: &mut String, first: &Finding, names: &str, paint: Paint) {
    line(text, State::Skipped, names, &first.seen, paint);
}

fn skipped_alike(one: &Finding, other: &Finding) -> bool {
    [one, other]
        .iter()
        .all(|finding| finding.state == State::Skipped)
        && (&one.seen, &one.at) == (&other.seen, &other.at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Check;

    fn findings() -> Vec<Finding> {
        vec![
            Finding::ok(Check::FeedsFresh, "2 feeds").hint("not shown"),
            Finding::attention(
                Check::FeedsHeld,
                "ipsum:\nit grew",
                "portcullis feeds release ipsum",
            ),
            Finding::skipped(Check::ProvidersKey, "no provider is configured"),
            Finding::skipped(Check::ProvidersQuota, "no provider is configured"),
            Finding::failing(Check::EnvoyVms, "0 VMs", "see the log").at("http://edge-2:10002"),
            Finding::skipped(Check::EnvoyErrors, "no statistics"),
            Finding::skipped(Check::EnvoyLatency, "no statistics"),
        ]
    }

    #[test]
    fn the_page_is_grouped_and_aligned_and_ends_with_the_sum() {
        let expected = "\
feeds
  ok        fresh               2 feeds
  attention held                ipsum:
                                it grew
                                -> portcullis feeds release ipsum

providers
  skipped   all                 no provider is configured

envoy
  failing   vms                 http://edge-2:10002: 0 VMs
                                -> see the log
  skipped   2 more              no statistics

2 of 7 checks fall short; 4 could not be made";
        assert_eq!(text(&findings(), Paint::Plain), expected);
    }

    #[test]
    fn colours_are_for_terminals() {
        assert!(!text(&findings(), Paint::Plain).contains('\u{1b}'));
        assert!(text(&findings(), Paint::Colours).contains("\u{1b}[31mfailing"));
    }

    #[test]
    fn programs_get_the_same_as_data() {
        let json: serde_json::Value = serde_json::from_str(&json(&findings()).unwrap()).unwrap();
        assert_eq!(
            (&json["falls_short"], &json["checks"]),
            (&2.into(), &7.into())
        );
        assert_eq!(json["findings"][1]["check"], "feeds.held");
        assert_eq!(json["findings"][1]["state"], "attention");
        assert_eq!(json["findings"][4]["at"], "http://edge-2:10002");
    }
}
