//! AbuseIPDB's blacklist: one JSON document whose rows bring their own score.

use reputation::Cidr;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{FormatError, Parsed, UNSAID};
use crate::config::ListScore;

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    data: Option<Vec<Row>>,
    #[serde(default)]
    errors: Option<Vec<ErrorRow>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Row {
    Entry {
        #[serde(rename = "ipAddress")]
        address: String,
        #[serde(rename = "abuseConfidenceScore", default)]
        score: Option<u8>,
    },
    Unreadable(IgnoredAny),
}

#[derive(Deserialize)]
struct ErrorRow {
    #[serde(default)]
    detail: Option<String>,
}

pub fn parse(bytes: &[u8], wanted: ListScore) -> Result<Parsed, FormatError> {
    let document: Document = serde_json::from_slice(bytes).map_err(FormatError::Json)?;
    let Some(rows) = document.data else {
        return Err(FormatError::SourceError(first_detail(document.errors)));
    };
    let mut parsed = Parsed::new();
    parsed.declared_empty = rows.is_empty();
    for (index, row) in rows.into_iter().enumerate() {
        // There are no lines in this format: the row's number takes their place.
        let number = index + 1;
        match row {
            Row::Entry { address, score } => match Cidr::parse_lenient(&address) {
                Ok(cidr) => parsed.entry(cidr, entry_score(wanted, score)),
                Err(_) => parsed.fault(number, address.as_bytes()),
            },
            Row::Unreadable(_) => parsed.fault(number, b"a row without a readable ipAddress"),
        }
    }
    Ok(parsed)
}

fn entry_score(wanted: ListScore, said: Option<u8>) -> u8 {
    match wanted {
        ListScore::Fixed(score) => score,
        ListScore::PerEntry => said.unwrap_or(UNSAID).min(100),
    }
}

fn first_detail(errors: Option<Vec<ErrorRow>>) -> String {
    let detail = errors.and_then(|errors| errors.into_iter().find_map(|error| error.detail));
    let detail = detail.unwrap_or_else(|| "it has no data".to_owned());
    detail.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_brings_its_own_score() {
        let text = br#"{"meta":{"generatedAt":"2026-11-22T00:00:05+00:00"},"data":[
            {"ipAddress":"203.0.113.45","countryCode":"NL","abuseConfidenceScore":100},
            {"ipAddress":"2001:db8::45","countryCode":null,"abuseConfidenceScore":75},
            {"ipAddress":"203.0.113.46"}]}"#;
        let listing = parse(text, ListScore::PerEntry)
            .unwrap()
            .entries
            .build_greatest();
        let scores: Vec<_> = listing.iter().map(|(_, score)| score).collect();
        assert_eq!(scores, [100, 100, 75]);
        let fixed = parse(text, ListScore::Fixed(60)).unwrap();
        let listing = fixed.entries.build_greatest();
        assert!(listing.iter().all(|(_, score)| score == 60));
    }

    #[test]
    fn a_row_of_another_shape_is_counted_and_skipped() {
        let text =
            br#"{"data":[{"ipAddress":7},"x",{"ipAddress":"no"},{"ipAddress":"192.0.2.1"}]}"#;
        let parsed = parse(text, ListScore::PerEntry).unwrap();
        assert_eq!((parsed.rows, parsed.unreadable), (4, 3));
    }

    #[test]
    fn an_error_or_a_cut_off_document_is_no_list() {
        let error =
            br#"{"errors":[{"detail":"Daily rate limit of 5 requests exceeded","status":429}]}"#;
        assert!(
            matches!(parse(error, ListScore::PerEntry), Err(FormatError::SourceError(text)) if text.contains("Daily"))
        );
        assert!(matches!(
            parse(br#"{"data":[{"ipAddr"#, ListScore::PerEntry),
            Err(FormatError::Json(_))
        ));
        assert!(
            parse(br#"{"data":[]}"#, ListScore::PerEntry)
                .unwrap()
                .declared_empty
        );
    }
}
