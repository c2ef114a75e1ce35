//! GreyNoise: the community endpoint, and `/v3/ip` of its subscribers. Neither has a number: what it
//! calls an address becomes one here. It knows IPv4 only.

use std::time::Duration;

use async_trait::async_trait;
use hyper::{StatusCode, Uri};
use reputation::score::Stance;
use reputation::{ClientAddress, UnixSeconds};
use serde_json::Value;

use super::exchange::{exchange, json, unexpected, with_key};
use super::limits::Limits;
use super::{Keys, Outcome, Provider, Reply, Word, moment};
use crate::config::{GreyNoiseApi, LimitHeaders, SecretName};
use crate::http::{Answer, Get, HttpClient};
use crate::strangers::plain;

/// An answer with all its tags has a few thousand bytes.
const MAX_BYTES: usize = 512 * 1024;
/// How much of an error's text is kept.
const DETAIL: usize = 200;
/// What it calls an address, and the score that is.
const WORDS: [(&str, u8); 4] = [
    ("malicious", 90),
    ("suspicious", 60),
    ("unknown", 30),
    (BENIGN, 0),
];
/// Of those who scan for a good reason, and are known to: it vouches for them.
const BENIGN: &str = "benign";
/// Of business services: highly trusted.
const TRUSTED: &str = "1";

pub struct GreyNoise {
    pub api: GreyNoiseApi,
    pub base_url: Uri,
    pub key: Option<SecretName>,
    pub timeout: Duration,
    pub http: HttpClient,
}

impl GreyNoise {
    fn question(&self, address: ClientAddress, keys: &Keys) -> Result<Get, String> {
        let path = match self.api {
            GreyNoiseApi::Community => "community",
            GreyNoiseApi::V3 => "ip",
        };
        let uri = format!("{}{path}/{address}", self.base_url);
        let uri = Uri::try_from(uri).map_err(|error| error.to_string())?;
        with_key(json(uri, self.timeout, MAX_BYTES), self.key.as_ref(), keys)
    }
}

#[async_trait]
impl Provider for GreyNoise {
    fn speaks_of(&self, address: ClientAddress) -> bool {
        matches!(address, ClientAddress::V4(_))
    }

    async fn check(&self, address: ClientAddress, keys: &Keys, now: UnixSeconds) -> Reply {
        let read = |answer: &Answer| Reply {
            outcome: read(self.api, answer),
            limits: Limits::read(&answer.headers, &LimitHeaders::default(), None, now),
        };
        exchange(&self.http, self.question(address, keys), read).await
    }
}

fn read(api: GreyNoiseApi, answer: &Answer) -> Outcome {
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let said = |body: &Value| match api {
        GreyNoiseApi::Community => community(body),
        GreyNoiseApi::V3 => v3(body),
    };
    let word = || {
        let Some(body) = &body else {
            return Outcome::Malformed("the answer is not JSON".to_owned());
        };
        said(body).map_or_else(
            || Outcome::Malformed("the answer has no classification".to_owned()),
            Outcome::Said,
        )
    };
    let detail = || detail(answer.status, body.as_ref());
    match answer.status {
        // A plan that hides fields answers 206.
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => word(),
        // That an address was never seen is an answer, if it says so in its own words: gateways and lost
        // paths answer 404 with an object too.
        StatusCode::NOT_FOUND => match body.as_ref().and_then(said) {
            Some(word) if word == nothing_seen() => Outcome::Said(word),
            _ => unexpected(answer.status, detail()),
        },
        StatusCode::UNAUTHORIZED | StatusCode::PAYMENT_REQUIRED | StatusCode::FORBIDDEN => {
            Outcome::KeyRefused(detail())
        }
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
            Outcome::BadQuestion(detail())
        }
        StatusCode::TOO_MANY_REQUESTS => Outcome::QuotaUsed(detail()),
        status if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => {
            Outcome::Unavailable(detail())
        }
        status => unexpected(status, detail()),
    }
}

fn community(body: &Value) -> Option<Word> {
    let flag = |field: &str| body.get(field).and_then(Value::as_bool);
    if flag("riot") == Some(true) {
        return Some(trusted(body.get("last_seen")));
    }
    match flag("noise") {
        Some(false) => Some(nothing_seen()),
        _ => scanner(body),
    }
}

