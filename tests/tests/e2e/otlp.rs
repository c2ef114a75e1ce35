//! The sidecar's log as a collector gets it by OTLP.

use kit::inbox::{Inbox, Posted};
use kit::{Request, Sidecar};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;
use serde_json::Value;

use crate::common::LIMIT;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// The records of everything that was posted.
fn records(posted: &[Posted]) -> Vec<LogRecord> {
    let mut records = Vec::new();
    for one in posted {
        assert_eq!(one.path, "/v1/logs");
        assert_eq!(one.header("content-type"), Some("application/x-protobuf"));
        let request = ExportLogsServiceRequest::decode(one.body.as_slice()).unwrap();
        for resource in request.resource_logs {
            let named = resource.resource.unwrap().attributes;
            let service = named.iter().find(|one| one.key == "service.name").unwrap();
            let name = service.value.clone().unwrap().value.unwrap();
            assert_eq!(name, Any::StringValue("portcullis".to_owned()));
            let scopes = resource.scope_logs.into_iter();
            records.extend(scopes.flat_map(|scope| scope.log_records));
        }
    }
    records
}

fn message(record: &LogRecord) -> String {
    match record.body.clone().unwrap().value.unwrap() {
        Any::StringValue(text) => text,
        other => panic!("{other:?}"),
    }
}

fn attribute(record: &LogRecord, name: &str) -> Option<Any> {
    let found = record.attributes.iter().find(|one| one.key == name)?;
    found.value.clone()?.value
}

#[tokio::test]
async fn each_line_of_the_log_is_a_record_and_nothing_is_lost_at_the_end() {
    let inbox = Inbox::start().await.unwrap();
    let otlp = format!("[otlp]\nendpoint = \"http://{}\"", inbox.address());
    let mut sidecar = Sidecar::builder()
        .unwrap()
        .toml(&otlp)
        .start()
        .await
        .unwrap();
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let asked = Request::get("/v1/decisions").header("traceparent", parent);
    assert_eq!(sidecar.ask_admin(asked).await.unwrap().status, 200);
    let text = "quotes \" and\nlines";
    let body = serde_json::json!({"cidr": "203.0.113.9/32", "kind": "ban", "reason": text});
    let ban = Request::post("/v1/decisions", body.to_string().into_bytes());
    let ban = ban.header("content-type", "application/json");
    let _answer = sidecar.ask_admin(ban).await.unwrap();
    assert!(sidecar.terminate());
    let parse = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    let lines: Vec<_> = sidecar.log().lines().map(parse).collect();
    let complete = kit::eventually(LIMIT, || records(&inbox.posted()).len() >= lines.len());
    assert!(
        complete.await,
        "{} of {}",
        records(&inbox.posted()).len(),
        lines.len()
    );
    let mut sent: Vec<_> = records(&inbox.posted()).iter().map(message).collect();
    let said = lines
        .iter()
        .map(|line| line["message"].as_str().unwrap().to_owned());
    let mut said: Vec<_> = said.collect();
    sent.sort();
    said.sort();
    assert_eq!(sent, said);
    let all = records(&inbox.posted());
    let traced = all
        .iter()
        .find(|record| attribute(record, "trace_id").is_some());
    let traced = traced.unwrap();
    let hex: String = traced
        .trace_id
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(hex, TRACE);
    assert_eq!(
        (traced.severity_text.as_str(), traced.severity_number),
        ("info", 9)
    );
    assert_eq!(attribute(traced, "status"), Some(Any::IntValue(200)));
}

#[tokio::test]
async fn a_collector_that_is_away_costs_the_sidecar_nothing() {
    let toml = "[otlp]\nendpoint = \"http://127.0.0.1:1\"";
    let mut sidecar = Sidecar::builder()
        .unwrap()
        .toml(toml)
        .start()
        .await
        .unwrap();
    let answer = sidecar.ask_admin(Request::get("/v1/decisions")).await;
    assert_eq!(answer.unwrap().status, 200);
    assert!(sidecar.terminate(), "{}", sidecar.log());
}
