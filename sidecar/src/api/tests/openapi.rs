//! The document at `/openapi.json` against the router, real answers and docs/sidecar.md.

use std::collections::{BTreeMap, BTreeSet};

use jsonschema::Validator;
use reputation::UnixSeconds;

use super::*;
use crate::api::admin::OPENAPI;
use crate::history::{AddressHistory, Cursor, Event, PastDecision, PastVerdict, Refusals, Totals};
use crate::intelligence::FeedStatus;

const GUIDE: &str = include_str!("../../../../docs/sidecar.md");
const METHODS: [&str; 4] = ["get", "post", "put", "delete"];

/// The methods of each path that the sidecar itself serves.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    let ours = paths.filter(|(path, _)| !path.starts_with("/reputation/"));
    let methods = |item: &Value| {
        let named = METHODS.iter().filter(|method| item.get(**method).is_some());
        named.map(|method| method.to_uppercase()).collect()
    };
    ours.map(|(path, item)| (path.clone(), methods(item)))
        .collect()
}

/// A schema of the document, which here forbids what it does not name.
fn validator(name: &str) -> Validator {
    let mut document: Value = serde_json::from_str(OPENAPI).unwrap();
    close(&mut document["components"]["schemas"]);
    document["$ref"] = format!("#/components/schemas/{name}").into();
    jsonschema::draft202012::new(&document).unwrap()
}

fn close(value: &mut Value) {
    if let Some(object) = value.as_object_mut() {
        object.values_mut().for_each(close);
        // Not where `properties` is itself the name of something.
        if object.contains_key("properties") && object.contains_key("required") {
            object.insert("additionalProperties".to_owned(), false.into());
        }
    } else if let Some(items) = value.as_array_mut() {
        items.iter_mut().for_each(close);
    }
}

#[tokio::test]
async fn the_document_has_the_methods_that_the_router_permits() {
    let sidecar = Running::start().await;
    for (path, methods) in documented() {
        let concrete = path
            .replace("{ip}", "203.0.113.7")
            .replace("{id}", "0d8a70cfa95060ac")
            .replace("{name}", "a")
            .replace("{digest}", "00");
        let request = format!(
            "PATCH {concrete} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer TOKEN\r\n\
             connection: close\r\n\r\n"
        );
        let edge = ["verdict", "manifest", "parts", "reputation", "refusals"];
        let is_edge = edge
            .iter()
            .any(|route| path.starts_with(&format!("/v1/{route}")));
        let answer = match is_edge {
            true => sidecar.edge_raw(&request).await,
            false => sidecar.admin_raw(request).await,
        };
        assert!(answer.starts_with("HTTP/1.1 405"), "{path}: {answer}");
        let (_, allow) = answer.split_once("allow: ").unwrap();
        let allow = allow.lines().next().unwrap().split(", ");
        let allow: BTreeSet<_> = allow
            .filter(|it| *it != "HEAD")
            .map(str::to_owned)
            .collect();
        assert_eq!(methods, allow, "{path}");
    }
    sidecar.stop().await;
}

#[test]
fn the_document_and_the_guide_name_the_same_requests() {
    let mut guide = BTreeMap::<String, BTreeSet<String>>::new();
    for (_, rest) in GUIDE
        .match_indices('`')
        .map(|(at, _)| GUIDE.split_at(at + 1))
    {
        let Some((method, rest)) = rest.split_once(' ') else {
            continue;
        };
        let is_method = METHODS.contains(&method.to_lowercase().as_str());
        if is_method && (rest.starts_with("/v1/") || rest.starts_with("/openapi.json")) {
            let path = rest.split(['`', '?', '\n']).next().unwrap();
            let methods = guide.entry(path.to_owned()).or_default();
            methods.insert(method.to_owned());
        }
    }
    assert_eq!(guide, documented());
}

/// With everything in it, as no database is needed for.
fn a_history() -> Value {
    let at = UnixSeconds(1_795_000_000);
    let verdict = PastVerdict {
        at,
        address: "203.0.113.7".to_owned(),
        scope: "203.0.113.7/32".to_owned(),
        action: "tag".to_owned(),
        band: "suspicious".to_owned(),
        score: 60,
        reason: "ipsum".to_owned(),
        decision: Some("0d8a70cfa95060ac".to_owned()),
        answered: 1,
        asked: 2,
        sources: json!([{"source": "ipsum", "family": "ipsum", "score": 60, "weight": 0.5}]),
    };
    let decision = PastDecision {
        at,
        event: "gave".to_owned(),
        decision: "0d8a70cfa95060ac".to_owned(),
        prefix: "203.0.113.0/24".to_owned(),
        r#type: "ban".to_owned(),
        origin: "operator".to_owned(),
        reason: "scanner".to_owned(),
        author: "ada".to_owned(),
        expires: Some(at),
        operator: "ada".to_owned(),
        way: "console".to_owned(),
    };
    json!(AddressHistory {
        address: "203.0.113.7".parse().unwrap(),
        since: at,
        totals: Totals::default(),
        span_s: 3600,
        refusals: vec![Refusals {
            from: at,
            action: "deny".to_owned(),
            mode: "enforce".to_owned(),
            requests: 1,
            reason: "ipsum".to_owned(),
        }],
        events: vec![Event::Verdict(verdict), Event::Decision(decision)],
        next: Some(Cursor { at, id: 7 }),
    })
}

