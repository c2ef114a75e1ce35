//! The readiness path: for the platform's probe, not for the public.

use kit::envoy::READY;
use kit::{RawSidecar, Request, Upstream};
use serde_json::json;

use crate::common::{Edge, between, sidecar_that_blocks};

#[tokio::test]
async fn the_platform_is_told_and_the_public_is_not() {
    let edge = Edge::start(sidecar_that_blocks(&[])).await;
    let probe = edge.envoy.send(&Request::get(READY)).await.unwrap();
    assert_eq!(probe.status, 200, "{}", probe.text());
    assert_eq!(probe.json()["status"], json!("ready"), "{}", probe.text());
    let public = edge
        .envoy
        .send(&Request::get(READY).from_client("8.8.8.8"))
        .await
        .unwrap();
    assert_eq!(
        public.json()["path"],
        READY,
        "the public sees it: {}",
        public.text()
    );
}

#[tokio::test]
async fn a_worker_without_a_snapshot_asks_for_time() {
    let upstream = Upstream::start().await.unwrap();
    let mut sidecar = RawSidecar::start().await.unwrap();
    sidecar.stop();
    let builder = between(&upstream, &sidecar.addresses());
    let envoy = builder.start().await.unwrap();
    assert_eq!(envoy.send(&Request::get(READY)).await.unwrap().status, 503);
    assert_eq!(envoy.status_for("203.0.113.5").await, 200);
}
