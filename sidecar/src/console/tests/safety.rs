//! Who is let in, what a browser may do with a page, and what foreign text becomes.

use super::*;

#[tokio::test]
async fn every_answer_has_its_headers_and_pages_load_nothing_from_elsewhere() {
    let desk = Desk::open().await;
    let mut browser = desk.signed_in().await;
    let mut stranger = desk.stranger();
    let seen = [
        stranger.get("/login").await,
        stranger.get("/decisions").await,
        browser.get("/").await,
        browser.get("/address?of=198.51.101.7").await,
        browser.get("/address?of=nonsense").await,
        browser.send(&post("/decide", &[])).await,
    ];
    let statuses: Vec<_> = seen.iter().map(|seen| seen.status).collect();
    assert_eq!(statuses, [200, 303, 200, 200, 400, 403]);
    for seen in &seen {
        let policy = seen.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(seen.header("x-frame-options"), Some("DENY"));
        assert_eq!(seen.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(seen.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(seen.header("cache-control"), Some("no-store"));
        for foreign in ["http:", "https:", "//", "<script", " style=", " onclick="] {
            assert!(!seen.body.contains(foreign), "{foreign}: {}", seen.body);
        }
    }
}

#[tokio::test]
async fn the_style_sheet_is_ours_and_may_be_kept() {
    let desk = Desk::open().await;
    let mut stranger = desk.stranger();
    let page = stranger.get("/login").await;
    let (_, rest) = page.body.split_once("stylesheet\" href=\"").unwrap();
    let path = rest.split('"').next().unwrap();
    let style = stranger.get(path).await;
    assert_eq!(style.status, 200);
    assert_eq!(
        style.header("content-type"),
        Some("text/css; charset=utf-8")
    );
    assert!(style.header("cache-control").unwrap().contains("immutable"));
    assert!(!style.body.contains("url("), "asks for something else");
    assert_eq!(stranger.get("/assets/console.0.css").await.status, 303);
}

#[tokio::test]
async fn the_cookie_is_out_of_reach_for_scripts_and_other_sites() {
    let desk = Desk::open().await;
    let mut browser = desk.stranger();
    let fields = [("token", desk.token.as_str())];
    let plain = browser.send(&post("/login", &fields)).await;
    let cookie = plain.header("set-cookie").unwrap();
    assert!(cookie.starts_with("portcullis="), "{cookie}");
    assert!(
        cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"),
        "{cookie}"
    );

    let over_tls = post("/login", &fields).replacen("\r\n", "\r\nx-forwarded-proto: https\r\n", 1);
    let over_tls = browser.send(&over_tls).await;
    let cookie = over_tls.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-portcullis="), "{cookie}");
    assert!(
        cookie.ends_with("HttpOnly; SameSite=Strict; Secure"),
        "{cookie}"
    );
    // Without TLS that cookie is none.
    assert_eq!(browser.get("/decisions").await.status, 303);
}

#[tokio::test]
async fn a_forged_cookie_opens_nothing() {
    let desk = Desk::open().await;
    let signed_in = desk.signed_in().await;
    let good = signed_in.cookie.clone().unwrap();
    let mut forger = desk.stranger();
    let changed = good.replacen(|digit: char| digit.is_ascii_digit(), "a", 3);
    for forged in [
        "portcullis=".to_owned(),
        format!("portcullis={}", "0".repeat(64)),
        format!("portcullis={}", desk.token),
        format!("{good}0"),
        changed,
        format!("__Host-{good}"),
        "portcullis=\u{1f600}".to_owned(),
    ] {
        forger.cookie = Some(forged.clone());
        let seen = forger.get("/decisions").await;
        assert_eq!(
            (seen.status, seen.header("location")),
            (303, Some("/login")),
            "{forged}"
        );
        let sent = forger
            .send(&post("/decide", &[("of", "198.51.101.7")]))
            .await;
        assert_eq!(sent.status, 403, "{forged}");
    }
    forger.cookie = Some(format!("other=1; {good}"));
    assert_eq!(forger.get("/decisions").await.status, 200);
}

#[tokio::test]
async fn a_form_without_its_token_or_from_another_site_does_nothing() {
    let desk = Desk::open().await;
    let mut browser = desk.signed_in().await;
    let csrf = browser.get("/decisions").await.csrf();
    let fields = [("of", "198.51.101.7"), ("kind", "ban")];
    let good = [&[("csrf", csrf.as_str())], &fields[..]].concat();
    let foreign = |header: &str| post("/decide", &good).replacen("\r\n", header, 1);
    let other = desk.signed_in().await.get("/decisions").await.csrf();
    for request in [
        post("/decide", &fields),
        post("/decide", &[&[("csrf", "")], &fields[..]].concat()),
        post(
            "/decide",
            &[&[("csrf", other.as_str())], &fields[..]].concat(),
        ),
        foreign("\r\nsec-fetch-site: cross-site\r\n"),
        foreign("\r\norigin: http://evil.example\r\n"),
    ] {
        let seen = browser.send(&request).await;
        assert_eq!(seen.status, 403, "{request}");
        assert!(seen.body.contains("nothing was done"), "{}", seen.body);
    }
    assert!(desk.harness.intelligence.decisions().is_empty());
    assert_eq!(
        browser
            .send(&foreign("\r\nsec-fetch-site: same-origin\r\n"))
            .await
            .status,
        303
    );
    assert_eq!(desk.harness.intelligence.decisions().len(), 1);
    // An order is not a link.
    assert_eq!(
        browser.get("/decide?of=198.51.101.8&kind=ban").await.status,
        405
    );
}

#[tokio::test]
async fn signing_out_ends_the_session_for_good() {
    let desk = Desk::open().await;
    let mut browser = desk.signed_in().await;
    let seen = browser.fill("/", "/logout", &[]).await;
    assert_eq!(
        (seen.status, seen.header("location")),
        (303, Some("/login"))
    );
    assert_eq!(browser.get("/").await.header("location"), Some("/login"));
    let names: Vec<_> = desk
        .orders
        .trail()
        .iter()
        .map(|entry| (entry.operator.name.clone(), entry.act.sentence()))
        .collect();
    let ada = |what: &str| ("ada".to_owned(), what.to_owned());
    assert_eq!(names, [ada("signed out"), ada("signed in")]);
}

#[tokio::test]
async fn a_wrong_token_is_told_so_and_the_name_stays_typed() {
    let desk = Desk::open().await;
    let mut browser = desk.stranger();
    let seen = browser
        .send(&post("/login", &[("token", "guess"), ("name", "<ada>")]))
        .await;
    assert_eq!(seen.status, 401);
    assert!(seen.body.contains("not the admin token"), "{}", seen.body);
    assert!(seen.body.contains("value=\"&lt;ada&gt;\""), "{}", seen.body);
    assert_eq!(seen.header("set-cookie"), None);
    assert!(!seen.body.contains("guess"));
}

#[tokio::test]
async fn script_in_whatever_others_wrote_is_text() {
    let desk = Desk::open().await;
    let mut browser = desk.signed_in().await;
    let evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";
    let intelligence = &desk.harness.intelligence;
    let mut decision = ban("198.51.101.7", evil);
    decision.author = evil.to_owned();
    intelligence.add_decision(decision).await.unwrap();
    let escaped = "&lt;script&gt;alert(1)&lt;/script&gt;&quot;";
    let search = "/decisions?q=%3Cscript%3Ealert(1)%3C/script%3E%22";
    for page in ["/decisions", "/address?of=198.51.101.7", search] {
        let seen = browser.get(page).await;
        assert!(!seen.body.contains("<script"), "{page}: {}", seen.body);
        assert!(!seen.body.contains("<img src=x"), "{page}");
        assert!(seen.body.contains(escaped), "{page}: {}", seen.body);
    }
    let of = "/address?of=%3Cscript%3E";
    let seen = browser.get(of).await;
    assert!(!seen.body.contains("<script"), "{}", seen.body);
}
