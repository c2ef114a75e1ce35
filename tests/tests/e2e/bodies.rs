//! Refusals fit what was asked, and bodies survive being held.

use std::time::Duration;

use kit::config::insert;
use kit::raw_sidecar::Behaviour;
use kit::snapshot::{Draft, Line};
use kit::{Request, Response};
use serde_json::json;

use crate::common::{CANARY, Edge, RawEdge, no_vm_died, sidecar_that_blocks, until_status};

async fn refusal(edge: &Edge, request: Request) -> Response {
    edge.envoy.send(&request.from_client(CANARY)).await.unwrap()
}

#[tokio::test]
async fn a_refusal_fits_the_kind_of_request() {
    let edge = Edge::start(sidecar_that_blocks(&[])).await;
    let browser = "text/html,application/xhtml+xml,*/*;q=0.8";
    let page = refusal(&edge, Request::get("/").header("accept", browser)).await;
    assert_eq!(page.status, 403);
    assert!(
        page.header("content-type")
            .unwrap()
            .starts_with("text/html")
    );
    assert!(page.text().contains("<html"), "{}", page.text());

    let problem = refusal(&edge, Request::get("/a/b?c=d")).await;
    assert_eq!(
        problem.header("content-type").as_deref(),
        Some("application/problem+json")
    );
    let json = problem.json();
    assert_eq!(json["status"], 403);
    assert!(
        json["type"].is_string() && json["title"].is_string(),
        "{json}"
    );
    assert_eq!(
        json["decision_id"],
        problem.header("x-portcullis-decision").unwrap().as_str()
    );

    let text = refusal(&edge, Request::get("/").header("accept", "text/plain")).await;
    assert!(
        text.header("content-type")
            .unwrap()
            .starts_with("text/plain")
    );

    let head = refusal(&edge, Request::new("HEAD", "/")).await;
    assert_eq!((head.status, head.body.len()), (403, 0));
}

#[tokio::test]
async fn grpc_clients_are_refused_in_their_own_words() {
    let edge = Edge::start(sidecar_that_blocks(&[])).await;
    let call = |content_type: &str| {
        Request::post("/package.Service/Method", vec![0; 5]).header("content-type", content_type)
    };
    let grpc = refusal(&edge, call("application/grpc")).await;
    assert_eq!(
        (grpc.status, grpc.header("grpc-status").as_deref()),
        (200, Some("7"))
    );
    assert!(
        !grpc.header("grpc-message").unwrap().contains('<'),
        "HTML in grpc-message"
    );
    let web = refusal(&edge, call("application/grpc-web+proto")).await;
    assert_eq!(web.header("grpc-status").as_deref(), Some("7"), "{web:?}");
    assert!(
        web.header("content-type")
            .unwrap()
            .starts_with("application/grpc-web")
    );
}

#[tokio::test]
async fn an_upgrade_is_refused_as_text() {
    let edge = Edge::start_with(sidecar_that_blocks(&[]), |envoy| {
        let websocket = json!([{"upgrade_type": "websocket"}]);
        let allowed = envoy.change(|config| {
            insert(config.hcm()?, "upgrade_configs", websocket);
            Ok(())
        });
        allowed.unwrap()
    })
    .await;
    let request = Request::get("/")
        .header("upgrade", "websocket")
        .header("connection", "upgrade");
    let refused = refusal(&edge, request).await;
    assert_eq!(refused.status, 403);
    assert!(
        refused
            .header("content-type")
            .unwrap()
            .starts_with("text/plain")
    );
}

/// Everybody is asked about and held, and the answer takes its time.
async fn holding() -> RawEdge {
    let edge = RawEdge::start_with(|envoy| {
        envoy
            .plugin(json!({"unknown": "hold", "hold_ms": 1000}))
            .unwrap()
    })
    .await;
    let draft = Draft::version(1)
        .with_lookups()
        .base(Line::listed(CANARY).unwrap());
    edge.sidecar.publish(draft.build().unwrap());
    assert!(until_status(&edge.envoy, CANARY, 403).await);
    edge.sidecar
        .on_verdicts(Behaviour::Late(Duration::from_millis(300)));
    edge
}

#[tokio::test]
async fn ten_megabytes_arrive_whole_after_being_held() {
    let edge = holding().await;
    let body = vec![b'x'; 10_000_000];
    let request = Request::post("/upload", body.clone()).from_client("203.0.113.1");
    let answer = edge.envoy.send(&request).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["body_length"], 10_000_000);
    edge.sidecar.denies("203.0.113.2");
    let request = Request::post("/upload", body).from_client("203.0.113.2");
    assert_eq!(edge.envoy.send(&request).await.unwrap().status, 403);
    assert!(no_vm_died(&edge.envoy));
}

#[tokio::test]
async fn whoever_waits_for_100_continue_gets_it_while_held() {
    let edge = holding().await;
    for (client, status) in [("203.0.113.1", 200), ("203.0.113.2", 403)] {
        edge.sidecar.denies("203.0.113.2");
        let request = Request::new("POST", "/")
            .from_client(client)
            .header("expect", "100-continue")
            .header("content-length", "5");
        let mut connection = edge.envoy.connect().await.unwrap();
        connection.write(&request.head()).await.unwrap();
        let (interim, _) = connection.receive_head().await.unwrap();
        assert_eq!(interim, 100, "{client}");
        connection.write(b"hello").await.unwrap();
        let answer = connection.receive("POST").await.unwrap();
        assert_eq!(answer.status, status, "{client}: {}", answer.text());
    }
}

#[tokio::test]
async fn clients_that_leave_while_held_harm_nobody() {
    let edge = holding().await;
    let mut leaving = Vec::new();
    for _ in 0..20 {
        let mut connection = edge.envoy.connect().await.unwrap();
        let request = Request::post("/", vec![b'x'; 100_000]).from_client("203.0.113.1");
        connection.write(&request.head()).await.unwrap();
        leaving.push(connection);
    }
    let stays = Request::get("/").from_client("203.0.113.1");
    let mut staying = edge.envoy.connect().await.unwrap();
    staying.write(&stays.head()).await.unwrap();
    let asked = kit::eventually(crate::common::LIMIT, || {
        !edge.sidecar.asked("/v1/verdict/203.0.113.1").is_empty()
    });
    assert!(asked.await);
    drop(leaving);
    assert_eq!(staying.receive("GET").await.unwrap().status, 200);
    assert_eq!(edge.envoy.status_for("203.0.113.3").await, 200);
    assert!(no_vm_died(&edge.envoy), "{}", edge.envoy.log());
}
