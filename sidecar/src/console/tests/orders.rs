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

#[tokio::test]
async fn an_import_is_taken_whole_or_not_at_all() {
    let desk = Desk::open().await;
    let mut browser = desk.signed_in().await;
    let lines = "# ours\n198.51.101.1\n\n198.51.101.0/28, throttle, 1h, a, b\n10.1\n8.0.0.0/7\n\
                 198.51.101.9, bann\n";
    let fields = [
        ("lines", lines),
        ("kind", "ban"),
        ("for", ""),
        ("reason", "import"),
    ];
    let seen = browser.fill("/import", "/import", &fields).await;
    assert_eq!(seen.status, 422);
    for said in [
        "3 of 5 lines are faulty. Nothing was imported.",
        "not an IPv4 or IPv6 address",
        "is very wide: decide about it by itself",
        "write ban, throttle or allow",
        "198.51.101.0/28, throttle, 1h, a, b",
    ] {
        assert!(seen.body.contains(said), "{said}: {}", seen.body);
    }
    assert!(desk.harness.intelligence.decisions().is_empty());
    let good = "198.51.101.1\r\n198.51.101.0/28, throttle, 1h, a, b\r\n";
    let fields = [
        ("lines", good),
        ("kind", "ban"),
        ("for", "24h"),
        ("reason", "import"),
    ];
    let seen = browser.order("/import", "/import", &fields).await;
    assert!(
        seen.body.contains("2 decisions are imported"),
        "{}",
        seen.body
    );
    let found = desk.harness.intelligence.decisions();
    let said = |reason: &str| {
        found
            .iter()
            .find(|decision| decision.reason == reason)
            .unwrap()
    };
    assert_eq!(said("a, b").kind, reputation::DecisionKind::Throttle);
    assert_eq!(said("import").kind, reputation::DecisionKind::Ban);
    assert!(said("import").expires > said("a, b").expires);
}

#[tokio::test]
async fn a_file_is_imported_and_its_name_and_text_are_text() {
    let desk = Desk::open().await;
    let mut browser = desk.signed_in().await;
    let csrf = browser.get("/import").await.csrf();
    let mut send = async |file: &str| {
        let part = |name: &str, text: &str| {
            format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n")
        };
        let body = [
            part("csrf", &csrf),
            part("kind", "ban"),
            part("file\"; filename=\"<script>", file),
            "--b--\r\n".to_owned(),
        ]
        .concat();
        let head = "POST /import HTTP/1.1\r\ncontent-type: multipart/form-data; boundary=b\r\n";
        let length = body.len();
        browser
            .send(&format!("{head}content-length: {length}\r\n\r\n{body}"))
            .await
    };
    let seen = send("<script>alert(1)</script>").await;
    assert_eq!(seen.status, 422);
    assert!(seen.body.contains("&lt;script&gt;") && !seen.body.contains("<script"));
    assert_eq!(send("198.51.101.1\n198.51.101.2\n").await.status, 303);
    assert_eq!(desk.harness.intelligence.decisions().len(), 2);
}

#[tokio::test]
async fn a_million_faulty_lines_are_told_and_nothing_is_lost() {
    let desk = Desk::open().await;
    let mut browser = desk.signed_in().await;
    browser
        .order("/decisions", "/decide", &[("of", CLIENT), ("kind", "ban")])
        .await;
    let lines = "x\n".repeat(1_000_000);
    let fields = [("lines", lines.as_str()), ("kind", "ban")];
    let seen = browser.fill("/import", "/import", &fields).await;
    assert_eq!(seen.status, 422);
    let said = "1\u{202f}000\u{202f}000 of 1\u{202f}000\u{202f}000 lines are faulty. Nothing was imported.";
    assert!(
        seen.body.contains(said),
        "{}",
        &seen.body.chars().take(3000).collect::<String>()
    );
    assert!(seen.body.len() < 64 * 1024, "{}", seen.body.len());
    assert_eq!(desk.harness.intelligence.decisions().len(), 1);
    let larger = "x".repeat(import::LARGEST);
    let seen = browser
        .fill("/import", "/import", &[("lines", &larger)])
        .await;
    assert_eq!(seen.status, 413);
    assert_eq!(browser.get("/decisions").await.status, 200);
}

