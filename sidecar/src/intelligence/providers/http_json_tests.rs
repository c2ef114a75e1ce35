//! The recipes of `docs/providers.md`, each with the answers that its source documents.

use hyper::HeaderMap;
use hyper::body::Bytes;
use hyper::header::HeaderValue;

use super::*;
use crate::config::{Config, ProviderKind};

const DOCUMENT: &str = include_str!("../../../../docs/providers.md");

fn blocks() -> impl Iterator<Item = &'static str> {
    let after = DOCUMENT.split("```toml\n").skip(1);
    after.filter_map(|text| text.split("```").next())
}

fn shape_of(toml: &str) -> HttpJson {
    let config = Config::parse(toml, std::iter::empty());
    let config = config.unwrap_or_else(|faults| panic!("{faults}\n{toml}"));
    match &config.providers[0].kind {
        ProviderKind::HttpJson(shape) => shape.as_ref().clone(),
        other => panic!("{other:?}"),
    }
}

fn recipe(name: &str) -> HttpJson {
    let line = format!("name = \"{name}\"\n");
    shape_of(blocks().find(|block| block.contains(&line)).unwrap())
}

fn answer(shape: &HttpJson, status: u16, body: &str) -> Outcome {
    answer_with(shape, status, HeaderMap::new(), body).outcome
}

fn answer_with(shape: &HttpJson, status: u16, headers: HeaderMap, body: &str) -> Reply {
    let answer = Answer {
        status: StatusCode::from_u16(status).unwrap(),
        headers,
        body: Bytes::copy_from_slice(body.as_bytes()),
    };
    shape.reply(&answer, UnixSeconds(1_795_300_000))
}

#[track_caller]
fn said(outcome: Outcome) -> (u8, Vec<String>) {
    match outcome {
        Outcome::Said(word) => (word.score, word.categories),
        other => panic!("{other:?}"),
    }
}

/// Each status or error, and the outcome's name.
#[track_caller]
fn outcomes(shape: &HttpJson, all: &[(u16, &str, &str)]) {
    for (status, body, expected) in all {
        let outcome = answer(shape, *status, body);
        assert_eq!(outcome.name(), *expected, "{status} {body}: {outcome:?}");
    }
}

#[test]
fn every_block_of_the_document_is_a_good_configuration() {
    for block in blocks() {
        let config = Config::parse(block, std::iter::empty());
        assert!(config.is_ok(), "{}\n{block}", config.unwrap_err());
    }
    assert!(blocks().count() >= 8);
}

#[test]
fn every_key_stands_in_the_document() {
    let stranger = "[[provider]]\nkind = \"http-json\"\nzzzzzzzz = 1\n";
    let faults = Config::parse(stranger, std::iter::empty()).unwrap_err();
    let keys = faults
        .iter()
        .find_map(|fault| fault.message.split_once("the keys are "));
    let general = include_str!("../../../../docs/sidecar.md");
    for key in keys.unwrap().1.split(", ") {
        let named = format!("`provider.{key}`");
        let known = DOCUMENT.contains(&named) || general.contains(&named);
        assert!(known, "{named} is in no document");
    }
}

#[test]
fn virustotal() {
    let shape = recipe("virustotal");
    let known = r#"{"data":{"id":"203.0.113.45","type":"ip_address","attributes":{"asn":64500,
        "last_analysis_date":1795200000,"last_analysis_stats":{"harmless":58,"malicious":9,
        "suspicious":2,"undetected":25,"timeout":0},"reputation":-12,"tags":["tor"]}}}"#;
    assert_eq!(
        said(answer(&shape, 200, known)),
        (90, vec!["tor".to_owned()])
    );
    let little = r#"{"data":{"id":"198.51.100.9","type":"ip_address","attributes":{}}}"#;
    assert_eq!(said(answer(&shape, 200, little)).0, 0);
    let error = |code: &str| format!(r#"{{"error":{{"code":"{code}","message":"x"}}}}"#);
    outcomes(
        &shape,
        &[
            (400, &error("BadRequestError"), "bad_question"),
            (400, &error("InvalidArgumentError"), "bad_question"),
            (401, &error("WrongCredentialsError"), "key_refused"),
            (401, &error("UserNotActiveError"), "key_refused"),
            (403, &error("ForbiddenError"), "key_refused"),
            (404, &error("NotFoundError"), "ok"),
            (409, &error("AlreadyExistsError"), "unavailable"),
            (424, &error("FailedDependencyError"), "unavailable"),
            (429, &error("QuotaExceededError"), "quota"),
            (429, &error("TooManyRequestsError"), "quota"),
            (503, &error("TransientError"), "unavailable"),
            (504, &error("DeadlineExceededError"), "unavailable"),
        ],
    );
    let limited = answer_with(&shape, 429, HeaderMap::new(), "{}").limits;
    assert_eq!(limited.retry_after, Some(Duration::from_secs(60)));
}

