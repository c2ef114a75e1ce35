//! The console, as a person at a real browser sees it, in front of the real edge.

use std::path::PathBuf;
use std::time::Duration;

use kit::browser::Look;
use kit::{Browser, eventually_async};

use crate::common::{Edge, sidecar_that_blocks, until_status};

const CLIENT: &str = "203.0.113.77";
const LISTED: &str = "198.51.100.23";
/// Finds what a person with a screen reader, a keyboard or weak eyes would stumble over.
const FLAWS: &str = include_str!("flaws.js");

struct Desk {
    edge: Edge,
    browser: Browser,
}

impl Desk {
    /// Somebody is signed in by the form.
    async fn open() -> Self {
        let edge = Edge::start(sidecar_that_blocks(&[LISTED])).await;
        let stats = edge.envoy.stats_address();
        let with_stats = format!(
            "{}\n[envoy]\nstats = [\"http://{stats}/stats/prometheus\"]\nevery = \"1s\"\n",
            edge.sidecar.config()
        );
        edge.sidecar.rewrite(&with_stats).unwrap();
        let browser = Browser::start().await.unwrap();
        let desk = Self { edge, browser };
        desk.browser.go(&desk.url("/decisions")).await.unwrap();
        desk
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.edge.sidecar.admin())
    }

    async fn sign_in(&self) {
        let token = self.edge.sidecar.token();
        self.browser.enter("#name", "ada").await.unwrap();
        self.browser
            .enter("#token", &format!("{token}\u{e007}"))
            .await
            .unwrap();
        assert!(self.browser.says("Sign out").await, "not signed in");
    }

    /// Looks at the page in each way, keeps a picture of it, and names what is wrong with it.
    async fn looked_at(&self, name: &str) -> Vec<String> {
        let mut flaws = Vec::new();
        for look in [Look::LIGHT, Look::DARK, Look::PHONE] {
            self.browser.look(look).await.unwrap();
            let found = self.browser.script(FLAWS).await.unwrap();
            let found = found.as_array().cloned().unwrap();
            flaws.extend(
                found
                    .iter()
                    .map(|flaw| format!("{name}, {}: {flaw}", look.name)),
            );
            let file = pictures().join(format!("{name}-{}.png", look.name));
            self.browser.screenshot(&file).await.unwrap();
        }
        self.browser.look(Look::LIGHT).await.unwrap();
        let complaints = self.browser.complaints().await.unwrap();
        flaws.extend(
            complaints
                .iter()
                .map(|line| format!("{name}: the browser says {line}")),
        );
        flaws
    }
}

/// Where the pictures are left for whoever wants to look.
fn pictures() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || kit::parts::in_checkout("target"),
        kit::parts::in_checkout,
    );
    let folder = target.join("console");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[tokio::test]
async fn a_blocked_client_is_found_understood_unbanned_and_passes() {
    let desk = Desk::open().await;
    let browser = &desk.browser;
    let ban = [
        "ban",
        CLIENT,
        "--for",
        "24h",
        "--reason",
        "credential stuffing",
    ];
    desk.edge.cli(&ban).await;
    assert!(until_status(&desk.edge.envoy, CLIENT, 403).await);

    desk.sign_in().await;
    // No script, not even one in the page, can read the cookie.
    assert_eq!(browser.script("return document.cookie").await.unwrap(), "");
    // Who is blocked stands on the first page, and leads on.
    let listed = eventually_async(Duration::from_secs(10), || async {
        browser.go(&desk.url("/")).await.unwrap();
        browser.text("body").await.unwrap().contains(CLIENT)
    });
    assert!(listed.await, "{}", browser.text("body").await.unwrap());
    browser
        .click(&format!("a[href='/address?of={CLIENT}']"))
        .await
        .unwrap();
    assert!(browser.says("Its blocked requests").await);
    for said in [
        "refused",
        "an operator's ban",
        "credential stuffing",
        CLIENT,
    ] {
        assert!(
            browser.says(said).await,
            "{said}: {}",
            browser.text("body").await.unwrap()
        );
    }
    browser.click("form[action='/unban'] button").await.unwrap();
    assert!(
        browser.says("is taken back").await,
        "{}",
        browser.text("body").await.unwrap()
    );
    assert!(until_status(&desk.edge.envoy, CLIENT, 200).await);

    browser.go(&desk.url("/decisions")).await.unwrap();
    browser.click("form[action='/undo'] button").await.unwrap();
    assert!(browser.says("1 given again").await);
    assert!(until_status(&desk.edge.envoy, CLIENT, 403).await);

    // A list's word is no ban: what helps is an allow.
    browser
        .enter("#find", &format!("{LISTED}\u{e007}"))
        .await
        .unwrap();
    assert!(browser.says("a blocking list").await);
    browser
        .click("form[action='/decide'] button")
        .await
        .unwrap();
    assert!(browser.says("is allowed").await);
    assert!(until_status(&desk.edge.envoy, LISTED, 200).await);

    browser
        .click("form[action='/logout'] button")
        .await
        .unwrap();
    assert!(browser.says("Sign in").await);
    browser.go(&desk.url("/trail")).await.unwrap();
    assert!(browser.says("Sign in").await);
}

#[tokio::test]
async fn every_page_can_be_read_and_used_by_everybody_and_asks_no_other_host() {
    let desk = Desk::open().await;
    let browser = &desk.browser;
    let mut flaws = desk.looked_at("login").await;
    desk.sign_in().await;
    for at in 0..30 {
        let reason = ["credential stuffing", "scraping", "port scan"][at % 3];
        let address = format!("203.0.113.{at}");
        desk.edge
            .cli(&["ban", &address, "--for", "24h", "--reason", reason])
            .await;
    }
    assert!(until_status(&desk.edge.envoy, "203.0.113.29", 403).await);
    for _ in 0..20 {
        desk.edge.envoy.status_for("203.0.113.29").await;
        desk.edge.envoy.status_for("192.0.2.9").await;
    }
    let read = eventually_async(Duration::from_secs(10), || async {
        browser.go(&desk.url("/")).await.unwrap();
        browser.text("body").await.unwrap().contains("answers")
    });
    assert!(read.await, "the proxy is not read");
    for (name, path) in [
        ("now", "/"),
        ("address", "/address?of=203.0.113.29"),
        ("listed", &format!("/address?of={LISTED}")),
        ("decisions", "/decisions"),
        ("import", "/import"),
        ("sources", "/sources"),
        ("secrets", "/secrets"),
        ("thresholds", "/thresholds?malicious=70"),
        ("trail", "/trail"),
        ("fault", "/address?of=nonsense"),
    ] {
        browser.go(&desk.url(path)).await.unwrap();
        flaws.extend(desk.looked_at(name).await);
    }
    // A refused page is a fault in the browser's eyes too.
    flaws.retain(|flaw| !(flaw.starts_with("fault:") && flaw.contains("status of 400")));
    assert!(flaws.is_empty(), "{flaws:#?}");

    // The keyboard leads past the menu at once.
    browser.go(&desk.url("/decisions")).await.unwrap();
    browser.enter("body", "\u{e004}").await.unwrap();
    let focused = browser
        .script("return document.activeElement.textContent")
        .await
        .unwrap();
    assert_eq!(focused, "Skip to the content");
}
