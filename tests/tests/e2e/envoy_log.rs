//! Envoy's own log: JSON, line by line, also what the plugin says in it.

use serde_json::{Value, json};

use crate::common::RawEdge;

#[tokio::test]
async fn every_line_of_envoys_log_is_json_also_those_of_the_plugin() {
    let edge = RawEdge::start().await;
    let quoted = json!({"mode": "may\"be\n"});
    let text = edge
        .envoy
        .plugin_file()
        .replace(r#""enforce""#, &quoted["mode"].to_string());
    edge.envoy.push_plugin_file(&text).unwrap();
    let of_plugin = |line: &&Value| {
        let message = line["message"].as_str().unwrap_or_default();
        message.contains("wasm log") && message.contains("mode: \"may")
    };
    let lines = || -> Vec<Value> {
        let log = edge.envoy.log();
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        log.lines().map(parse).collect()
    };
    let written = kit::eventually(crate::common::LIMIT, || {
        lines().iter().any(|l| of_plugin(&l))
    });
    assert!(written.await, "{}", edge.envoy.log());
    for line in lines() {
        for field in ["time", "level", "logger", "thread", "message"] {
            assert!(line[field].is_string(), "{field}: {line}");
        }
    }
    let lines = lines();
    let refused = lines.iter().find(of_plugin).unwrap();
    assert_eq!(
        (&refused["level"], &refused["logger"]),
        (&json!("error"), &json!("wasm"))
    );
}