#[test]
fn ipqualityscore() {
    let shape = recipe("ipqualityscore");
    let known = r#"{"success":true,"message":"Success","fraud_score":88.4,"proxy":true,"vpn":true,
        "tor":false,"recent_abuse":true,"connection_type":"Premium required.","abuse_velocity":"N/A"}"#;
    let names = ["vpn", "proxy", "recent_abuse"].map(str::to_owned);
    assert_eq!(said(answer(&shape, 200, known)), (88, names.to_vec()));
    let failed = |message: &str| format!(r#"{{"success":false,"message":"{message}"}}"#);
    outcomes(
        &shape,
        &[
            (
                200,
                &failed("You have insufficient credits to make this query."),
                "quota",
            ),
            (
                200,
                &failed("You have exceeded your request quota of 35 per day."),
                "quota",
            ),
            (200, &failed("Invalid or unauthorized key."), "key_refused"),
            (
                200,
                &failed("Invalid IPv4 address, IPv6 address or hostname."),
                "bad_question",
            ),
            (200, &failed("Something new."), "unavailable"),
            (429, "", "quota"),
            (500, "<html>", "unavailable"),
        ],
    );
}

#[test]
fn alienvault_otx() {
    let shape = recipe("otx");
    let known = r#"{"indicator":"203.0.113.45","type":"IPv4","reputation":0,"asn":"AS64500 EXAMPLE",
        "base_indicator":{},"pulse_info":{"count":25,"pulses":[]},"false_positive":[],"validation":[]}"#;
    assert_eq!(said(answer(&shape, 200, known)).0, 50);
    let listed = r#""validation":[{"source":"majestic","message":"Whitelisted","name":"x"}]"#;
    let validated = known.replace(r#""validation":[]"#, listed);
    assert_eq!(
        said(answer(&shape, 200, &validated)),
        (0, vec!["whitelisted".to_owned()])
    );
    outcomes(
        &shape,
        &[
            (400, r#"{"detail":"bad"}"#, "bad_question"),
            (
                403,
                r#"{"detail":"Authentication required"}"#,
                "key_refused",
            ),
            (404, r#"{"detail":"endpoint not found"}"#, "ok"),
            (429, "{}", "quota"),
            (301, "", "malformed"),
            (502, "<html>", "unavailable"),
        ],
    );
    let v6 = shape
        .url
        .about("2001:db8::1".parse().unwrap())
        .unwrap()
        .to_string();
    assert!(v6.ends_with("/IPv6/2001%3Adb8%3A%3A1/general"), "{v6}");
}

#[test]
fn crowdsec_cti() {
    let shape = recipe("crowdsec-cti");
    let known = r#"{"ip":"203.0.113.45","reputation":"malicious","confidence":"high",
        "ip_range":null,"behaviors":[{"name":"http:scan","label":"HTTP Scan"}],
        "history":{"last_seen":"2026-11-21T20:15:00+00:00"},
        "classifications":{"false_positives":[],"classifications":[]}}"#;
    let Outcome::Said(word) = answer(&shape, 200, known) else {
        panic!("no word");
    };
    assert_eq!(
        (word.score, word.categories),
        (90, vec!["malicious".to_owned(), "http-scan".to_owned()])
    );
    assert_eq!(word.observed, Some(UnixSeconds(1_795_292_100)));
    let cleared = known.replace(
        "\"false_positives\":[]",
        "\"false_positives\":[{\"name\":\"cdn\"}]",
    );
    assert_eq!(said(answer(&shape, 200, &cleared)).0, 0);
    let new_word = known.replace("\"malicious\"", "\"dreadful\"");
    outcomes(
        &shape,
        &[
            (403, r#"{"message":"Forbidden"}"#, "key_refused"),
            (
                404,
                r#"{"message":"IP address information not found"}"#,
                "ok",
            ),
            (429, r#"{"message":"Limit Exceeded"}"#, "quota"),
            (500, "", "unavailable"),
            (200, &new_word, "malformed"),
        ],
    );
}

#[test]
fn shodan_internetdb() {
    let shape = recipe("internetdb");
    let known = r#"{"ip":"203.0.113.45","ports":[22,80,443],"hostnames":[],"tags":["cloud","vpn"],"vulns":[]}"#;
    let names = vec!["cloud".to_owned(), "vpn".to_owned()];
    assert_eq!(said(answer(&shape, 200, known)), (40, names));
    assert_eq!(said(answer(&shape, 200, r#"{"tags":[]}"#)).0, 0);
    outcomes(
        &shape,
        &[
            (404, r#"{"detail":"No information available"}"#, "ok"),
            (422, r#"{"detail":[{"msg":"bad"}]}"#, "bad_question"),
            (429, "", "quota"),
            (200, r#"{"tags":null}"#, "malformed"),
        ],
    );
}

#[test]
fn rubbish_from_any_source_is_malformed_and_not_a_score() {
    for name in ["ipqualityscore", "crowdsec-cti", "internetdb"] {
        let shape = recipe(name);
        for body in [
            "<html>maintenance</html>",
            "",
            "[]",
            "null",
            r#"{"fraud_sc"#,
            r#"{"fraud_score":null,"reputation":null,"tags":null}"#,
            r#"{"fraud_score":[],"reputation":{},"tags":7}"#,
            r#"{"fraud_score":true,"reputation":1,"tags":{}}"#,
            r#"{"fraud_score":"NaN"}"#,
        ] {
            assert_eq!(
                answer(&shape, 200, body).name(),
                "malformed",
                "{name} {body}"
            );
        }
        assert_eq!(answer(&shape, 302, "").name(), "malformed");
    }
}

#[test]
fn a_number_beyond_the_scale_is_cut_off() {
    let shape = recipe("ipqualityscore");
    for (score, expected) in [("1e308", 100), ("-5", 0), ("\"75\"", 75), ("99.6", 100)] {
        let body = format!(r#"{{"success":true,"fraud_score":{score}}}"#);
        assert_eq!(said(answer(&shape, 200, &body)).0, expected, "{score}");
    }
}

#[test]
fn limits_are_read_from_the_headers_that_are_named() {
    let shape = shape_of(
        "[[provider]]\nkind = \"http-json\"\nname = \"x\"\nurl = \"https://example.com/{ip}\"\n\
         score = \"/score\"\nlimit_header = \"x-limit\"\nremaining_header = \"X-Left\"\n\
         reset_header = \"x-reset\"\nlimit_window = \"1d\"\n",
    );
    let mut headers = HeaderMap::new();
    headers.insert("x-limit", HeaderValue::from_static("200"));
    headers.insert("x-left", HeaderValue::from_static("7"));
    headers.insert("x-reset", HeaderValue::from_static("60"));
    let limits = answer_with(&shape, 429, headers, "").limits;
    assert_eq!((limits.of_day(), limits.left_today()), (Some(200), Some(7)));
    assert_eq!(limits.reset, Some(UnixSeconds(1_795_300_060)));
}

#[test]
fn a_key_goes_into_its_header_and_nowhere_else() {
    let shape = shape_of(
        "[[provider]]\nkind = \"http-json\"\nname = \"x\"\nurl = \"https://example.com/{ip}\"\n\
         score = \"/score\"\nheaders = { Authorization = \"Bearer secret:x\", accept-language = \"en\" }\n\
         [secret.x]\nfrom = \"env\"\nname = \"X\"\n",
    );
    let source = Described {
        shape: shape.clone(),
        timeout: Duration::from_secs(1),
        http: HttpClient::new(),
    };
    let name = shape.secrets().next().unwrap().clone();
    let keys: Keys = [(name, "canary-value".to_owned().into())]
        .into_iter()
        .collect();
    let get = source
        .question("203.0.113.7".parse().unwrap(), &keys)
        .unwrap();
    assert_eq!(get.headers["authorization"], "Bearer canary-value");
    assert_eq!(get.headers["accept-language"], "en");
    let shown = format!("{get:?} {keys:?}");
    assert!(!shown.contains("canary-value"), "{shown}");
}

#[test]
fn every_fault_says_where_it_is_and_what_to_write() {
    let good = "[[provider]]\nkind = \"http-json\"\nname = \"x\"\nurl = \"https://example.com/{ip}\"\nscore = \"/score\"\n";
    for (was, is, expected) in [
        ("/{ip}", "/", "`provider[0].url` at line 4"),
        (
            "https://example.com/{ip}",
            "https://{ip}/x",
            "`provider[0].url` at line 4",
        ),
        (
            "\"/score\"",
            "\"score\"",
            "`provider[0].score` at line 5: \"score\" is not a JSON pointer",
        ),
        (
            "score =",
            "skore =",
            "`provider[0].score` at line 1: is missing",
        ),
        (
            "kind",
            "zero = 5\nhundred = 5\nkind",
            "`provider[0].hundred` at line 3: must be more",
        ),
        (
            "kind",
            "failed = \"/x\"\nkind",
            "`provider[0].failed_is` at line 1: is missing",
        ),
        (
            "kind",
            "statuses = { 404 = \"gone\" }\nkind",
            "`provider[0].statuses.404` at line 2",
        ),
        (
            "kind",
            "headers = { a = \"secret:no\" }\nkind",
            "`provider[0].headers.a` at line 2: there is no secret no",
        ),
        (
            "kind",
            "key = \"secret:no\"\nkind",
            "`provider[0].key` at line 2: stands in a header here",
        ),
    ] {
        let text = good.replacen(was, is, 1);
        let faults = Config::parse(&text, std::iter::empty())
            .unwrap_err()
            .to_string();
        assert!(faults.contains(expected), "{faults}\n{text}");
    }
}
