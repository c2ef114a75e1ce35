//! The logs of both sides: their fields, whom they name, what a hostile client can do to them.

use std::collections::BTreeSet;
use std::time::Duration;

use kit::abuseipdb::{AbuseIpDb, KEY};
use kit::{Collector, Envoy, Request};
use serde_json::{Value, json};

use crate::common::{Edge, LIMIT, RawEdge, sidecar_that_blocks, until_metric};

const BAD: &str = "8.8.4.4";
const GOOD: &str = "8.8.8.8";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const DOCUMENT: &str = "docs/logs.md";

/// The fields that the document has for one side, by the column's place in the table.
fn documented(column: usize) -> BTreeSet<String> {
    let page = std::fs::read_to_string(kit::parts::in_checkout(DOCUMENT)).unwrap();
    let (_, fields) = page.split_once("## Fields").unwrap();
    let (fields, _) = fields.split_once("## Addresses").unwrap();
    let rows = fields.lines().filter(|line| line.starts_with("| `"));
    let of_side = rows.filter(|row| row.split('|').nth(column).unwrap().trim() == "yes");
    let names = of_side.flat_map(|row| row.split('|').nth(1).unwrap().split(','));
    names
        .map(|name| name.trim().trim_matches('`').to_owned())
        .collect()
}

/// The text's lines, each of which must be one JSON object.
fn records(text: &str) -> Vec<Value> {
    let parse = |line: &str| {
        let record = serde_json::from_str::<Value>(line);
        record.unwrap_or_else(|error| panic!("{error}: {line}"))
    };
    let records: Vec<_> = text.lines().map(parse).collect();
    assert!(records.iter().all(Value::is_object));
    records
}

fn fields(record: &Value) -> BTreeSet<String> {
    record.as_object().unwrap().keys().cloned().collect()
}

/// The whole access log, once `complete` says that what is awaited stands in it.
async fn access_log(envoy: &Envoy, complete: impl Fn(&str) -> bool) -> Vec<Value> {
    let text = || std::fs::read_to_string(envoy.access_log_file()).unwrap_or_default();
    let there = kit::eventually(LIMIT, || complete(&text()));
    assert!(there.await, "{}", text());
    records(&text())
}

#[tokio::test]
async fn both_sides_use_the_documented_names_and_name_nobody_who_passes() {
    let abuseipdb = AbuseIpDb::start().await.unwrap();
    abuseipdb.knows(BAD, 100);
    let sidecar = sidecar_that_blocks(&[])
        .toml(&abuseipdb.toml())
        .toml("[log]\nlevel = \"debug\"")
        .env("ABUSEIPDB_KEY", KEY);
    let hold = json!({"unknown": "hold", "hold_ms": 2000});
    let edge = Edge::start_with(sidecar, |envoy| envoy.plugin(hold).unwrap()).await;
    let mut ids = Vec::new();
    for client in [BAD, GOOD] {
        let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
        let request = Request::get("/")
            .from_client(client)
            .header("traceparent", parent);
        let answer = edge.envoy.send(&request).await.unwrap();
        ids.push(answer.header("x-request-id").unwrap());
    }
    let both = |log: &str| ids.iter().all(|id| log.contains(id));
    let lines = access_log(&edge.envoy, both).await;
    let of = |id: &str| lines.iter().find(|line| line["request_id"] == id).unwrap();
    let (refused, passed) = (of(&ids[0]), of(&ids[1]));
    for line in [refused, passed] {
        let mut expected = documented(2);
        if line.get("network").is_none() {
            // This Envoy knows no masks.
            expected.retain(|field| !field.ends_with("network"));
        }
        assert_eq!(fields(line), expected);
        assert!(
            line["traceparent"].as_str().unwrap().contains(TRACE),
            "{line}"
        );
    }
    assert_eq!(
        (&refused["client"], &refused["verdict"]),
        (&json!(BAD), &json!("deny"))
    );
    assert_eq!(
        (&passed["client"], &passed["verdict"]),
        (&Value::Null, &Value::Null)
    );
    if passed.get("network").is_some() {
        assert_eq!(passed["network"], "8.8.8.0/24");
    }
    assert!(!passed.to_string().contains(GOOD), "{passed}");

    let verdicts = |id: &str| -> Vec<Value> {
        let lines = records(&edge.sidecar.log()).into_iter();
        lines
            .filter(|line| line["request_id"] == id && line["message"] == "verdict")
            .collect()
    };
    let there = kit::eventually(LIMIT, || ids.iter().all(|id| !verdicts(id).is_empty()));
    assert!(there.await, "{}", edge.sidecar.log());
    let (of_refused, of_passed) = (&verdicts(&ids[0])[0], &verdicts(&ids[1])[0]);
    assert_eq!(
        (&of_refused["client"], &of_refused["trace_id"]),
        (&json!(BAD), &json!(TRACE))
    );
    assert_eq!(of_refused["verdict"], refused["verdict"]);
    assert_eq!(of_refused["reason"], refused["reason"]);
    assert_eq!(of_passed["network"], "8.8.8.0/24");
    let of_requests = |line: &Value| line["request_id"].is_string();
    let log = records(&edge.sidecar.log());
    let about_requests = log.iter().filter(|line| of_requests(line));
    let used: BTreeSet<_> = about_requests.flat_map(fields).collect();
    assert!(used.is_subset(&documented(3)), "{used:?}");
    assert!(!edge.sidecar.log().contains(GOOD), "{}", edge.sidecar.log());
    for asked in abuseipdb.requests() {
        for private in ["traceparent", "x-request-id", "tracestate"] {
            assert_eq!(asked.header(private), None, "a provider is told {private}");
        }
    }
}

