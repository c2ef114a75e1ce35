//! The store in Redis: the real one, alone and shared, dying, full, slow, hostile.

mod durability;
mod eviction;
mod fleet;
mod foreign;
mod outage;
mod refusal;
mod rotation;
mod several;
mod start;
mod tls;

use std::time::Duration;

use kit::sidecar::SidecarBuilder;
use kit::{Redis, Request, Sidecar, eventually, eventually_async, prometheus};

use crate::common::{LIMIT, sidecar_that_blocks};

/// A Redis that keeps through its own death what it was told.
pub async fn durable() -> Redis {
    let builder = Redis::builder().unwrap().append_only();
    builder.start().await.unwrap()
}

/// A sidecar that keeps its words in this Redis, with the canary on its list.
pub fn sidecar_on(redis: &Redis) -> SidecarBuilder {
    sidecar_that_blocks(&[]).redis(&redis.url())
}

/// What a command that must fail said.
pub async fn refused(sidecar: &Sidecar, arguments: &[&str]) -> String {
    let output = sidecar.cli(arguments).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success(),
        "portcullis {arguments:?} succeeded: {said}"
    );
    said
}

/// Whether a command succeeds sooner or later.
pub async fn until_done(sidecar: &Sidecar, arguments: &[&str]) -> bool {
    eventually_async(LIMIT, || async {
        let output = sidecar.cli(arguments).await;
        output.is_ok_and(|output| output.status.success())
    })
    .await
}

pub async fn until_logged(sidecar: &Sidecar, sentence: &str) -> bool {
    eventually(LIMIT, || sidecar.log().contains(sentence)).await
}

/// Waits until the store is up, or down.
pub async fn until_store_is(sidecar: &Sidecar, up: bool) -> bool {
    let wanted = f64::from(u8::from(up));
    eventually_async(LIMIT, || async {
        let text = metrics(sidecar).await;
        prometheus::has(&text, "portcullis_store_up")
            && prometheus::sum(&text, "portcullis_store_up", &[]) == wanted
    })
    .await
}

/// Waits until the store is said to have this concern, or no more.
pub async fn until_concern(sidecar: &Sidecar, name: &str, holds: bool) -> bool {
    let (label, wanted) = (format!("concern=\"{name}\""), f64::from(u8::from(holds)));
    eventually_async(LIMIT, || async {
        sidecar.metric("portcullis_store_concern", &[&label]).await == wanted
    })
    .await
}

pub async fn metrics(sidecar: &Sidecar) -> String {
    let answer = Request::get("/metrics").send(sidecar.metrics()).await;
    answer.map(|response| response.text()).unwrap_or_default()
}

/// A look-up as a proxy makes it: its status, and how long it took.
pub async fn look_up(sidecar: &Sidecar, address: &str) -> (u16, Duration) {
    let begun = std::time::Instant::now();
    let request = Request::get(&format!("/v1/verdict/{address}?wait_ms=100"));
    let answer = request.send(sidecar.edge()).await;
    (
        answer.map_or(0, |response| response.status),
        begun.elapsed(),
    )
}

/// Epoch and version of what the sidecar publishes.
pub async fn published(sidecar: &Sidecar) -> (u64, u64) {
    let answer = Request::get("/v1/manifest").send(sidecar.edge()).await;
    let manifest = answer.unwrap().json();
    let number = |name: &str| manifest[name].as_u64().unwrap();
    (number("epoch"), number("version"))
}