#[tokio::test]
async fn without_a_database_the_history_is_refused_with_the_reason() {
    let sidecar = Running::start().await;
    let asked = sidecar.refused(Method::GET, "/v1/history/203.0.113.7", b"");
    let (title, detail) = asked.await;
    assert_eq!(title, "There is no history to be read");
    assert!(detail.contains("history.url"), "{detail}");
    for (query, fault) in [
        ("since=soon", "since must be a duration"),
        ("limit=1001", "limit must be from 1 to 1000"),
        ("before=x", "before must be what next was"),
    ] {
        let path = format!("/v1/history/203.0.113.7?{query}");
        let (_, detail) = sidecar.refused(Method::GET, &path, b"").await;
        assert!(detail.contains(fault), "{detail}");
    }
    let (title, _) = sidecar.refused(Method::GET, "/v1/history/x", b"").await;
    assert_eq!(title, "Not an address");
    sidecar.stop().await;
}

#[tokio::test]
async fn real_answers_fit_the_schemas() {
    let sidecar = Running::start().await;
    let ban = json!({"cidr": "203.0.113.7", "type": "ban", "reason": "x", "duration": "1h"});
    assert!(validator("NewDecision").is_valid(&ban));
    let given = sidecar
        .admin(Method::POST, "/v1/decisions", Some(ban))
        .await;
    let level = json!({"level": "debug", "duration": "1h"});
    sidecar
        .admin(Method::PUT, "/v1/log-level", Some(level))
        .await;
    let mode = json!({"mode": "monitor", "route": "a*", "duration": "1h"});
    sidecar.admin(Method::PUT, "/v1/mode", Some(mode)).await;
    let refused = json!({"left_out": 1, "clients": [{
        "client": "203.0.113.7", "action": "deny", "mode": "enforce", "reason": "x",
        "decision": given["id"], "count": 3, "first_s": 2, "last_s": 0,
    }]});
    assert!(validator("RefusalReport").is_valid(&refused));
    let told = post("/v1/refusals", refused.to_string().as_bytes());
    assert!(sidecar.edge_raw(&told).await.starts_with("HTTP/1.1 204"));

    let mut answers = vec![("Decision", given), ("Feed", json!(FeedStatus::default()))];
    for (schema, path) in [
        ("Decisions", "/v1/decisions"),
        ("Blocked", "/v1/blocked"),
        ("Verdict", "/v1/check/203.0.113.7"),
        ("Explanation", "/v1/explain/203.0.113.7"),
        ("Feeds", "/v1/feeds"),
        ("Providers", "/v1/providers"),
        ("Secrets", "/v1/secrets"),
        ("Examination", "/v1/doctor"),
        ("LogLevel", "/v1/log-level"),
        ("Modes", "/v1/mode"),
    ] {
        answers.push((schema, sidecar.admin(Method::GET, path, None).await));
    }
    for (schema, path) in [
        ("Verdict", "/v1/verdict/203.0.113.7"),
        ("Verdict", "/v1/verdict/203.0.113.8"),
        ("Manifest", "/v1/manifest"),
        ("Reputation", "/v1/reputation/203.0.113.7"),
        ("Problem", "/v1/verdict/nonsense"),
    ] {
        answers.push((schema, document(&sidecar.edge(path).await)));
    }
    answers.push(("History", a_history()));
    let removal = "/v1/decisions?cidr=203.0.113.7&type=ban";
    answers.push((
        "Removed",
        sidecar.admin(Method::DELETE, removal, None).await,
    ));
    for (schema, answer) in answers {
        let validator = validator(schema);
        let faults: Vec<_> = validator
            .iter_errors(&answer)
            .map(|it| it.to_string())
            .collect();
        assert!(faults.is_empty(), "{schema}: {faults:?}: {answer}");
    }
    let shown = sidecar.admin(Method::GET, "/openapi.json", None).await;
    assert_eq!(shown["openapi"], "3.1.0");
    sidecar.stop().await;
}
