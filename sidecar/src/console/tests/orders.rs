//! What a person does on the pages, and what comes of it.

use super::*;

const CLIENT: &str = "198.51.101.7";

#[tokio::test]
async fn a_blocked_address_is_explained_unbanned_and_banned_again() {
    let desk = Desk::open().await;
    let mut browser = desk.signed_in().await;
    let page = format!("/address?of={CLIENT}");
    let nothing = browser.get(&page).await;
    assert!(
        nothing.body.contains("Nothing speaks against it"),
        "{}",
        nothing.body
    );
    let fields = [
        ("of", CLIENT),
        ("kind", "ban"),
        ("for", "24h"),
        ("reason", "credential stuffing"),
    ];
    let seen = browser.order("/decisions", "/decide", &fields).await;
    for said in [
        "is banned.",
        "an operator's ban",
        "credential stuffing",
        "Unban",
        "in 24 h",
    ] {
        let text = seen.body.replace("&#39;", "'");
        assert!(text.contains(said), "{said}: {text}");
    }
    assert_eq!(
        desk.harness.listed(CLIENT).as_deref(),
        Some("credential stuffing")
    );
    let seen = browser.order(&page, "/unban", &[("of", CLIENT)]).await;
    assert!(seen.body.contains("is taken back"), "{}", seen.body);
    assert_eq!(desk.harness.listed(CLIENT), None);
    // A notice is shown once.
    assert!(!browser.get(&page).await.body.contains("notice"));
    let number = desk.orders.trail().first().unwrap().number.to_string();
    let seen = browser
        .order("/decisions", "/undo", &[("order", &number)])
        .await;
    assert!(seen.body.contains("1 given again"), "{}", seen.body);
    assert!(desk.harness.listed(CLIENT).is_some());
}

#[tokio::test]
async fn what_was_typed_stays_where_it_is_refused() {
    let desk = Desk::open().await;
    let mut browser = desk.signed_in().await;
    for (field, value, said) in [
        ("of", "10.1", "not an IPv4 or IPv6 address"),
        ("kind", "bann", "write ban, throttle or allow"),
        ("for", "1 h", "not a duration"),
        ("reason", "a\nb", "one line"),
    ] {
        let mut fields = vec![
            ("of", CLIENT),
            ("kind", "ban"),
            ("for", "1h"),
            ("reason", "why"),
        ];
        fields.retain(|(name, _)| *name != field);
        fields.push((field, value));
        let seen = browser.fill("/decisions", "/decide", &fields).await;
        assert_eq!(seen.status, 422, "{}", seen.body);
        assert!(seen.body.contains(said), "{said}: {}", seen.body);
        let kept = if field == "reason" { CLIENT } else { "why" };
        assert!(
            seen.body.contains(&format!("value=\"{kept}\"")),
            "{}",
            seen.body
        );
    }
    assert!(desk.harness.intelligence.decisions().is_empty());
}

#[tokio::test]
async fn a_very_wide_prefix_is_asked_about_and_then_taken() {
    let desk = Desk::open().await;
    let mut browser = desk.signed_in().await;
    let fields = [("of", "8.0.0.0/7"), ("kind", "ban"), ("for", "1h")];
    let seen = browser.fill("/decisions", "/decide", &fields).await;
    assert_eq!(seen.status, 409);
    assert!(seen.body.contains("2^25 addresses"), "{}", seen.body);
    assert!(
        seen.body.contains("I mean this very wide prefix"),
        "{}",
        seen.body
    );
    let sure = [&fields[..], &[("wide", "yes")]].concat();
    browser.order("/decisions", "/decide", &sure).await;
    assert_eq!(desk.harness.intelligence.decisions().len(), 1);
}

#[tokio::test]
async fn decisions_are_found_by_address_prefix_id_and_words() {
    let desk = Desk::open().await;
    let mut browser = desk.signed_in().await;
    let many = (0..120).map(|at| ban(&format!("198.51.101.{at}"), &format!("case {at}")));
    let many: Vec<_> = many.chain([ban("203.0.114.0/24", "Whole Net")]).collect();
    let given = desk
        .harness
        .intelligence
        .give_decisions(many)
        .await
        .unwrap();
    let id = given.given.first().unwrap().id;
    let first = browser.get("/decisions").await;
    assert!(first.body.contains("1 to 50 of 121"), "{}", first.body);
    let last = browser.get("/decisions?page=3").await;
    assert!(last.body.contains("101 to 121 of 121"), "{}", last.body);
    let beyond = browser.get("/decisions?page=99999999999999999999").await;
    assert_eq!(beyond.status, 200);
    for (query, total) in [
        ("198.51.101.5", "1 to 1 of 1"),
        ("203.0.114.9", "1 to 1 of 1"),
        ("198.51.101.0/28", "1 to 16 of 16"),
        (&id.to_string(), "1 to 1 of 1"),
        ("whole%20net", "1 to 1 of 1"),
        ("case%2011", "1 to 11 of 11"),
    ] {
        let seen = browser.get(&format!("/decisions?q={query}")).await;
        assert!(seen.body.contains(total), "{query}: {}", seen.body);
    }
    let none = browser.get("/decisions?q=198.51.101.5&kind=allow").await;
    assert!(none.body.contains("Nothing is found"), "{}", none.body);
    let about = browser.get("/address?of=198.51.101.0/28").await;
    assert!(about.body.contains("1 to 16 of 16"), "{}", about.body);
}

#[tokio::test]
async fn one_decision_is_taken_back_where_it_stands() {
    let desk = Desk::open().await;
    let mut browser = desk.signed_in().await;
    let wide = desk
        .harness
        .intelligence
        .add_decision(ban("198.51.101.0/24", "net"))
        .await;
    let id = wide.unwrap().id.to_string();
    let page = format!("/address?of={CLIENT}");
    let seen = browser
        .order(&page, "/take-back", &[("id", &id), ("of", CLIENT)])
        .await;
    assert!(
        seen.body.contains("198.51.101.0/24 is taken back"),
        "{}",
        seen.body
    );
    assert!(
        seen.body.contains("Nothing speaks against it"),
        "{}",
        seen.body
    );
    let gone = browser.fill(&page, "/take-back", &[("id", &id)]).await;
    assert_eq!(gone.status, 404);
}