fn v3(body: &Value) -> Option<Word> {
    let business = body.get("business_service_intelligence");
    let level = business.and_then(|business| business.get("trust_level")?.as_str());
    if level == Some(TRUSTED) {
        return Some(trusted(
            business.and_then(|business| business.get("last_updated")),
        ));
    }
    let scanner_word = body.get("internet_scanner_intelligence")?;
    match scanner_word.get("found").and_then(Value::as_bool) {
        Some(false) => Some(nothing_seen()),
        _ => scanner(scanner_word),
    }
}

fn scanner(seen: &Value) -> Option<Word> {
    let called = seen.get("classification")?.as_str()?.to_lowercase();
    let (word, score) = WORDS.into_iter().find(|(word, _)| *word == called)?;
    let flags = ["tor", "vpn", "bot"].into_iter();
    let flags = flags.filter(|flag| seen.get(*flag).and_then(Value::as_bool) == Some(true));
    Some(Word {
        score,
        stance: if word == BENIGN {
            Stance::Trusted
        } else {
            Stance::Rated
        },
        categories: flags.chain([word]).map(str::to_owned).collect(),
        observed: seen.get("last_seen").and_then(moment),
    })
}

fn trusted(updated: Option<&Value>) -> Word {
    Word {
        score: 0,
        stance: Stance::Trusted,
        categories: vec!["whitelisted".to_owned()],
        observed: updated.and_then(moment),
    }
}

fn nothing_seen() -> Word {
    Word {
        score: 0,
        stance: Stance::Rated,
        categories: Vec::new(),
        observed: None,
    }
}

