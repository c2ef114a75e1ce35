//! AbuseIPDB's check endpoint. Read leniently: nearly every field may be missing or null, and only the
//! score is needed.

use std::time::Duration;

use async_trait::async_trait;
use hyper::header::HeaderName;
use hyper::{StatusCode, Uri};
use reputation::score::Stance;
use reputation::{ClientAddress, UnixSeconds};
use serde_json::Value;

use super::exchange::{exchange, json, unexpected, with_key};
use super::limits::Limits;
use super::{Keys, Outcome, Provider, Reply, Word, moment};
use crate::config::{LimitHeaders, SecretName};
use crate::http::{Answer, Get, HttpClient};
use crate::strangers::plain;

/// An answer has about 500 bytes; without `verbose` it never has more than a few thousand.
const MAX_BYTES: usize = 256 * 1024;
/// How much of an error's text is kept.
const DETAIL: usize = 200;

pub struct AbuseIpdb {
    pub base_url: Uri,
    pub max_age_days: u16,
    pub key: Option<SecretName>,
    pub timeout: Duration,
    pub http: HttpClient,
}

impl AbuseIpdb {
    fn question(&self, address: ClientAddress, keys: &Keys) -> Result<Get, String> {
        let encoded = address.to_string().replace(':', "%3A");
        let (base, days) = (&self.base_url, self.max_age_days);
        let uri = format!("{base}check?ipAddress={encoded}&maxAgeInDays={days}");
        let uri = Uri::try_from(uri).map_err(|error| error.to_string())?;
        with_key(json(uri, self.timeout, MAX_BYTES), self.key.as_ref(), keys)
    }
}

#[async_trait]
impl Provider for AbuseIpdb {
    async fn check(&self, address: ClientAddress, keys: &Keys, now: UnixSeconds) -> Reply {
        let read = |answer: &Answer| Reply {
            outcome: read(answer),
            limits: Limits::read(&answer.headers, &limit_headers(), None, now),
        };
        exchange(&self.http, self.question(address, keys), read).await
    }
}

fn read(answer: &Answer) -> Outcome {
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let detail = || detail(answer.status, body.as_ref());
    match answer.status {
        StatusCode::OK => body.as_ref().map_or_else(
            || Outcome::Malformed("the answer is not JSON".to_owned()),
            read_word,
        ),
        StatusCode::UNAUTHORIZED | StatusCode::PAYMENT_REQUIRED | StatusCode::FORBIDDEN => {
            Outcome::KeyRefused(detail())
        }
        StatusCode::UNPROCESSABLE_ENTITY | StatusCode::BAD_REQUEST => {
            Outcome::BadQuestion(detail())
        }
        // With a parameter it is this question that comes too often; without, the day's calls are used.
        StatusCode::TOO_MANY_REQUESTS if names_parameter(body.as_ref()) => {
            Outcome::BadQuestion(detail())
        }
        StatusCode::TOO_MANY_REQUESTS => Outcome::QuotaUsed(detail()),
        status if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => {
            Outcome::Unavailable(detail())
        }
        status => unexpected(status, detail()),
    }
}

fn read_word(body: &Value) -> Outcome {
    let Some(data) = body.get("data").filter(|data| data.is_object()) else {
        return Outcome::Malformed("the answer has no data".to_owned());
    };
    let Some(score) = data.get("abuseConfidenceScore").and_then(score) else {
        return Outcome::Malformed("the answer has no score from 0 to 100".to_owned());
    };
    let flag = |field: &str| data.get(field).and_then(Value::as_bool) == Some(true);
    let flags = [("isTor", "tor"), ("isWhitelisted", "whitelisted")];
    let flags = flags.into_iter().filter(|(field, _)| flag(field));
    Outcome::Said(Word {
        score,
        // That it is whitelisted there is no ground for action by itself, AbuseIPDB says.
        stance: Stance::Rated,
        categories: flags.map(|(_, name)| name.to_owned()).collect(),
        observed: data.get("lastReportedAt").and_then(moment),
    })
}

fn score(value: &Value) -> Option<u8> {
    let number = value.as_f64().or_else(|| value.as_str()?.parse().ok())?;
    // However it is written: 87, 87.0 or "87".
    (0..=100).find(|score| f64::from(*score) == number)
}

/// The provider's own words on what went wrong, else the status.
fn detail(status: StatusCode, body: Option<&Value>) -> String {
    let said = body.and_then(|body| body.get("errors")?.get(0)?.get("detail")?.as_str());
    let said = said.map(|said| plain(said, DETAIL));
    said.map_or_else(|| status.to_string(), |said| format!("{status}: {said}"))
}

fn names_parameter(body: Option<&Value>) -> bool {
    body.is_some_and(|body| body.pointer("/errors/0/source/parameter").is_some())
}

