//! A Redis that does not do what it is asked: each time the log says what is wrong, nothing crashes, and
//! look-ups go on.

use kit::redis::BadRedis;
use kit::sidecar::SidecarBuilder;
use kit::{Redis, Sidecar, eventually_async};

use super::{
    look_up, refused, sidecar_on, until_concern, until_done, until_logged, until_store_is,
};
use crate::common::{LIMIT, cli, sidecar_that_blocks};

const BANNED: &str = "203.0.113.5";
/// Far more than a sidecar needs, far less than a Redis can send.
const MOST_MEMORY: u64 = 150 * 1024 * 1024;

/// A sidecar that runs although its store does not work, and says why in this sentence.
async fn runs_without(sidecar: SidecarBuilder, sentence: &str) -> Sidecar {
    let mut sidecar = sidecar.start().await.unwrap();
    let process = sidecar.process_id();
    assert!(until_store_is(&sidecar, false).await, "{}", sidecar.log());
    assert!(
        until_logged(&sidecar, sentence).await,
        "{sentence:?} is not in {}",
        sidecar.log()
    );
    refused(&sidecar, &["ban", BANNED]).await;
    for host in 0..20 {
        assert_eq!(look_up(&sidecar, &format!("8.8.4.{host}")).await.0, 200);
    }
    assert_eq!(sidecar.process_id(), process, "it died: {}", sidecar.log());
    sidecar
}

fn with_password(redis: &Redis, user: &str, password: &str) -> SidecarBuilder {
    let store = format!("username = {user:?}\npassword = \"secret:redis\"");
    sidecar_on(redis)
        .store(&store)
        .toml("[secret.redis]\nfrom = \"env\"\nname = \"REDIS_PASSWORD\"")
        .env("REDIS_PASSWORD", password)
}

#[tokio::test]
async fn a_wrong_password_is_named_and_not_repeated() {
    let redis = Redis::builder().unwrap().password("right-one");
    let redis = redis.start().await.unwrap();
    let sidecar = with_password(&redis, "default", "wrong-one");
    let sidecar = runs_without(sidecar, "password").await;
    assert!(!sidecar.log().contains("wrong-one"));
    // It is tried again, so a Redis that is set right is found.
    let right = ["CONFIG", "SET", "requirepass", "wrong-one"];
    redis.command(&right).await.unwrap();
    assert!(
        until_done(&sidecar, &["ban", BANNED]).await,
        "{}",
        sidecar.log()
    );
}

#[tokio::test]
async fn a_missing_password_is_named() {
    let redis = Redis::builder().unwrap().password("right-one");
    let redis = redis.start().await.unwrap();
    runs_without(sidecar_on(&redis), "password").await;
}

#[tokio::test]
async fn a_role_that_may_not_do_what_is_needed_is_told_which_command() {
    let redis = Redis::builder().unwrap();
    let reader = "on >word ~pc:* &pc:* +@all -@write";
    let redis = redis.user("reader", reader).start().await.unwrap();
    let mut sidecar = with_password(&redis, "reader", "word")
        .start()
        .await
        .unwrap();
    let process = sidecar.process_id();
    let noticed = eventually_async(LIMIT, || async {
        sidecar.log().contains("reader") && sidecar.log().contains("may not")
    });
    assert!(noticed.await, "{}", sidecar.log());
    refused(&sidecar, &["ban", BANNED]).await;
    assert_eq!(look_up(&sidecar, "8.8.4.4").await.0, 200);
    assert_eq!(sidecar.process_id(), process);
    redis
        .command(&["ACL", "SETUSER", "reader", "+@all"])
        .await
        .unwrap();
    assert!(
        until_done(&sidecar, &["ban", BANNED]).await,
        "{}",
        sidecar.log()
    );
}

#[tokio::test]
async fn a_read_only_replica_is_recognised() {
    let leader = Redis::start().await.unwrap();
    let first = sidecar_on(&leader).start().await.unwrap();
    cli(&first, &["ban", BANNED]).await;
    let replica = Redis::builder().unwrap().replica_of(leader.address());
    let replica = replica.start().await.unwrap();
    let copied = eventually_async(LIMIT, || async {
        replica.command(&["DBSIZE"]).await.unwrap().integer() > Some(0)
    });
    assert!(copied.await, "{}", replica.log());
    let mut sidecar = sidecar_on(&replica).start().await.unwrap();
    let process = sidecar.process_id();
    assert!(
        until_concern(&sidecar, "read_only", true).await,
        "{}",
        sidecar.log()
    );
    assert!(
        until_logged(&sidecar, "read-only replica").await,
        "{}",
        sidecar.log()
    );
    let said = refused(&sidecar, &["ban", "203.0.113.6"]).await;
    assert!(said.contains("replica"), "{said}");
    assert_eq!(look_up(&sidecar, "8.8.4.4").await.0, 200);
    assert_eq!(sidecar.process_id(), process);
    // It becomes the leader, as in a fail-over.
    replica.command(&["REPLICAOF", "NO", "ONE"]).await.unwrap();
    assert!(
        until_done(&sidecar, &["ban", "203.0.113.6"]).await,
        "{}",
        sidecar.log()
    );
    assert!(cli(&sidecar, &["decisions"]).await.contains(BANNED));
}

#[tokio::test]
async fn a_server_that_is_no_redis_is_refused() {
    for rubbish in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"\0\x01\x02\xff\xfe",
        b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n",
        b"*1000000000\r\n",
        b"$-7\r\n",
        b":9223372036854775808\r\n",
    ] {
        let server = BadRedis::that_says(rubbish).await.unwrap();
        let sidecar = sidecar_that_blocks(&[]).redis(&server.url());
        let sidecar = runs_without(sidecar, "the store does not work").await;
        let memory = sidecar.memory();
        assert!(memory < MOST_MEMORY, "{rubbish:?}: {memory} bytes");
    }
}

#[tokio::test]
async fn an_answer_without_end_costs_no_memory() {
    let server = BadRedis::without_end().await.unwrap();
    let sidecar = sidecar_that_blocks(&[]).redis(&server.url());
    let sidecar = runs_without(sidecar, "the store does not work").await;
    // Long enough for several tries to reach it.
    let begun = std::time::Instant::now();
    while begun.elapsed() < std::time::Duration::from_secs(4) {
        assert_eq!(look_up(&sidecar, "8.8.4.4").await.0, 200);
        let memory = sidecar.memory();
        assert!(memory < MOST_MEMORY, "{memory} bytes");
    }
}
