//! Who is being blocked, on the first page and on the client's own.

use serde_json::{Value, json};

use super::*;

fn refused(client: &str, mode: &str, count: u64) -> Value {
    json!({
        "client": client, "action": "deny", "mode": mode, "reason": "<script>alert(1)</script>",
        "decision": "0d8a70cfa95060ac", "count": count, "first_s": 90, "last_s": 0,
    })
}

#[tokio::test]
async fn the_first_page_leads_to_who_is_blocked_and_shows_foreign_text_as_text() {
    let desk = Desk::open().await;
    let mut browser = desk.signed_in().await;
    let nobody = browser.get("/").await.body;
    assert!(
        nobody.contains("No proxy has reported a blocked client"),
        "{nobody}"
    );
    let address = browser.get("/address?of=2001:db8::7").await.body;
    assert!(!address.contains("Its blocked requests"), "{address}");

    let others = (0..30).map(|at| refused(&format!("192.0.2.{at}"), "monitor", 1));
    let clients: Vec<_> = others
        .chain([refused("2001:db8::7", "enforce", 1234)])
        .collect();
    let report = json!({"left_out": 17, "clients": clients}).to_string();
    desk.refusals.take(report.as_bytes()).unwrap();
    let now = browser.get("/").await.body;
    let (_, table) = now.split_once("Blocked clients").unwrap();
    let first = table.split_once("<td").unwrap().1;
    assert!(
        first.contains("href=\"/address?of=2001%3Adb8%3A%3A7\""),
        "{first}"
    );
    for said in [
        "1\u{202f}234",
        "refused",
        "would be refused",
        "&lt;script&gt;",
        "11 more",
        "17 requests",
    ] {
        assert!(now.contains(said), "{said}: {now}");
    }
    assert!(!now.contains("<script"));
    let address = browser.get("/address?of=2001:db8::7").await.body;
    assert!(
        address.contains("over the last hour: at most 1\u{202f}234"),
        "{address}"
    );
}
