//! What people see: tables, times, and where text goes.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;

use reputation::UnixSeconds;

/// Prints the result of a command.
pub fn say(text: &str) {
    let text = text.trim_end();
    if !text.is_empty() {
        // A reader that stopped reading (`| head`) has what it wanted.
        let _printed = writeln!(std::io::stdout(), "{text}");
    }
}

/// Prints what went wrong, with its causes.
pub fn complain(error: &dyn Error) {
    let _printed = writeln!(
        std::io::stderr(),
        "portcullis: {}",
        crate::telemetry::chain(error)
    );
}

/// Columns under their titles, as wide as what they hold.
pub(super) fn table<const N: usize>(titles: [&str; N], rows: Vec<[String; N]>) -> String {
    let mut widths = titles.map(|title| title.chars().count());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in std::iter::once(titles.map(str::to_owned)).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a string cannot fail.
            let _written = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// As ISO 8601 in UTC.
pub(crate) fn time(at: UnixSeconds) -> String {
    let timestamp = jiff::Timestamp::from_second(i64::from(at.0));
    timestamp.map_or_else(|_| at.0.to_string(), |timestamp| timestamp.to_string())
}

pub(super) fn until(expires: Option<UnixSeconds>) -> String {
    expires.map_or_else(
        || "until it is taken back".to_owned(),
        |at| format!("until {}", time(at)),
    )
}

/// `1 ban`, `2 bans`.
pub(super) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

pub(super) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_they_hold() {
        let rows = vec![
            ["a".to_owned(), "long one".to_owned()],
            ["bcd".to_owned(), String::new()],
        ];
        assert_eq!(table(["X", "Y"], rows), "X    Y\na    long one\nbcd\n");
        assert_eq!(time(UnixSeconds(1_800_000_000)), "2027-01-15T08:00:00Z");
    }
}
