//! Durations as people write them: `500ms`, `90s`, `1h30m`, `7d`.

use std::time::Duration;

use thiserror::Error;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{0:?} is not a duration: write a number with ms, s, m, h or d, such as \"90s\" or \"1h30m\""
)]
pub struct DurationError(String);

/// From the largest to the smallest, as they follow each other in a text.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Reads one or more numbers with units, each once, largest first.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let fault = || DurationError(text.chars().take(40).collect());
    let mut rest = text;
    let mut milliseconds: u64 = 0;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let after_number = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let digits = rest.strip_suffix(after_number).ok_or_else(fault)?;
        let after_unit = after_number.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        let unit = after_number.strip_suffix(after_unit).ok_or_else(fault)?;
        let number: u64 = digits.parse().map_err(|_| fault())?;
        let (_, size) = units.find(|(name, _)| *name == unit).ok_or_else(fault)?;
        let part = number.checked_mul(*size).ok_or_else(fault)?;
        milliseconds = milliseconds.checked_add(part).ok_or_else(fault)?;
        rest = after_unit;
    }
    if text.is_empty() {
        Err(fault())
    } else {
        Ok(Duration::from_millis(milliseconds))
    }
}

/// Writes a duration so that [`parse`] reads it again; to the millisecond.
pub fn show(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, size) in UNITS {
        let count = rest / size;
        rest %= size;
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
        }
    }
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_read_and_shown_again() {
        for (text, milliseconds) in [
            ("500ms", 500),
            ("90s", 90_000),
            ("1h30m", 5_400_000),
            ("7d", 604_800_000),
            ("0s", 0),
        ] {
            assert_eq!(
                parse(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
            assert_eq!(
                parse(&show(Duration::from_millis(milliseconds))),
                parse(text)
            );
        }
        assert_eq!(show(Duration::from_secs(90)), "1m30s");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "5",
            "h",
            "1.5h",
            "-1s",
            "5m1h",
            "1h1h",
            "5 m",
            "5µs",
            "99999999999999d",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