#[tokio::test]
async fn whatever_a_client_sends_a_request_is_one_line_of_json() {
    let edge = RawEdge::start().await;
    let hostile: [&[u8]; 5] = [
        b"\"}{\"verdict\":\"allow\"",
        b"back\\slash\\n\\u0000\\",
        b"\xff\xfe\x80 no UTF-8 \xc3\x28",
        b"tab\there \x7f",
        "\u{2028}\u{202e}\u{feff}".as_bytes(),
    ];
    let paths = ["/%0a%0d%22%7d", "/\"quoted\"", "/a?b=%ff%00"];
    let mut sent = 0;
    for value in hostile {
        for path in paths {
            let request = Request::get(path).from_client(GOOD);
            let request = request
                .header("user-agent", value)
                .header("traceparent", value);
            // Envoy refuses some of them itself, and logs that too.
            let _answer = edge.envoy.send(&request).await;
            sent += 1;
        }
    }
    let marker = Request::get("/marker").from_client(GOOD);
    edge.envoy.send(&marker).await.unwrap();
    let all = |log: &str| log.contains("/marker") && log.lines().count() > sent;
    let lines = access_log(&edge.envoy, all).await;
    assert_eq!(lines.len(), sent + 1);
    assert!(lines.iter().all(|line| line["verdict"] != "allow"));
    // A look-up of a hostile request carries nothing of that.
    let asked = edge.sidecar.asked("/v1/verdict");
    assert!(
        asked
            .iter()
            .all(|asked| asked.header("traceparent").is_none())
    );
}

#[tokio::test]
async fn a_flood_of_refusals_is_logged_in_part_and_no_refusal_is_lost_from_the_count() {
    const FLOOD: usize = 200;
    let banned = "198.51.100.7";
    let few = json!({"limits": {"logged": 5}});
    let sidecar = sidecar_that_blocks(&[banned]);
    let edge = Edge::start_with(sidecar, |envoy| envoy.plugin(few).unwrap()).await;
    let mut connection = edge.envoy.connect().await.unwrap();
    let request = Request::get("/").from_client(banned);
    for _ in 0..FLOOD {
        assert_eq!(connection.send(&request).await.unwrap().status, 403);
    }
    // Lines are dealt out by the second: in the next one there is one, and it says what was left out.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(connection.send(&request).await.unwrap().status, 403);
    let sent = FLOOD + 1;
    let told = || {
        let lines = edge.envoy.access_log().into_iter();
        let of_flood: Vec<_> = lines.filter(|line| line["client"] == banned).collect();
        let left_out = |line: &Value| line["left_out"].as_str()?.parse::<usize>().ok();
        let left_out: usize = of_flood.iter().filter_map(left_out).sum();
        (of_flood.len(), left_out)
    };
    let complete = kit::eventually(LIMIT, || told().0 + told().1 >= sent);
    assert!(complete.await, "{:?} of {sent}", told());
    let (written, left_out) = told();
    assert_eq!(written + left_out, sent);
    assert!(written < FLOOD, "{written} lines, {left_out} left out");
    let denied = ["action=\"deny\"", "mode=\"enforce\""];
    let counted = until_metric(
        &edge.envoy,
        "portcullis_verdicts_total",
        &denied,
        f64::from(u32::try_from(sent).unwrap()),
    );
    assert!(counted.await);
}

#[tokio::test]
async fn a_real_collector_makes_one_record_of_each_line() {
    let banned = "198.51.100.7";
    let edge = Edge::start(sidecar_that_blocks(&[banned])).await;
    for value in ["plain", "\"}\n{\"", "\u{2028}"] {
        for client in [banned, GOOD] {
            let request = Request::get("/a%0ab").from_client(client);
            let request = request.header("user-agent", value.replace('\n', "\\n"));
            edge.envoy.send(&request).await.unwrap();
        }
    }
    edge.cli(&["ban", "203.0.113.9"]).await;
    let sidecar = edge.sidecar.folder().join("sidecar.err");
    let page = std::fs::read_to_string(kit::parts::in_checkout(DOCUMENT)).unwrap();
    let files = [edge.envoy.access_log_file(), sidecar];
    let collector = Collector::start(&page, [&files[0], &files[1]])
        .await
        .unwrap();
    let lines = || -> Vec<String> {
        let texts = files
            .iter()
            .map(|file| std::fs::read_to_string(file).unwrap());
        texts
            .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect()
    };
    let bodies = || -> Vec<String> {
        let records = collector.records().into_iter();
        let body = |record: Value| record["body"]["stringValue"].as_str().map(str::to_owned);
        records.filter_map(body).collect()
    };
    let all = kit::eventually(LIMIT, || {
        let (mut lines, mut bodies) = (lines(), bodies());
        lines.sort();
        bodies.sort();
        lines.len() > 6 && lines == bodies
    });
    assert!(
        all.await,
        "{:?}\n{:?}\n{}",
        lines(),
        bodies(),
        collector.log()
    );
    let records = collector.records();
    let level = |text: &str| records.iter().find(|record| record["severityText"] == text);
    assert_eq!(level("info").unwrap()["severityNumber"], 9);
    assert!(records.iter().all(|record| record["timeUnixNano"] != "0"));
}
