//! JSON documents that list addresses: those that operators of crawlers publish, and any list of texts.
//! Rows are counted from 1 where other formats have lines.

use reputation::Cidr;
use serde_json::Value;

use super::{FormatError, Parsed};

/// Where Google, Bing and others have their rows, and what these hold.
const PREFIXES: &str = "/prefixes";
const FIELDS: [&str; 2] = ["ipv4Prefix", "ipv6Prefix"];

pub fn prefixes(bytes: &[u8], score: u8) -> Result<Parsed, FormatError> {
    read(bytes, PREFIXES, score, |row| {
        let mut fields = FIELDS.iter().filter_map(|field| row.get(field)?.as_str());
        fields.next()
    })
}

pub fn addresses(bytes: &[u8], at: &str, score: u8) -> Result<Parsed, FormatError> {
    read(bytes, at, score, Value::as_str)
}

fn read(
    bytes: &[u8],
    at: &str,
    score: u8,
    text: impl Fn(&Value) -> Option<&str>,
) -> Result<Parsed, FormatError> {
    let document: Value = serde_json::from_slice(bytes).map_err(FormatError::Json)?;
    let rows = document.pointer(at).and_then(Value::as_array);
    let rows = rows.ok_or_else(|| FormatError::NoList(at.to_owned()))?;
    let mut parsed = Parsed::new();
    for (index, row) in rows.iter().enumerate() {
        let number = index + 1;
        match text(row).map(|text| (text, Cidr::parse_lenient(text))) {
            Some((_, Ok(cidr))) => parsed.entry(cidr, score),
            Some((text, Err(_))) => parsed.fault(number, text.as_bytes()),
            None => parsed.fault(number, b"a row without a readable prefix"),
        }
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As https://developers.google.com/static/search/apis/ipranges/googlebot.json is written.
    const CRAWLER: &str = r#"{"creationTime":"2026-11-20T15:46:11.000000","prefixes":[
        {"ipv6Prefix":"2001:4860:4801:10::/64"},{"ipv4Prefix":"66.249.64.0/27"}]}"#;
    /// As https://stripe.com/files/ips/ips_webhooks.json is.
    const WEBHOOKS: &str = r#"{"WEBHOOKS":["3.18.12.63","3.130.192.231","13.235.14.237"]}"#;

    fn entries(parsed: Parsed) -> Vec<String> {
        let listing = parsed.entries.build_greatest();
        listing.iter().map(|(cidr, _)| cidr.to_string()).collect()
    }

    #[test]
    fn prefixes_of_both_families_are_read_from_a_crawlers_list() {
        let parsed = prefixes(CRAWLER.as_bytes(), 0).unwrap();
        assert_eq!((parsed.rows, parsed.unreadable), (2, 0));
        assert_eq!(
            entries(parsed),
            ["66.249.64.0/27", "2001:4860:4801:10::/64"]
        );
    }

    #[test]
    fn texts_are_read_from_where_they_are() {
        let parsed = addresses(WEBHOOKS.as_bytes(), "/WEBHOOKS", 0).unwrap();
        assert_eq!(
            entries(parsed),
            ["3.18.12.63/32", "3.130.192.231/32", "13.235.14.237/32"]
        );
    }

    #[test]
    fn rows_of_another_shape_are_counted_and_skipped() {
        let rows = br#"{"prefixes":[{"ipv4Prefix":7},"198.51.100.1",{"ipv4Prefix":"no"},{},
            {"ipv4Prefix":"203.0.113.0/24"}]}"#;
        let parsed = prefixes(rows, 0).unwrap();
        assert_eq!((parsed.rows, parsed.unreadable), (5, 4));
        assert_eq!(
            (parsed.faults[2].line, parsed.faults[2].text.as_str()),
            (3, "no")
        );
    }

    #[test]
    fn a_document_without_the_list_or_one_that_is_cut_off_is_none() {
        for other in [
            "{}",
            r#"{"prefixes":null}"#,
            r#"{"prefixes":{"a":1}}"#,
            "[]",
        ] {
            let refused = prefixes(other.as_bytes(), 0).unwrap_err();
            assert_eq!(
                refused.to_string(),
                "it has no list at /prefixes",
                "{other}"
            );
        }
        for cut_off in ["{\"prefixes\":[{\"ipv4P", "<html>", ""] {
            let refused = prefixes(cut_off.as_bytes(), 0).unwrap_err();
            assert!(matches!(refused, FormatError::Json(_)), "{cut_off}");
        }
    }
}
