//! The history, in a real PostgreSQL: what was thought and done about an address is told afterwards, by any
//! sidecar of the fleet.

mod contents;
mod outage;
mod password;
mod questions;
mod schema;

use kit::abuseipdb::{AbuseIpDb, KEY};
use kit::sidecar::SidecarBuilder;
use kit::{Postgres, Request, Sidecar, eventually_async};
use serde_json::Value;

use crate::common::{Edge, LIMIT, cli, no_vm_died, sidecar_that_blocks, until_status};

const LISTED: &str = "198.51.100.7";
const BANNED: &str = "203.0.113.5";

/// A sidecar that records here.
fn sidecar_on(postgres: &Postgres) -> SidecarBuilder {
    sidecar_that_blocks(&[LISTED]).toml(&postgres.toml())
}

/// What the command line says of an address, as JSON.
async fn history_of(sidecar: &Sidecar, address: &str) -> Value {
    let text = cli(sidecar, &["history", address, "--json"]).await;
    serde_json::from_str(&text).unwrap()
}

/// Waits until `wanted` holds of an address's history; returns that.
async fn until_history(sidecar: &Sidecar, address: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let reached = eventually_async(LIMIT, || async {
        let output = sidecar.cli(&["history", address, "--json"]).await.unwrap();
        serde_json::from_slice(&output.stdout).is_ok_and(|history: Value| wanted(&history))
    });
    assert!(
        reached.await,
        "{}\n{:?}",
        sidecar.log(),
        sidecar.cli(&["history", address, "--json"]).await
    );
    history_of(sidecar, address).await
}

/// The events of a history that are of this kind, the newest first.
fn events(history: &Value, kind: &str) -> Vec<Value> {
    let events = history["events"].as_array().unwrap().iter();
    let of_kind = events.filter(|event| event["kind"] == kind);
    of_kind.cloned().collect()
}

/// Waits until the sidecar says that it writes, or that it cannot.
async fn until_up(sidecar: &Sidecar, up: bool) -> bool {
    let wanted = if up { 1.0 } else { 0.0 };
    eventually_async(LIMIT, || async {
        sidecar
            .metric("portcullis_history_up", &[])
            .await
            .total_cmp(&wanted)
            .is_eq()
    })
    .await
}

async fn until_logged(sidecar: &Sidecar, words: &str) -> bool {
    eventually_async(LIMIT, || async { sidecar.log().contains(words) }).await
}

/// Asks the sidecar for a verdict, as a proxy does.
async fn look_up(sidecar: &Sidecar, address: &str) -> Value {
    let request = Request::get(&format!("/v1/verdict/{address}?wait_ms=2000"));
    let answer = request.send(sidecar.edge()).await.unwrap();
    serde_json::from_str(&answer.text()).unwrap()
}

#[tokio::test]
async fn look_ups_bans_and_refused_requests_are_told_afterwards() {
    let postgres = Postgres::start().await.unwrap();
    let abuseipdb = AbuseIpDb::start().await.unwrap();
    abuseipdb.knows("8.8.4.4", 100);
    let sidecar = sidecar_on(&postgres)
        .toml(&abuseipdb.toml())
        .env("ABUSEIPDB_KEY", KEY);
    let edge = Edge::start(sidecar).await;
    for _ in 0..7 {
        assert_eq!(edge.envoy.status_for(LISTED).await, 403);
    }
    assert!(until_status(&edge.envoy, "8.8.4.4", 403).await);
    edge.cli(&["ban", BANNED, "--for", "24h", "--reason", "scanner"])
        .await;
    edge.cli(&["unban", BANNED]).await;

    let thought = until_history(&edge.sidecar, "8.8.4.4", |it| {
        !events(it, "verdict").is_empty()
    });
    let thought = &events(&thought.await, "verdict")[0];
    assert_eq!(
        (&thought["action"], &thought["reason"]),
        (&"deny".into(), &"abuseipdb".into())
    );
    assert_eq!(
        (&thought["answered"], &thought["asked"]),
        (&1.into(), &1.into())
    );
    let word = &thought["sources"][0];
    assert_eq!(
        (&word["source"], &word["score"]),
        (&"abuseipdb".into(), &100.into())
    );

    let decided = until_history(&edge.sidecar, BANNED, |it| {
        events(it, "decision").len() == 2
    });
    let decided = events(&decided.await, "decision");
    assert_eq!(decided[0]["event"], "took_back");
    assert_eq!(decided[1]["event"], "gave");
    for decision in &decided {
        assert_eq!(
            (&decision["type"], &decision["reason"]),
            (&"ban".into(), &"scanner".into())
        );
        assert_eq!(decision["way"], "command line");
        assert!(decision["expires"].is_u64() && decision["decision"].is_string());
    }

    let refused = until_history(&edge.sidecar, LISTED, |it| it["totals"]["refused"] == 7).await;
    assert_eq!(refused["refusals"][0]["reason"], "listed");
    let text = edge.cli(&["history", LISTED, "--since", "1h"]).await;
    assert!(
        text.contains("7 requests refused") && text.contains("listed"),
        "{text}"
    );
    let text = edge.cli(&["history", BANNED]).await;
    assert!(
        text.contains("ban until 2") && text.contains("ban taken back"),
        "{text}"
    );
    assert!(no_vm_died(&edge.envoy));
}

