//! Spamhaus DROP: JSON lines `{"cidr":…}`, the last one metadata whose `records` shows whether the
//! list came whole. Duplicates occur and count as records.

use reputation::Cidr;
use serde::Deserialize;

use super::{FormatError, Parsed, numbered_lines};

#[derive(Deserialize)]
struct Row<'a> {
    #[serde(borrow, default)]
    cidr: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, default, rename = "type")]
    kind: Option<std::borrow::Cow<'a, str>>,
    #[serde(default)]
    records: Option<u64>,
}

pub fn parse(bytes: &[u8], score: u8) -> Result<Parsed, FormatError> {
    let mut parsed = Parsed::new();
    let mut declared = None;
    for (number, line) in numbered_lines(bytes) {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        match read_row(line) {
            Some(Line::Entry(cidr)) => parsed.entry(cidr, score),
            Some(Line::Metadata(records)) => declared = Some(records),
            None => parsed.fault(number, line),
        }
    }
    let declared = declared.ok_or(FormatError::NoMetadata)?;
    let found = parsed.rows;
    if u64::try_from(found) != Ok(declared) {
        return Err(FormatError::Records { declared, found });
    }
    parsed.declared_empty = declared == 0;
    Ok(parsed)
}

enum Line {
    Entry(Cidr),
    Metadata(u64),
}

fn read_row(line: &[u8]) -> Option<Line> {
    let row: Row<'_> = serde_json::from_slice(line).ok()?;
    if row.kind.as_deref() == Some("metadata") {
        return row.records.map(Line::Metadata);
    }
    Cidr::parse_lenient(&row.cidr?).ok().map(Line::Entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = "{\"cidr\":\"203.0.113.0\\/24\",\"sblid\":\"SBL1\",\"rir\":\"arin\"}\n";

    fn metadata(records: u64) -> String {
        format!("{{\"type\":\"metadata\",\"timestamp\":1,\"size\":9,\"records\":{records}}}\n")
    }

    #[test]
    fn rows_are_read_and_duplicates_count_as_records() {
        let text = format!("{ROW}{ROW}{{\"cidr\":\"2001:db8::/32\"}}\n{}", metadata(3));
        let parsed = parse(text.as_bytes(), 80).unwrap();
        assert_eq!(parsed.rows, 3);
        assert_eq!(parsed.entries.build_greatest().len(), 2);
    }

    #[test]
    fn a_list_that_lacks_records_is_cut_off() {
        let text = format!("{ROW}{}", metadata(2));
        let refused = parse(text.as_bytes(), 80).unwrap_err();
        assert!(matches!(
            refused,
            FormatError::Records {
                declared: 2,
                found: 1
            }
        ));
        assert!(matches!(
            parse(ROW.as_bytes(), 80),
            Err(FormatError::NoMetadata)
        ));
    }

    #[test]
    fn an_unreadable_row_is_counted_and_zero_records_mean_an_empty_list() {
        let text = format!("{ROW}{{\"asn\":64500}}\n{}", metadata(2));
        let parsed = parse(text.as_bytes(), 80).unwrap();
        assert_eq!((parsed.unreadable, parsed.faults[0].line), (1, 2));
        assert!(parse(metadata(0).as_bytes(), 80).unwrap().declared_empty);
    }
}
