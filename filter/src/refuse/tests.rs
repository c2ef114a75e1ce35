use super::*;
use crate::testing::{MockHost, Sent};

const ID: DecisionId = DecisionId(0xab);

fn refused(headers: &[(&str, &str)], refusal: Refusal, deny: &Deny) -> Sent {
    let host = MockHost::default();
    for (name, value) in headers {
        host.put_header(name, value.as_bytes());
    }
    send(&host, deny, refusal);
    host.sent().pop().unwrap()
}

fn deny() -> Deny {
    Deny {
        status: 403,
        templates: Templates::default(),
    }
}

fn denied(headers: &[(&str, &str)]) -> Sent {
    refused(headers, Refusal::Denied(ID), &deny())
}

#[test]
fn a_program_gets_a_problem_document() {
    let sent = denied(&[
        (":method", "GET"),
        (":path", "/a\"b?secret=1"),
        ("accept", "*/*"),
        ("x-request-id", "r-1"),
    ]);
    assert_eq!(sent.status, 403);
    assert_eq!(
        sent.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(
        sent.header("x-portcullis-decision"),
        Some("00000000000000ab")
    );
    assert_eq!(sent.header("x-request-id"), Some("r-1"));
    assert_eq!(sent.header("cache-control"), Some("no-store"));
    let body: serde_json::Value = serde_json::from_str(&sent.body).unwrap();
    assert_eq!(body["type"], "urn:portcullis:problem:denied");
    assert_eq!(body["title"], "Access denied");
    assert_eq!(body["status"], 403);
    assert_eq!(body["instance"], "/a\"b");
    assert_eq!(body["request_id"], "r-1");
    assert_eq!(body["decision_id"], "00000000000000ab");
}

#[test]
fn a_browser_gets_a_page_and_a_shell_gets_text() {
    let html = denied(&[(":method", "GET"), ("accept", "text/html,*/*;q=0.8")]);
    assert_eq!(
        html.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert!(html.body.contains("<h1>Access denied</h1>"));
    assert!(html.body.contains("00000000000000ab"));
    let text = denied(&[(":method", "GET"), ("accept", "text/plain")]);
    assert!(text.body.starts_with("Access denied. "));
}

#[test]
fn a_grpc_client_gets_a_status_and_a_short_message() {
    for content_type in ["application/grpc", "application/grpc+proto"] {
        let sent = denied(&[(":method", "POST"), ("content-type", content_type)]);
        assert_eq!(sent.grpc_status, Some(7));
        assert_eq!(sent.body, "Access denied");
    }
}

#[test]
fn a_grpc_web_client_gets_200_and_the_status_in_headers() {
    let sent = denied(&[
        (":method", "POST"),
        ("content-type", "application/grpc-web-text+proto"),
    ]);
    assert_eq!((sent.status, sent.grpc_status), (200, None));
    assert_eq!(
        sent.header("content-type"),
        Some("application/grpc-web-text+proto")
    );
    assert_eq!(sent.header("grpc-status"), Some("7"));
    assert_eq!(sent.header("grpc-message"), Some("Access denied"));
    assert_eq!(
        sent.body,
        "gAAAAC1ncnBjLXN0YXR1czogNw0KZ3JwYy1tZXNzYWdlOiBBY2Nlc3MgZGVuaWVkDQo="
    );
    let binary = denied(&[("content-type", "application/grpc-web+proto")]);
    assert!(
        binary
            .body
            .ends_with("grpc-status: 7\r\ngrpc-message: Access denied\r\n")
    );
}

#[test]
fn head_is_answered_as_get_and_an_upgrade_gets_text() {
    let get = denied(&[(":method", "GET"), ("accept", "text/html")]);
    let head = denied(&[(":method", "HEAD"), ("accept", "text/html")]);
    assert_eq!(head, get);
    let upgrade = denied(&[
        (":method", "GET"),
        ("upgrade", "websocket"),
        ("accept", "text/html"),
    ]);
    assert_eq!(
        upgrade.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
}

#[test]
fn a_failure_of_ours_has_no_decision_and_is_a_503() {
    let mut deny = deny();
    deny.templates.json = Some("you are banned".to_owned());
    let sent = refused(&[(":method", "GET")], Refusal::Unavailable, &deny);
    assert_eq!(sent.status, 503);
    assert_eq!(sent.header("x-portcullis-decision"), None);
    assert!(sent.body.contains("urn:portcullis:problem:unavailable"));
    assert!(!sent.body.contains("decision_id"));
    let grpc = refused(
        &[("content-type", "application/grpc")],
        Refusal::Unavailable,
        &deny,
    );
    assert_eq!(grpc.grpc_status, Some(14));
}

#[test]
fn the_operators_pages_replace_ours() {
    let mut deny = deny();
    deny.status = 451;
    deny.templates.html = Some("<p>{{decision_id}} {{request_id}}</p>".to_owned());
    let headers = [
        (":method", "GET"),
        ("accept", "text/html"),
        ("x-request-id", "r"),
    ];
    let sent = refused(&headers, Refusal::Denied(ID), &deny);
    assert_eq!(sent.status, 451);
    assert_eq!(sent.body, "<p>00000000000000ab r</p>");
}

#[test]
fn a_request_id_that_could_do_harm_is_not_repeated() {
    let too_long = "x".repeat(129);
    for id in ["<script>", "a b", "", "a\u{7f}", too_long.as_str()] {
        let sent = denied(&[(":method", "GET"), ("x-request-id", id)]);
        assert_eq!(sent.header("x-request-id"), None, "{id:?}");
        assert!(!sent.body.contains("request_id"), "{id:?}");
    }
}

#[test]
fn headers_of_any_bytes_are_answered() {
    let host = MockHost::default();
    for name in ["accept", "content-type", "x-request-id", ":method", ":path"] {
        host.put_header(name, b"\xff\xfe\x80");
    }
    send(&host, &deny(), Refusal::Denied(ID));
    assert_eq!(host.sent().pop().unwrap().status, 403);
}
