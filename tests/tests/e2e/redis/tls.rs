//! Redis behind TLS: with the operator's own authority it works, with a foreign one it is refused.

use std::path::Path;

use kit::Redis;
use kit::sidecar::SidecarBuilder;

use super::{look_up, until_logged, until_store_is};
use crate::authority::Authority;
use crate::common::{Edge, sidecar_that_blocks, until_status};

const BANNED: &str = "203.0.113.5";

/// A Redis that shows the certificate of this authority.
async fn redis_of(authority: &Authority) -> Redis {
    let [certificate, key] = authority.pair("server");
    let redis = Redis::builder().unwrap().tls(&certificate, &key);
    redis.start().await.unwrap()
}

fn sidecar(redis: &Redis, authority: &Path) -> SidecarBuilder {
    let ca = format!("ca = {authority:?}");
    sidecar_that_blocks(&[])
        .redis(&redis.tls_url().unwrap())
        .store(&ca)
}

#[tokio::test]
async fn a_certificate_by_the_operators_own_authority_is_accepted() {
    let ours = Authority::new("ours");
    let redis = redis_of(&ours).await;
    let edge = Edge::start(sidecar(&redis, &ours.root())).await;
    assert!(
        until_store_is(&edge.sidecar, true).await,
        "{}",
        edge.sidecar.log()
    );
    edge.cli(&["ban", BANNED]).await;
    assert!(until_status(&edge.envoy, BANNED, 403).await);
    let clients = redis.command(&["CLIENT", "LIST"]).await.unwrap().text();
    let secured = redis.tls_url().unwrap();
    let port = secured.rsplit(':').next().unwrap().trim_end_matches("/0");
    assert!(
        clients.contains(&format!("laddr=127.0.0.1:{port}")),
        "{clients}"
    );
}

#[tokio::test]
async fn a_certificate_by_another_authority_is_refused_with_the_reason() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let redis = redis_of(&theirs).await;
    let edge = Edge::start(sidecar(&redis, &ours.root())).await;
    assert!(until_store_is(&edge.sidecar, false).await);
    assert!(
        until_logged(&edge.sidecar, "certificate").await,
        "{}",
        edge.sidecar.log()
    );
    assert!(
        !edge
            .sidecar
            .cli(&["ban", BANNED])
            .await
            .unwrap()
            .status
            .success()
    );
    assert_eq!(look_up(&edge.sidecar, "8.8.4.4").await.0, 200);
    let keys = redis.command(&["DBSIZE"]).await.unwrap().integer();
    assert_eq!(keys, Some(0), "it spoke all the same");
}
