//! The recipes of `docs/providers.md`, each with the answers that its source documents, and what else a
//! configuration can say.

use hyper::HeaderMap;
use hyper::body::Bytes;
use hyper::header::HeaderValue;

use super::*;
use crate::config::{Config, ProviderKind};

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!(
            "../../../../tests/fixtures/providers/",
            $name,
            ".json"
        ))
    };
}

const DOCUMENT: &str = include_str!("../../../../docs/providers.md");

/// The answers that the end-to-end tests replay too.
const FIXTURES: [(&str, &str); 5] = [
    ("virustotal", fixture!("virustotal")),
    ("ipqualityscore", fixture!("ipqualityscore")),
    ("otx", fixture!("otx")),
    ("crowdsec-cti", fixture!("crowdsec-cti")),
    ("internetdb", fixture!("internetdb")),
];

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

/// One whose score stands at `/score`, and `rest`.
fn shape_with(rest: &str) -> HttpJson {
    shape_of(&format!(
        "[[provider]]\nkind = \"http-json\"\nname = \"x\"\nurl = \"https://example.com/{{ip}}\"\n\
         score = \"/score\"\n{rest}"
    ))
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
fn every_recipe_reads_what_its_source_documents() {
    for (name, fixture) in FIXTURES {
        let (shape, fixture) = (
            recipe(name),
            serde_json::from_str::<Value>(fixture).unwrap(),
        );
        for case in fixture["answers"].as_array().unwrap() {
            let status = u16::try_from(case["status"].as_u64().unwrap()).unwrap();
            let text = || case["text"].as_str().unwrap_or_default().to_owned();
            let body = case.get("body").map_or_else(text, Value::to_string);
            let outcome = answer(&shape, status, &body);
            assert_eq!(
                outcome.name(),
                case["outcome"],
                "{name}: {case}: {outcome:?}"
            );
            let Outcome::Said(word) = outcome else {
                continue;
            };
            assert_eq!(word.score, case["score"], "{name}: {case}");
            assert_eq!(
                serde_json::json!(word.categories),
                case["categories"],
                "{name}: {case}"
            );
            let is_trusted = word.stance == Stance::Trusted;
            assert_eq!(is_trusted, case["trusted"] == true, "{name}: {case}");
            if let Some(observed) = case.get("observed") {
                assert_eq!(word.observed.unwrap().0, *observed, "{name}: {case}");
            }
        }
    }
}

#[test]
fn ipv6_goes_where_otx_keeps_it() {
    let about = recipe("otx").url.about("2001:db8::1".parse().unwrap());
    let url = about.unwrap().to_string();
    assert!(url.ends_with("/IPv6/2001%3Adb8%3A%3A1/general"), "{url}");
}

#[test]
fn what_is_not_found_is_clean_only_where_the_recipe_says_so_and_json_says_it() {
    let plain = shape_with("");
    outcomes(&plain, &[(404, r#"{"detail":"none"}"#, "malformed")]);
    let told = shape_with("statuses = { 404 = \"unknown\" }\n");
    outcomes(
        &told,
        &[
            (404, r#"{"detail":"none"}"#, "ok"),
            (404, "<html>Not Found</html>", "malformed"),
            (404, "", "malformed"),
            (404, "null", "malformed"),
            (404, "\"none\"", "malformed"),
        ],
    );
    let worded = shape_with("statuses = { 404 = \"unknown\" }\nmessage = \"/detail\"\n");
    outcomes(
        &worded,
        &[
            (404, r#"{"detail":"none"}"#, "ok"),
            (404, r#"{"message":"no Route matched"}"#, "malformed"),
            (404, r#"{"detail":{}}"#, "malformed"),
            (404, "{}", "malformed"),
        ],
    );
}

#[test]
fn things_in_a_list_are_counted_where_the_recipe_says_so() {
    let counted = shape_with("counted = true\nhundred = 4\n");
    for (list, score) in [("[]", 0), ("[1,null,\"x\"]", 75), ("[1,2,3,4,5]", 100)] {
        assert_eq!(
            said(answer(&counted, 200, &format!("{{\"score\":{list}}}"))).0,
            score
        );
    }
    for body in [
        r#"{"score":3}"#,
        r#"{"score":{"a":1}}"#,
        r#"{"score":null}"#,
    ] {
        outcomes(&counted, &[(200, body, "malformed")]);
    }
    outcomes(&shape_with(""), &[(200, r#"{"score":[1,2]}"#, "malformed")]);
}

#[test]
fn a_text_that_stands_for_nothing_is_nothing_at_every_place() {
    let rest = "absent = [\"Premium required.\"]\nscore_optional = true\n\
                categories = [\"/kind\"]\nharmless = [\"/good\"]\nobserved = \"/seen\"\n";
    let nothing = r#"{"score":"Premium required.","kind":"Premium required.",
        "good":"Premium required.","seen":"Premium required."}"#;
    assert_eq!(
        said(answer(&shape_with(rest), 200, nothing)),
        (0, Vec::new())
    );
    let something = nothing.replace("required", "granted");
    outcomes(&shape_with(rest), &[(200, &something, "malformed")]);
}

#[test]
fn a_source_vouches_only_by_what_the_recipe_trusts() {
    let rest = "trusted = [\"/known\"]\nharmless = [\"/cdn\"]\n";
    for (body, score, stance) in [
        (r#"{"score":70}"#, 70, Stance::Rated),
        (r#"{"score":70,"known":false,"cdn":[]}"#, 70, Stance::Rated),
        (r#"{"score":70,"cdn":true}"#, 0, Stance::Rated),
        (r#"{"score":70,"known":["crawler"]}"#, 0, Stance::Trusted),
    ] {
        let Outcome::Said(word) = answer(&shape_with(rest), 200, body) else {
            panic!("no word: {body}");
        };
        assert_eq!((word.score, word.stance), (score, stance), "{body}");
    }
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
    let shape = shape_with(
        "limit_header = \"x-limit\"\nremaining_header = \"X-Left\"\n\
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
    let shape = shape_with(
        "headers = { Authorization = \"Bearer secret:x\", accept-language = \"en\" }\n\
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
