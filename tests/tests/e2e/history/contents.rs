//! What strangers write ends as text: quotes, control characters, any length, any spelling of an address.

use kit::{Postgres, Request, Sidecar};
use serde_json::{Value, json};

use super::{events, history_of, look_up, sidecar_on, until_history};
use crate::common::cli;

async fn ban(sidecar: &Sidecar, body: &Value) -> u16 {
    let body = body.to_string().into_bytes();
    let answer = sidecar
        .ask_admin(Request::post("/v1/decisions", body))
        .await;
    answer.unwrap().status
}

#[tokio::test]
async fn hostile_texts_are_refused_or_kept_as_what_they_are() {
    let postgres = Postgres::start().await.unwrap();
    let sidecar = sidecar_on(&postgres).start().await.unwrap();
    let quotes = "it's \"x\"; DROP TABLE portcullis.verdict; -- \\ $1 %s {}";
    let long = "y".repeat(10_240);
    for (address, reason) in [("203.0.113.1", quotes), ("203.0.113.2", &long)] {
        let body = json!({"cidr": address, "type": "ban", "reason": reason, "author": quotes});
        assert_eq!(ban(&sidecar, &body).await, 201);
        let history = until_history(&sidecar, address, |it| events(it, "decision").len() == 1);
        let kept = &events(&history.await, "decision")[0];
        let expected: String = reason.chars().take(200).collect();
        assert_eq!(kept["reason"], expected);
        assert_eq!(
            (&kept["author"], &kept["operator"]),
            (&quotes.into(), &quotes.into())
        );
    }
    let nul = json!({"cidr": "203.0.113.3", "type": "ban", "reason": "a\0b"});
    assert_eq!(ban(&sidecar, &nul).await, 422);
    let named =
        json!({"cidr": "203.0.113.3", "type": "ban", "reason": "x", "author": "a\u{202e}b\0"});
    assert_eq!(ban(&sidecar, &named).await, 422);
    assert!(events(&history_of(&sidecar, "203.0.113.3").await, "decision").is_empty());
}

#[tokio::test]
async fn an_address_has_one_history_however_it_is_written() {
    let postgres = Postgres::start().await.unwrap();
    let sidecar = sidecar_on(&postgres).start().await.unwrap();
    cli(&sidecar, &["ban", "2001:db8:7::/48"]).await;
    for spelling in [
        "2001:db8:7::9",
        "2001:0DB8:0007:0000:0:0:0:9",
        "2001:db8:7:0::0.0.0.9",
    ] {
        look_up(&sidecar, "2001:db8:7::9").await;
        let history = until_history(&sidecar, spelling, |it| {
            events(it, "decision").len() == 1 && events(it, "verdict").len() == 1
        });
        let history = history.await;
        assert_eq!(history["address"], "2001:db8:7::9");
        assert_eq!(events(&history, "decision")[0]["prefix"], "2001:db8:7::/48");
    }
    // A neighbour has the decision too, and the verdict if that held for it.
    let verdict = &events(&history_of(&sidecar, "2001:db8:7::9").await, "verdict")[0];
    let neighbour = history_of(&sidecar, "2001:db8:7::1:9").await;
    let shared = verdict["scope"] == "2001:db8:7::/64";
    assert_eq!(
        events(&neighbour, "verdict").len(),
        usize::from(shared),
        "{verdict}"
    );
    assert_eq!(events(&neighbour, "decision").len(), 1);
    cli(&sidecar, &["ban", "203.0.113.4"]).await;
    until_history(&sidecar, "::ffff:203.0.113.4", |it| {
        events(it, "decision").len() == 1
    })
    .await;
}