#[tokio::test]
async fn the_mode_is_switched_and_taken_back() {
    let desk = Desk::open().await;
    let mut browser = desk.signed_in().await;
    let seen = browser
        .order("/", "/mode", &[("mode", "monitor"), ("for", "1h")])
        .await;
    for said in ["Mode monitor is set.", "every route", "in 60 min"] {
        assert!(seen.body.contains(said), "{said}: {}", seen.body);
    }
    let modes = desk.harness.intelligence.modes();
    assert_eq!(modes.first().unwrap().mode, reputation::mode::Mode::Monitor);
    let seen = browser.order("/", "/mode/clear", &[]).await;
    assert!(seen.body.contains("No mode is set here"), "{}", seen.body);
    assert_eq!(
        browser.fill("/", "/mode", &[("mode", "on")]).await.status,
        422
    );
}

#[tokio::test]
async fn sources_secrets_and_the_trail_show_what_is_there_and_no_value() {
    let toml = "[[feed]]\nname = \"own\"\npath = \"{dir}/own.txt\"\nformat = \"plain\"\nblock = true\n\
                [[provider]]\nkind = \"abuseipdb\"\nkey = \"secret:abuse\"\n\
                [secret.abuse]\nfrom = \"file\"\nname = \"{dir}/key\"\nexpires = \"2027-03-01\"\n";
    let files = [
        ("own.txt", "198.51.101.1\nnonsense\n"),
        ("key", "k3y-of-ours"),
    ];
    let desk = Desk::open_on(Harness::start_with(&files, toml).await).await;
    let mut browser = desk.signed_in().await;
    for (page, said) in [
        ("/sources", vec!["own", "abuseipdb", "of 1000"]),
        ("/secrets", vec!["abuse", "2027-03-01", "good"]),
        ("/trail", vec!["signed in", "ada", "console", "127.0.0.1"]),
        (
            "/thresholds?malicious=70",
            vec!["Nothing was weighed lately", "value=\"70\""],
        ),
        ("/thresholds?malicious=x", vec!["must be a number"]),
        ("/thresholds?malicious=20", vec!["must be above suspicious"]),
        ("/", vec!["No proxy is configured here"]),
    ] {
        let seen = browser.get(page).await;
        assert_eq!(seen.status, 200, "{page}");
        for said in said {
            assert!(seen.body.contains(said), "{page}: {said}: {}", seen.body);
        }
        assert!(!seen.body.contains("k3y-of-ours"), "{page}");
    }
    let seen = browser.fill("/", "/release", &[("feed", "own")]).await;
    assert_eq!(seen.status, 409);
    let seen = browser.fill("/", "/release", &[("feed", "none")]).await;
    assert_eq!(seen.status, 404);
}

#[tokio::test]
async fn a_moved_threshold_shows_what_it_would_change() {
    let toml = "[[feed]]\nname = \"soft\"\npath = \"{dir}/soft.txt\"\nformat = \"plain\"\nscore = 60\n\
                weight = 0.5\n";
    let harness = Harness::start_with(&[("soft.txt", "198.51.101.1\n")], toml).await;
    let desk = Desk::open_on(harness).await;
    for _ in 0..3 {
        desk.harness.verdict("198.51.101.1").await;
    }
    let mut browser = desk.signed_in().await;
    let seen = browser.get("/thresholds?suspicious=20").await;
    assert!(seen.body.contains("3 more"), "{}", seen.body);
    assert!(seen.body.contains("3 fewer"), "{}", seen.body);
    assert!(seen.body.contains("<rect"), "{}", seen.body);
}