#[tokio::test]
async fn what_is_thought_is_recorded_once_however_often_it_is_asked_and_again_when_it_changes() {
    let postgres = Postgres::start().await.unwrap();
    let one = sidecar_on(&postgres)
        .list("soft", "score = 90", "plain", "198.51.100.9")
        .unwrap();
    let file = one.file("soft");
    let one = one.start().await.unwrap();
    for _ in 0..20 {
        assert_eq!(look_up(&one, "198.51.100.9").await["band"], "suspicious");
        look_up(&one, "203.0.113.99").await;
    }
    until_history(&one, "198.51.100.9", |it| events(it, "verdict").len() == 1).await;
    // Another sidecar of the fleet thinks the same: that is no news.
    let two = sidecar_on(&postgres)
        .list("soft", "score = 90", "plain", "198.51.100.9")
        .unwrap()
        .start()
        .await
        .unwrap();
    look_up(&two, "198.51.100.9").await;
    std::fs::write(&file, "198.51.100.8").unwrap();
    let changed = eventually_async(LIMIT, || async {
        look_up(&one, "198.51.100.9").await["score"] == 0
    });
    assert!(changed.await);
    let history = until_history(&two, "198.51.100.9", |it| events(it, "verdict").len() == 2).await;
    let bands = events(&history, "verdict");
    let bands: Vec<_> = bands.iter().map(|it| it["band"].clone()).collect();
    assert_eq!(bands, ["clean", "suspicious"]);
    // Most of the world: nobody had a word on it.
    let nobody = history_of(&one, "203.0.113.99").await;
    assert!(events(&nobody, "verdict").is_empty(), "{nobody}");
}

#[tokio::test]
async fn a_history_is_read_in_pages_without_losing_or_repeating_an_event() {
    let postgres = Postgres::start().await.unwrap();
    let sidecar = sidecar_on(&postgres).start().await.unwrap();
    for _ in 0..5 {
        cli(&sidecar, &["ban", BANNED]).await;
        cli(&sidecar, &["unban", BANNED]).await;
    }
    let all = until_history(&sidecar, BANNED, |it| events(it, "decision").len() == 10).await;
    let (mut paged, mut before) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/history/{BANNED}?limit=3{before}");
        let page = sidecar.ask_admin(Request::get(&path)).await.unwrap();
        let page: Value = serde_json::from_str(&page.text()).unwrap();
        paged.extend(page["events"].as_array().cloned().unwrap());
        match page["next"].as_str() {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    assert_eq!(Value::from(paged), all["events"]);
}

#[tokio::test]
async fn a_database_that_is_named_later_is_taken_up_without_a_restart() {
    let postgres = Postgres::start().await.unwrap();
    let mut sidecar = sidecar_that_blocks(&[]).start().await.unwrap();
    let process = sidecar.process_id();
    let output = sidecar.cli(&["history", BANNED]).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("history.url"),
        "{said}"
    );
    let before = sidecar.config();
    sidecar
        .rewrite(&format!("{before}{}", postgres.toml()))
        .unwrap();
    assert!(until_up(&sidecar, true).await, "{}", sidecar.log());
    cli(&sidecar, &["ban", BANNED]).await;
    until_history(&sidecar, BANNED, |it| events(it, "decision").len() == 1).await;
    sidecar.rewrite(&before).unwrap();
    let off = eventually_async(LIMIT, || async {
        !sidecar
            .cli(&["history", BANNED])
            .await
            .unwrap()
            .status
            .success()
    });
    assert!(off.await, "{}", sidecar.log());
    assert_eq!(sidecar.process_id(), process);
}
