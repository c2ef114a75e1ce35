//! Pages stay quick where very much is known.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use reputation::UnixSeconds;

use super::*;

const ENTRIES: u32 = 1_000_000;
const DECISIONS: u32 = 100_000;
/// Of a build for tests, on a busy machine: shipped builds are several times quicker.
const LIMIT: Duration = Duration::from_millis(100);

/// The fastest of some: other tests use the machine too, so that many are tried if need be.
async fn fastest(browser: &mut Browser<'_>, path: &str) -> Duration {
    let mut fastest = Duration::MAX;
    for tried in 0..60 {
        if tried >= 5 && fastest <= LIMIT {
            break;
        }
        let began = Instant::now();
        let seen = browser.get(path).await;
        fastest = fastest.min(began.elapsed());
        assert_eq!(seen.status, 200, "{path}");
    }
    fastest
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_million_entries_and_100_000_decisions_each_page_takes_under_100_ms() {
    let mut list = String::new();
    for at in 0..ENTRIES {
        let address = std::net::Ipv4Addr::from_bits(0x2d00_0000 + at * 3);
        // Writing to a string cannot fail.
        let _written = writeln!(list, "{address}");
    }
    let toml =
        "[[feed]]\nname = \"long\"\npath = \"{dir}/long.txt\"\nformat = \"plain\"\nblock = true\n";
    let desk = Desk::open_on(Harness::start_with(&[("long.txt", &list)], toml).await).await;
    desk.harness
        .published(|it| {
            it.find("45.0.0.3".parse().unwrap(), UnixSeconds(0))
                .is_some()
        })
        .await;
    let word = |at: u32| {
        let address = std::net::Ipv4Addr::from_bits(0xc612_0000 + at);
        ban(&address.to_string(), &format!("case {at}"))
    };
    let words = (0..DECISIONS).map(word).collect();
    desk.harness
        .intelligence
        .give_decisions(words)
        .await
        .unwrap();
    let mut browser = desk.signed_in().await;
    let mut slow = Vec::new();
    for path in [
        "/",
        "/decisions",
        "/decisions?page=1999",
        "/decisions?q=case%2099",
        "/decisions?q=198.18.0.0/20",
        "/address?of=45.0.0.3",
        "/address?of=198.18.0.9",
        "/sources",
        "/thresholds",
        "/trail",
    ] {
        let took = fastest(&mut browser, path).await;
        println!("{path}: {took:?}");
        if took > LIMIT {
            slow.push((path, took));
        }
    }
    assert!(slow.is_empty(), "{slow:?}");
}
