//! A hundred proxies that start at once get what they ask for, and keep nothing busy that others need. How fast, and
//! with a list as long as those of operators, `cargo xtask soak proxies` measures.

use std::fmt::Write as _;
use std::time::Duration;

use kit::{RawProxy, Request, eventually};

use crate::common::{LIMIT, cli};

const PROXIES: usize = 100;
/// Several parts.
const LISTED: u32 = 40_000;
const HELD: &str = "/v1/verdict/198.51.100.7?wait_ms=8";
/// The sidecar's other files: its store, its list, what asks for its metrics.
const OTHER_FILES: usize = 16;

#[tokio::test]
async fn a_hundred_proxies_that_start_at_once_get_the_snapshot_and_each_ban_after_it() {
    let mut list = String::new();
    for number in 0..LISTED {
        let [_, high, middle, low] = (number * 7).to_be_bytes();
        writeln!(list, "16.{high}.{middle}.{low}").unwrap();
    }
    let builder = kit::Sidecar::builder().unwrap();
    let builder = builder.list("listed", "block = true", "plain", &list);
    let sidecar = builder.unwrap().start().await.unwrap();
    let files = sidecar.open_files();
    let edge = sidecar.edge();
    let starting = (0..PROXIES).map(|_| {
        tokio::spawn(async move {
            let mut proxy = RawProxy::connect(edge).await.unwrap();
            assert!(proxy.pull().await.unwrap());
            proxy
        })
    });
    let starting: Vec<_> = starting.collect();
    let verdict = tokio::time::timeout(LIMIT, Request::get(HELD).send(edge)).await;
    assert_eq!(verdict.unwrap().unwrap().status, 200);
    let mut polling = Vec::new();
    for starting in starting {
        let mut proxy = starting.await.unwrap();
        polling.push(tokio::spawn(async move {
            assert!(proxy.pull().await.unwrap(), "it was told of no ban");
            proxy
        }));
    }
    assert!(sidecar.open_files() <= files + 2 * PROXIES + OTHER_FILES);
    cli(&sidecar, &["ban", "203.0.113.5"]).await;
    let mut proxies = Vec::new();
    for polling in polling {
        let proxy = tokio::time::timeout(Duration::from_secs(20), polling).await;
        proxies.push(proxy.unwrap().unwrap());
    }
    let versions: std::collections::HashSet<_> =
        proxies.iter().map(|proxy| proxy.version()).collect();
    assert_eq!(versions.len(), 1, "{versions:?}");
    assert!(proxies[0].is_whole());
    assert!(
        proxies[0].length() > 2 * 128 * 1024,
        "{}",
        proxies[0].length()
    );
    drop(proxies);
    assert!(eventually(LIMIT, || sidecar.open_files() <= files + OTHER_FILES).await);
}
