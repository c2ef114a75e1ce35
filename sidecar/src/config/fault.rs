//! What is wrong with a configuration: one sentence per fault, with its path and where it stands.

use std::fmt;

use thiserror::Error;

/// Every fault of one configuration, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct Faults(pub(super) Vec<Fault>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Such as `feed[1].format`; empty where the file is not TOML at all.
    pub path: String,
    pub place: Place,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// Where something was written. Ordered as faults are reported.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Counted from 1.
    Line(usize),
    /// The name of the variable.
    Environment(String),
}

impl Faults {
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            place,
            message,
        } = self;
        match (path.as_str(), place) {
            ("", place) => write!(f, "{place}: {message}"),
            (path, Place::Line(_)) => write!(f, "`{path}` at {place}: {message}"),
            (path, Place::Environment(_)) => write!(f, "`{path}` from {place}: {message}"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Environment(name) => f.write_str(name),
        }
    }
}

/// The one of `known` that `given` was probably meant to be.
pub(super) fn nearest<'k>(given: &str, known: &[&'k str]) -> Option<&'k str> {
    let within = given.chars().count().div_ceil(3);
    let near = known
        .iter()
        .map(|candidate| (distance(given, candidate), *candidate));
    near.filter(|(distance, _)| *distance <= within)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for ((to, above), above_left) in b.iter().zip(row.iter().skip(1)).zip(&row) {
            let left = next.last().copied().unwrap_or(i + 1);
            let replaced = above_left + usize::from(from != *to);
            next.push(replaced.min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_known_word_is_suggested_if_it_is_near() {
        let known = ["format", "family", "refresh"];
        assert_eq!(nearest("fromat", &known), Some("format"));
        assert_eq!(nearest("familly", &known), Some("family"));
        assert_eq!(nearest("colour", &known), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