fn detail(status: StatusCode, body: Option<&Value>) -> String {
    let said = |field: &str| Some(plain(body?.get(field)?.as_str()?, DETAIL));
    let said: Vec<_> = ["message", "rate-limit"]
        .into_iter()
        .filter_map(said)
        .collect();
    if said.is_empty() {
        status.to_string()
    } else {
        format!("{status}: {}", said.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;
    use hyper::body::Bytes;

    use super::*;

    fn answer(api: GreyNoiseApi, status: u16, body: &str) -> Outcome {
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        };
        read(api, &answer)
    }

    fn community(status: u16, body: &str) -> Outcome {
        answer(GreyNoiseApi::Community, status, body)
    }

    fn score_and_names(outcome: Outcome) -> (u8, Vec<String>) {
        match outcome {
            Outcome::Said(word) => (word.score, word.categories),
            other => panic!("{other:?}"),
        }
    }

    fn stance(outcome: Outcome) -> Stance {
        match outcome {
            Outcome::Said(word) => word.stance,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_vouches_for_good_scanners_and_common_services_and_for_nobody_else() {
        let body = |called: &str| MALICIOUS.replacen("malicious", called, 1);
        for (body, expected) in [
            (body("benign"), Stance::Trusted),
            (body("unknown"), Stance::Rated),
            (body("malicious"), Stance::Rated),
            (
                MALICIOUS.replace("\"riot\":false", "\"riot\":true"),
                Stance::Trusted,
            ),
            (
                MALICIOUS.replace("\"noise\":true", "\"noise\":false"),
                Stance::Rated,
            ),
        ] {
            assert_eq!(stance(community(200, &body)), expected, "{body}");
        }
        for (level, expected) in [("1", Stance::Trusted), ("2", Stance::Rated)] {
            let level = format!("\"trust_level\":\"{level}\"");
            let body = SUSPICIOUS.replace("\"trust_level\":\"\"", &level);
            assert_eq!(stance(answer(GreyNoiseApi::V3, 200, &body)), expected);
        }
    }

    const MALICIOUS: &str = r#"{"ip":"203.0.113.45","noise":true,"riot":false,
        "classification":"malicious","name":"unknown","last_seen":"2026-11-21","message":"Success"}"#;
    const SUSPICIOUS: &str = r#"{"ip":"203.0.113.45",
        "business_service_intelligence":{"found":false,"trust_level":""},
        "internet_scanner_intelligence":{"found":true,"classification":"suspicious",
        "last_seen":"2026-11-21","bot":false,"tor":true,"vpn":false,"cves":[],
        "tags":[{"slug":"web-scanner"}]},"request_metadata":{"restricted_fields":[]}}"#;

    #[test]
    fn the_community_answer_becomes_a_score() {
        let Outcome::Said(word) = community(200, MALICIOUS) else {
            panic!("no word");
        };
        assert_eq!(
            (word.score, word.categories),
            (90, vec!["malicious".to_owned()])
        );
        assert_eq!(word.observed, Some(UnixSeconds(1_795_219_200)));
        for (called, score) in [("unknown", 30), ("benign", 0), ("suspicious", 60)] {
            let body = MALICIOUS.replacen("malicious", called, 1);
            assert_eq!(score_and_names(community(200, &body)).0, score, "{called}");
        }
    }

    #[test]
    fn a_common_business_service_is_trusted_whatever_it_scans() {
        let body = MALICIOUS.replace("\"riot\":false", "\"riot\":true");
        assert_eq!(
            score_and_names(community(200, &body)),
            (0, vec!["whitelisted".to_owned()])
        );
        let body = SUSPICIOUS.replace("\"trust_level\":\"\"", "\"trust_level\":\"1\"");
        let said = answer(GreyNoiseApi::V3, 200, &body);
        assert_eq!(score_and_names(said), (0, vec!["whitelisted".to_owned()]));
        let body = SUSPICIOUS.replace("\"trust_level\":\"\"", "\"trust_level\":\"2\"");
        assert_eq!(score_and_names(answer(GreyNoiseApi::V3, 200, &body)).0, 60);
    }

    #[test]
    fn the_subscribers_answer_becomes_a_score_whole_or_in_part() {
        for status in [200, 206] {
            let said = answer(GreyNoiseApi::V3, status, SUSPICIOUS);
            let names = vec!["tor".to_owned(), "suspicious".to_owned()];
            assert_eq!(score_and_names(said), (60, names));
        }
        let unseen = SUSPICIOUS
            .replace("\"found\":true", "\"found\":false")
            .replace("suspicious", "");
        assert_eq!(score_and_names(answer(GreyNoiseApi::V3, 200, &unseen)).0, 0);
    }

    #[test]
    fn an_address_that_was_never_seen_is_an_answer_and_a_lost_path_is_none() {
        let body =
            r#"{"ip":"198.51.100.9","noise":false,"riot":false,"message":"IP not observed"}"#;
        assert_eq!(score_and_names(community(404, body)), (0, Vec::new()));
        let seen = body.replace("\"noise\":false", "\"noise\":true");
        for lost in [
            "<html>",
            "{}",
            r#"{"message":"no Route matched with those values"}"#,
            r#"{"ip":"198.51.100.9","message":"not found"}"#,
            &seen,
        ] {
            for api in [GreyNoiseApi::Community, GreyNoiseApi::V3] {
                let outcome = answer(api, 404, lost);
                assert!(matches!(outcome, Outcome::Malformed(_)), "{lost}");
            }
        }
        let unseen = SUSPICIOUS.replace("\"found\":true", "\"found\":false");
        let unseen = unseen.replace("203.0.113.45", "198.51.100.9");
        assert_eq!(
            score_and_names(answer(GreyNoiseApi::V3, 404, &unseen)),
            (0, Vec::new())
        );
    }

    #[test]
    fn every_documented_status_has_its_outcome() {
        let limit = r#"{"plan":"unauthenticated","rate-limit":"100-lookups/day",
            "plan_url":"https://greynoise.io/pricing","message":"You have hit your daily rate limit"}"#;
        assert_eq!(
            community(429, limit),
            Outcome::QuotaUsed(
                "429 Too Many Requests: You have hit your daily rate limit, 100-lookups/day"
                    .to_owned()
            )
        );
        let bad = r#"{"message":"Request is not a valid routable IPv4 address"}"#;
        assert!(matches!(community(400, bad), Outcome::BadQuestion(_)));
        for status in [401, 403] {
            let refused = answer(GreyNoiseApi::V3, status, r#"{"message":"Unauthorized"}"#);
            assert!(matches!(refused, Outcome::KeyRefused(_)));
        }
        let failed = community(500, r#"{"message":"internal error"}"#);
        assert!(matches!(failed, Outcome::Unavailable(_)));
        assert!(matches!(community(302, ""), Outcome::Malformed(_)));
    }

    #[test]
    fn rubbish_is_malformed_and_not_a_score() {
        for body in [
            "<html>",
            "",
            "null",
            "[]",
            r#"{"noise":true}"#,
            r#"{"noise":true,"classification":7}"#,
        ] {
            assert!(
                matches!(community(200, body), Outcome::Malformed(_)),
                "{body}"
            );
            assert!(
                matches!(answer(GreyNoiseApi::V3, 200, body), Outcome::Malformed(_)),
                "{body}"
            );
        }
    }
}
