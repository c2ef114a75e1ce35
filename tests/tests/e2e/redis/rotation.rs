//! A password that is replaced while everything runs.

use kit::Redis;

use super::{until_done, until_store_is};
use crate::common::{Edge, sidecar_that_blocks, until_status};

const BANNED: &str = "203.0.113.5";
const OTHER: &str = "203.0.113.6";
const RULES: &str = "~portcullis:* &portcullis:* +@all";

#[tokio::test]
async fn a_password_is_replaced_without_a_restart_and_appears_nowhere() {
    let redis = Redis::builder().unwrap();
    let redis = redis.user("edge", &format!("on >first-word {RULES}"));
    let redis = redis.line("user default off").start().await.unwrap();
    let secrets = tempfile::tempdir().unwrap();
    let password = secrets.path().join("redis");
    std::fs::write(&password, "first-word\n").unwrap();
    let secret = format!("[secret.redis]\nfrom = \"file\"\nname = {password:?}");
    let sidecar = sidecar_that_blocks(&[])
        .redis(&redis.url())
        .store("username = \"edge\"\npassword = \"secret:redis\"")
        .toml(&secret);
    let mut edge = Edge::start(sidecar).await;
    let process = edge.sidecar.process_id();
    edge.cli(&["ban", BANNED]).await;
    assert!(until_status(&edge.envoy, BANNED, 403).await);

    std::fs::write(&password, "second-word\n").unwrap();
    let new = ["ACL", "SETUSER", "edge", "resetpass", ">second-word"];
    redis.command(&new).await.unwrap();
    redis
        .command(&["CLIENT", "KILL", "USER", "edge"])
        .await
        .unwrap();
    assert!(
        until_done(&edge.sidecar, &["ban", OTHER]).await,
        "{}",
        edge.sidecar.log()
    );
    assert!(until_status(&edge.envoy, OTHER, 403).await);
    assert!(until_store_is(&edge.sidecar, true).await);
    assert_eq!(edge.envoy.status_for(BANNED).await, 403);
    assert_eq!(edge.sidecar.process_id(), process);
    for text in [edge.sidecar.log(), super::metrics(&edge.sidecar).await] {
        assert!(!text.contains("first-word") && !text.contains("second-word"));
    }
}
