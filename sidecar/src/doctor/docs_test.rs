//! `docs/doctor.md` says what the checks mean.

use super::{Check, State};

const DOCUMENT: &str = include_str!("../../../docs/doctor.md");

#[test]
fn the_document_has_the_checks_in_the_order_in_which_they_are_shown() {
    let headings = DOCUMENT
        .lines()
        .filter_map(|line| line.strip_prefix("### `"));
    let documented: Vec<_> = headings.map(|rest| rest.trim_end_matches('`')).collect();
    let shown: Vec<_> = Check::ALL.iter().map(|check| check.name()).collect();
    assert_eq!(documented, shown);
}

#[test]
fn every_check_named_in_the_document_is_one() {
    for name in DOCUMENT.split('`').filter(|word| is_like_a_check(word)) {
        assert!(name.parse::<Check>().is_ok(), "{name}");
    }
}

#[test]
fn the_document_has_every_state() {
    for state in State::ALL {
        let row = DOCUMENT
            .lines()
            .find(|line| line.starts_with(&format!("| `{}` |", state.name())));
        let falls_short = row.unwrap().ends_with("| yes |");
        assert_eq!(falls_short, state.falls_short(), "{}", state.name());
    }
}

/// `group.name`, of a group that there is.
fn is_like_a_check(word: &str) -> bool {
    let groups: Vec<_> = Check::ALL.iter().map(|check| check.group()).collect();
    let plain = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    word.split_once('.')
        .is_some_and(|(group, name)| groups.contains(&group) && plain(name))
}
