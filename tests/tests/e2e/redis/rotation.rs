//! The user as whom a sidecar comes: the documented one is enough, and its password is replaced while
//! everything runs.

use kit::abuseipdb::{AbuseIpDb, KEY};
use kit::redis::Reply;
use kit::{Redis, eventually, eventually_async, parts};

use super::{look_up, until_concern, until_done, until_store_is};
use crate::common::{Edge, LIMIT, cli, sidecar_that_blocks, until_status};

const BANNED: &str = "203.0.113.5";
const OTHER: &str = "203.0.113.6";
const RULES: &str = "~pc:* &pc:* +@all";

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

/// The words of the command in docs/redis.md that creates the user.
fn documented_user() -> Vec<String> {
    let text = std::fs::read_to_string(parts::in_checkout("docs/redis.md")).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("ACL SETUSER portcullis on"))
        .unwrap();
    let line = line.replace("PASSWORD", "word");
    line.split(' ').map(str::to_owned).collect()
}

#[tokio::test]
async fn the_documented_user_is_enough_and_reaches_nothing_else() {
    let redis = Redis::builder().unwrap().append_only();
    let redis = redis.line("user default off").start().await.unwrap();
    let created = redis
        .connect()
        .await
        .unwrap()
        .command(&documented_user())
        .await;
    assert_eq!(created.unwrap(), Reply::Bytes(b"OK".to_vec()));
    let abuseipdb = AbuseIpDb::start().await.unwrap();
    let sidecar = || {
        sidecar_that_blocks(&[])
            .redis(&redis.url())
            .store("username = \"portcullis\"\npassword = \"secret:redis\"")
            .toml("[secret.redis]\nfrom = \"env\"\nname = \"REDIS_PASSWORD\"")
            .env("REDIS_PASSWORD", "word")
            .toml(&abuseipdb.toml())
            .env("ABUSEIPDB_KEY", KEY)
    };
    let mut edge = Edge::start(sidecar()).await;
    let sibling = sidecar().start().await.unwrap();
    assert!(
        until_store_is(&edge.sidecar, true).await,
        "{}",
        edge.sidecar.log()
    );
    for command in [
        &["ban", OTHER][..],
        &["unban", OTHER],
        &["mode", "monitor", "--route", "checkout"],
        &["mode", "--clear"],
    ] {
        edge.cli(command).await;
    }
    cli(&sibling, &["ban", BANNED]).await;
    assert!(until_status(&edge.envoy, BANNED, 403).await);
    edge.sidecar.restart().await.unwrap();
    assert!(edge.cli(&["decisions"]).await.contains(BANNED));
    assert!(until_concern(&edge.sidecar, "unexamined", false).await);
    look_up(&edge.sidecar, "8.8.4.4").await;
    assert!(eventually(LIMIT, || !abuseipdb.asked().is_empty()).await);
    let kept = eventually_async(LIMIT, || async {
        redis
            .command(&["EXISTS", "pc:quota:abuseipdb"])
            .await
            .unwrap()
            == Reply::Integer(1)
    });
    assert!(kept.await, "{}", edge.sidecar.log());
    let log = redis.command(&["ACL", "LOG"]).await.unwrap();
    assert!(log.items().is_empty(), "it was refused something: {log:?}");
}
