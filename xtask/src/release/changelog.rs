//! What `CHANGELOG.md` says of a version, and whether tag, version and changelog agree.

use crate::error::Error;
use crate::release::{VERSION, read};
use crate::say;
use crate::workspace::Workspace;

const FILE: &str = "CHANGELOG.md";

pub fn check(workspace: &Workspace, tag: &str) -> Result<(), Error> {
    agrees(tag, VERSION)?;
    notes(workspace)?;
    say::step(format_args!(
        "{tag} is the version in Cargo.toml, and {FILE} describes it"
    ));
    Ok(())
}

pub fn print_notes(workspace: &Workspace) -> Result<(), Error> {
    say::line(notes(workspace)?);
    Ok(())
}

/// The section of the version in Cargo.toml.
pub fn notes(workspace: &Workspace) -> Result<String, Error> {
    let text = read(&workspace.at(FILE))?;
    section(&String::from_utf8_lossy(&text), VERSION)
}

fn agrees(tag: &str, version: &str) -> Result<(), Error> {
    if tag.strip_prefix('v') == Some(version) {
        return Ok(());
    }
    Err(Error::Said(format!(
        "the tag is {tag}, the version in Cargo.toml {version}: a release's tag is v{version}"
    )))
}

/// What stands below the heading `## [VERSION] - YYYY-MM-DD`.
fn section(changelog: &str, version: &str) -> Result<String, Error> {
    let named = format!("## [{version}]");
    let mut lines = changelog
        .lines()
        .skip_while(|line| !line.starts_with(&named));
    let heading = lines.next().ok_or_else(|| {
        Error::Said(format!(
            "{FILE} has no section {named}: give [Unreleased] this name and a date"
        ))
    })?;
    let date = heading
        .strip_prefix(&named)
        .and_then(|rest| rest.strip_prefix(" - "));
    if !date.is_some_and(is_date) {
        return Err(Error::Said(format!(
            "{FILE}: {heading:?} does not end in \" - YYYY-MM-DD\""
        )));
    }
    let below: Vec<_> = lines.take_while(|line| !line.starts_with("## ")).collect();
    let notes = below.join("\n").trim().to_owned();
    if notes.is_empty() {
        return Err(Error::Said(format!(
            "{FILE} says nothing below {heading:?}"
        )));
    }
    Ok(notes)
}

fn is_date(text: &str) -> bool {
    let shape = text.len() == "2026-01-31".len();
    let mut parts = text.split('-').map(str::parse::<u16>);
    let (year, month, day) = (parts.next(), parts.next(), parts.next());
    let within = |part: Option<Result<u16, _>>, last| {
        part.is_some_and(|part| part.is_ok_and(|part| (1..=last).contains(&part)))
    };
    shape && within(year, 9999) && within(month, 12) && within(day, 31) && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGELOG: &str = "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- Next.\n\n\
        ## [1.2.0] - 2026-11-30\n\n### Fixed\n\n- A fault.\n\n## [1.1.0] - 2026-10-01\n\n## [1.0.0]\n\n- First.\n";

    #[test]
    fn a_versions_section_ends_where_the_next_begins() {
        assert_eq!(
            section(CHANGELOG, "1.2.0").unwrap(),
            "### Fixed\n\n- A fault."
        );
    }

    #[test]
    fn a_section_that_is_missing_undated_or_empty_is_refused_by_name() {
        for (version, told) in [
            ("1.3.0", "has no section ## [1.3.0]"),
            ("1.0.0", "does not end in \" - YYYY-MM-DD\""),
            ("1.1.0", "says nothing below"),
        ] {
            let error = section(CHANGELOG, version).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn a_tag_is_the_version_with_a_v() {
        agrees("v1.2.0", "1.2.0").unwrap();
        for tag in ["1.2.0", "v1.2", "v1.2.1", "vv1.2.0", "v1.2.0-rc.1", ""] {
            let error = agrees(tag, "1.2.0").unwrap_err().to_string();
            assert!(error.contains("a release's tag is v1.2.0"), "{error}");
        }
    }

    #[test]
    fn a_date_is_a_date() {
        assert!(is_date("2026-11-30"));
        for text in [
            "2026-13-01",
            "2026-1-1",
            "2026-11-00",
            "30.11.2026",
            "2026-11-30 ",
            "2026-11-3-",
        ] {
            assert!(!is_date(text), "{text}");
        }
    }
}
