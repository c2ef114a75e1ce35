//! What `cscli allowlists inspect NAME -o json` prints: items with a value and, some of them, an end.
//! Rows are counted from 1 where other formats have lines.

use reputation::{Cidr, UnixSeconds};
use serde::Deserialize;

use super::{FormatError, Parsed};

#[derive(Deserialize)]
struct Document {
    /// Null for a list without any. It has to be there.
    #[serde(deserialize_with = "Option::deserialize")]
    items: Option<Vec<Item>>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    value: String,
    #[serde(default)]
    expiration: Option<String>,
}

/// What has no end is written with the year one.
enum End {
    None,
    At(UnixSeconds),
    Unreadable,
}

pub fn parse(bytes: &[u8], score: u8, now: UnixSeconds) -> Result<Parsed, FormatError> {
    let document: Document = serde_json::from_slice(bytes).map_err(FormatError::Json)?;
    let mut parsed = Parsed::new();
    let items = document.items.unwrap_or_default();
    parsed.declared_empty = items.is_empty();
    for (index, item) in items.iter().enumerate() {
        let cidr = Cidr::parse_lenient(item.value.trim());
        match (cidr, end(item)) {
            (Ok(cidr), End::None) => parsed.entry(cidr, score),
            (Ok(_), End::At(end)) if end <= now => parsed.rows += 1,
            (Ok(cidr), End::At(end)) => {
                parsed.entry(cidr, score);
                parsed.first_end = Some(parsed.first_end.map_or(end, |first| first.min(end)));
            }
            (Ok(_), End::Unreadable) | (Err(_), _) => {
                let end = item.expiration.as_deref().unwrap_or_default();
                let text = format!("{} {end}", item.value);
                parsed.fault(index + 1, text.as_bytes());
            }
        }
    }
    Ok(parsed)
}

fn end(item: &Item) -> End {
    let Some(text) = item.expiration.as_deref().filter(|text| !text.is_empty()) else {
        return End::None;
    };
    match text.parse::<jiff::Timestamp>() {
        Ok(moment) => match u64::try_from(moment.as_second()) {
            Ok(seconds) => End::At(UnixSeconds::from_secs(seconds)),
            Err(_before_1970) => End::None,
        },
        Err(_) => End::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_795_000_000);

    fn entries(parsed: Parsed) -> Vec<String> {
        let listing = parsed.entries.build_greatest();
        listing.iter().map(|(cidr, _)| cidr.to_string()).collect()
    }

    #[test]
    fn items_count_until_their_end_and_those_without_one_always() {
        let text = r#"{"allowlist_id":"d9c4","created_at":"2026-01-02T03:04:05.000Z","name":"ours",
            "description":"partners","updated_at":"2026-01-02T03:04:05.000Z","items":[
            {"created_at":"2026-01-02T03:04:05.000Z","expiration":"0001-01-01T00:00:00.000Z","value":"198.51.100.7"},
            {"created_at":"2026-01-02T03:04:05.000Z","expiration":"2099-01-01T00:00:00.000Z","value":"2001:db8:9::/48"},
            {"description":"over","expiration":"2026-01-03T00:00:00.000Z","value":"203.0.113.0/24"},
            {"value":"192.0.2.9"}]}"#;
        let parsed = parse(text.as_bytes(), 0, NOW).unwrap();
        assert_eq!((parsed.rows, parsed.unreadable), (4, 0));
        let end = "2099-01-01T00:00:00Z".parse::<jiff::Timestamp>().unwrap();
        let end = UnixSeconds::from_secs(u64::try_from(end.as_second()).unwrap());
        assert_eq!(parsed.first_end, Some(end));
        let listed = ["192.0.2.9/32", "198.51.100.7/32", "2001:db8:9::/48"];
        assert_eq!(entries(parsed), listed);
        let later = parse(text.as_bytes(), 0, end).unwrap();
        assert_eq!(later.first_end, None);
        assert_eq!(entries(later), ["192.0.2.9/32", "198.51.100.7/32"]);
    }

    #[test]
    fn what_cannot_be_read_is_counted_and_trusted_in_no_case() {
        let text = r#"{"items":[{"value":"nobody"},{"value":"192.0.2.1","expiration":"soon"},{}]}"#;
        let parsed = parse(text.as_bytes(), 0, NOW).unwrap();
        assert_eq!((parsed.rows, parsed.unreadable), (3, 3));
        assert_eq!(parsed.faults[1].text, "192.0.2.1 soon");
        for other in [
            "",
            "[]",
            "{}",
            "null",
            "{\"items\":[{\"val",
            "{\"items\":{}}",
        ] {
            let refused = parse(other.as_bytes(), 0, NOW);
            assert!(matches!(refused, Err(FormatError::Json(_))), "{other}");
        }
    }

    #[test]
    fn a_list_without_items_is_empty_on_purpose() {
        for none in [r#"{"name":"ours","items":null}"#, r#"{"items":[]}"#] {
            let parsed = parse(none.as_bytes(), 0, NOW).unwrap();
            assert!(parsed.declared_empty && parsed.rows == 0, "{none}");
        }
    }
}
