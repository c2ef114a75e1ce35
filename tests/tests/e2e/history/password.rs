//! As whom a sidecar comes: its password is replaced while everything runs, a wrong one is told without
//! being shown, and TLS is checked.

use kit::sidecar::SidecarBuilder;
use kit::{Postgres, Sidecar};

use super::{BANNED, events, sidecar_on, until_history, until_logged, until_up};
use crate::authority::Authority;
use crate::common::{cli, sidecar_that_blocks};

fn with_password(postgres: &Postgres, file: &std::path::Path) -> SidecarBuilder {
    sidecar_on(postgres)
        .toml("password = \"secret:postgres\"")
        .toml(&format!(
            "[secret.postgres]\nfrom = \"file\"\nname = {file:?}"
        ))
}

async fn shows_no_password(sidecar: &Sidecar) {
    let metrics = kit::Request::get("/metrics").send(sidecar.metrics()).await;
    let doctor = cli(sidecar, &["secrets"]).await;
    for text in [sidecar.log(), metrics.unwrap().text(), doctor] {
        assert!(!text.contains("-word"), "{text}");
    }
}

#[tokio::test]
async fn a_password_is_replaced_without_a_restart_and_appears_nowhere() {
    let postgres = Postgres::start().await.unwrap();
    postgres.set_password("first-word").await.unwrap();
    let secrets = tempfile::tempdir().unwrap();
    let file = secrets.path().join("postgres");
    std::fs::write(&file, "first-word\n").unwrap();
    let mut sidecar = with_password(&postgres, &file).start().await.unwrap();
    let process = sidecar.process_id();
    cli(&sidecar, &["ban", BANNED]).await;
    until_history(&sidecar, BANNED, |it| events(it, "decision").len() == 1).await;
    // PostgreSQL changes first: the value before does for who is connected, and is refused for who comes.
    postgres.set_password("second-word").await.unwrap();
    postgres.disconnect_all().await.unwrap();
    assert!(
        until_logged(&sidecar, "password authentication failed").await,
        "{}",
        sidecar.log()
    );
    std::fs::write(&file, "second-word\n").unwrap();
    cli(&sidecar, &["unban", BANNED]).await;
    until_history(&sidecar, BANNED, |it| events(it, "decision").len() == 2).await;
    assert_eq!(sidecar.process_id(), process);
    shows_no_password(&sidecar).await;
}

#[tokio::test]
async fn a_wrong_password_and_a_host_that_is_not_there_are_told_plainly() {
    let postgres = Postgres::start().await.unwrap();
    postgres.set_password("right-word").await.unwrap();
    let secrets = tempfile::tempdir().unwrap();
    let file = secrets.path().join("postgres");
    std::fs::write(&file, "wrong-word\n").unwrap();
    let sidecar = with_password(&postgres, &file).start().await.unwrap();
    assert!(until_logged(&sidecar, "password authentication failed for user").await);
    assert!(until_up(&sidecar, false).await);
    shows_no_password(&sidecar).await;

    let nowhere = "[history]\nurl = \"postgres://portcullis@history.invalid:5432/history\"";
    let sidecar = sidecar_that_blocks(&[])
        .toml(nowhere)
        .start()
        .await
        .unwrap();
    assert!(until_logged(&sidecar, "the history is not written").await);
    assert!(
        until_logged(&sidecar, "it cannot be connected to").await,
        "{}",
        sidecar.log()
    );
    cli(&sidecar, &["ban", BANNED]).await;
}

#[tokio::test]
async fn a_certificate_is_checked_and_one_of_the_operators_own_authority_is_good() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let [certificate, key] = ours.pair("server");
    let postgres = Postgres::start_with_tls(&certificate, &key).await.unwrap();
    let secured = |authority: &Authority| {
        let url = format!("{}?sslmode=verify-full", postgres.url());
        let ca = authority.root();
        sidecar_that_blocks(&[]).toml(&format!("[history]\nurl = {url:?}\nca = {ca:?}"))
    };
    let sidecar = secured(&ours).start().await.unwrap();
    assert!(until_up(&sidecar, true).await, "{}", sidecar.log());
    let secure = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                  WHERE ssl AND usename = 'portcullis'";
    assert_eq!(postgres.number(secure).await, 1);
    let refused = secured(&theirs).start().await.unwrap();
    assert!(
        until_logged(&refused, "certificate").await,
        "{}",
        refused.log()
    );
    assert!(until_up(&refused, false).await);

    // Where the server has none, nothing is sent in clear instead.
    let plain = Postgres::start().await.unwrap();
    let url = format!("{}?sslmode=verify-full", plain.url());
    let sidecar = sidecar_that_blocks(&[]).toml(&format!("[history]\nurl = {url:?}"));
    let sidecar = sidecar.start().await.unwrap();
    assert!(
        until_logged(&sidecar, "does not speak TLS").await,
        "{}",
        sidecar.log()
    );
}