/// They count the day's calls.
fn limit_headers() -> LimitHeaders {
    let name = |name| Some(HeaderName::from_static(name));
    LimitHeaders {
        limit: name("x-ratelimit-limit"),
        remaining: name("x-ratelimit-remaining"),
        reset: name("x-ratelimit-reset"),
    }
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;
    use hyper::body::Bytes;

    use super::*;

    fn answer(status: u16, body: &str) -> Outcome {
        read(&Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        })
    }

    #[test]
    fn a_reported_address_has_its_score_and_when_it_was_last_seen() {
        let body = r#"{"data":{"ipAddress":"203.0.113.45","isPublic":true,"ipVersion":4,
            "isWhitelisted":null,"abuseConfidenceScore":87,"countryCode":"NL","isTor":true,
            "totalReports":134,"lastReportedAt":"2026-11-20T08:14:03+00:00"}}"#;
        let said = Outcome::Said(Word {
            score: 87,
            stance: Stance::Rated,
            categories: vec!["tor".to_owned()],
            observed: Some(UnixSeconds(1_795_162_443)),
        });
        assert_eq!(answer(200, body), said);
    }

    #[test]
    fn every_field_but_the_score_may_be_missing_or_null_or_of_another_type() {
        for body in [
            r#"{"data":{"abuseConfidenceScore":0}}"#,
            r#"{"data":{"abuseConfidenceScore":0,"lastReportedAt":null,"isTor":null,"isp":null}}"#,
            r#"{"data":{"abuseConfidenceScore":0,"lastReportedAt":"never","isTor":"no"}}"#,
        ] {
            assert!(
                matches!(answer(200, body), Outcome::Said(Word { score: 0, .. })),
                "{body}"
            );
        }
    }

    #[test]
    fn a_score_counts_however_the_number_is_written() {
        for score in ["87", "87.0", "\"87\"", "8.7e1"] {
            let body = format!(r#"{{"data":{{"abuseConfidenceScore":{score}}}}}"#);
            let said = answer(200, &body);
            assert!(
                matches!(said, Outcome::Said(Word { score: 87, .. })),
                "{body}"
            );
        }
    }

    #[test]
    fn rubbish_is_malformed_and_not_a_score() {
        for body in [
            "<html>maintenance</html>",
            "",
            r#"{"data":{"abuseConf"#,
            r#"{"data":null}"#,
            r#"{"data":[]}"#,
            r#"{"data":{"abuseConfidenceScore":null}}"#,
            r#"{"data":{"abuseConfidenceScore":101}}"#,
            r#"{"data":{"abuseConfidenceScore":-1}}"#,
            r#"{"data":{"abuseConfidenceScore":1e308}}"#,
            r#"{"data":{"abuseConfidenceScore":87.5}}"#,
            r#"{"data":{"abuseConfidenceScore":"NaN"}}"#,
            r#"{"data":{"abuseConfidenceScore":true}}"#,
            r#"{"errors":[]}"#,
        ] {
            assert!(matches!(answer(200, body), Outcome::Malformed(_)), "{body}");
        }
        assert!(matches!(answer(302, ""), Outcome::Malformed(_)));
    }

    #[test]
    fn every_documented_status_has_its_outcome() {
        let error = r#"{"errors":[{"detail":"Authentication failed.","status":401}]}"#;
        assert_eq!(
            answer(401, error),
            Outcome::KeyRefused("401 Unauthorized: Authentication failed.".to_owned())
        );
        let plan = r#"{"errors":[{"detail":"This feature needs a higher plan.","status":402}]}"#;
        assert!(matches!(answer(402, plan), Outcome::KeyRefused(_)));
        let bad = r#"{"errors":[{"detail":"The ip address must be a valid IPv4 or IPv6 address.",
            "status":422,"source":{"parameter":"ipAddress"}}]}"#;
        assert!(matches!(answer(422, bad), Outcome::BadQuestion(_)));
        let used = r#"{"errors":[{"detail":"Daily rate limit of 1000 requests exceeded for this endpoint.",
            "status":429}]}"#;
        assert!(matches!(answer(429, used), Outcome::QuotaUsed(_)));
        assert!(matches!(answer(404, "{}"), Outcome::Malformed(_)));
        assert!(matches!(answer(500, "{}"), Outcome::Unavailable(_)));
    }

    #[test]
    fn errors_as_pages_mean_what_their_status_says() {
        let page = "<!DOCTYPE html><html><body>Too Many Attempts.</body></html>";
        let names = [401, 402, 422, 429, 503].map(|status| answer(status, page).name());
        let expected = [
            "key_refused",
            "key_refused",
            "bad_question",
            "quota",
            "unavailable",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_429_about_one_parameter_is_about_that_question_and_not_about_the_day() {
        let once = r#"{"errors":[{"detail":"You can only report the same IP address once in 15 minutes.",
            "status":429,"source":{"parameter":"ip"}}]}"#;
        assert!(matches!(answer(429, once), Outcome::BadQuestion(_)));
    }
}
