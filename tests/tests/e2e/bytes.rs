//! Whatever bytes a client sends, no VM dies of them.

use kit::Request;
use serde_json::json;

use crate::common::{CANARY, Edge, no_vm_died, sidecar_that_blocks};

/// Bytes that are no UTF-8, and some that are odd all the same.
const ODD: [&[u8]; 6] = [
    b"\xff\xfe\xfd",
    b"\xc3\x28",
    b"caf\xe9",
    b"\xed\xa0\x80",
    b"\xf0\x9f\x98",
    b"\x80",
];

/// Every header that the filter may look at.
const HEADERS: [&str; 12] = [
    "accept",
    "content-type",
    "user-agent",
    "x-request-id",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-portcullis-action",
    "x-envoy-external-address",
    "upgrade",
    "connection",
    "te",
    "x-anything",
];

#[tokio::test]
async fn headers_that_are_no_text_trap_nothing() {
    let routes = json!({"routes": {"app*": {"mode": "enforce"}}});
    let edge = Edge::start_with(sidecar_that_blocks(&[]), |envoy| {
        envoy.plugin(routes).unwrap()
    });
    let edge = edge.await;
    for client in [CANARY, "203.0.113.5"] {
        for header in HEADERS {
            for odd in ODD {
                let request = Request::get("/").from_client(client).header(header, odd);
                let status = edge.envoy.send(&request).await.unwrap().status;
                let known = [200, 400, 403, 426].contains(&status);
                assert!(known, "{header} {odd:?} of {client}: {status}");
            }
        }
    }
    assert_eq!(edge.envoy.status_for(CANARY).await, 403);
    assert!(no_vm_died(&edge.envoy), "{}", edge.envoy.log());
}

#[tokio::test]
async fn paths_and_hosts_that_are_no_text_trap_nothing() {
    let edge = Edge::start(sidecar_that_blocks(&[])).await;
    for client in [CANARY, "203.0.113.5"] {
        for odd in ODD {
            let mut raw = b"GET /".to_vec();
            raw.extend_from_slice(odd);
            raw.extend_from_slice(b" HTTP/1.1\r\nhost: ");
            raw.extend_from_slice(odd);
            raw.extend_from_slice(format!("\r\nx-forwarded-for: {client}\r\n\r\n").as_bytes());
            let mut connection = edge.envoy.connect().await.unwrap();
            connection.write(&raw).await.unwrap();
            let status = connection.receive("GET").await.unwrap().status;
            assert!([200, 400, 403].contains(&status), "{odd:?}: {status}");
        }
    }
    assert!(no_vm_died(&edge.envoy), "{}", edge.envoy.log());
}

#[tokio::test]
async fn very_many_and_very_long_headers_trap_nothing() {
    let edge = Edge::start(sidecar_that_blocks(&[])).await;
    let long = "a".repeat(50_000);
    let mut many = Request::get("/").from_client(CANARY);
    for number in 0..90 {
        many = many.header(&format!("x-{number}"), "v");
    }
    assert_eq!(edge.envoy.send(&many).await.unwrap().status, 403);
    let request = Request::get("/")
        .from_client(CANARY)
        .header("accept", &long);
    assert_eq!(edge.envoy.send(&request).await.unwrap().status, 403);
    let request = Request::get(&format!("/{long}")).from_client(CANARY);
    assert_eq!(edge.envoy.send(&request).await.unwrap().status, 403);
    assert!(no_vm_died(&edge.envoy), "{}", edge.envoy.log());
}
