//! How long real lists take. Only where the list is there and the build is optimised:
//! `PORTCULLIS_LIST=ipsum.txt cargo test --release -p sidecar -- speed --nocapture`.

use std::time::Instant;

use reputation::DecisionKind;

use crate::intelligence::NewDecision;
use crate::intelligence::testing::Harness;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_list_is_published_in_well_under_a_second() {
    let Ok(path) = std::env::var("PORTCULLIS_LIST") else {
        println!("skipped: PORTCULLIS_LIST names no list");
        return;
    };
    let config =
        format!("[[feed]]\nname = \"list\"\npath = \"{path}\"\nformat = \"plain\"\nblock = true\n");
    let began = Instant::now();
    let harness = Harness::start(&config).await;
    let first = harness.published(|_| true).await;
    let published = began.elapsed();
    let status = harness.intelligence.feeds().swap_remove(0);
    let began = Instant::now();
    let ban = NewDecision {
        cidr: "203.0.113.7".parse().unwrap(),
        kind: DecisionKind::Ban,
        reason: String::new(),
        author: String::new(),
        ttl: None,
        force: false,
    };
    harness.intelligence.add_decision(ban).await.unwrap();
    println!(
        "{} entries, an image of {} bytes: published after {published:?}; a ban after {:?}",
        status.entries,
        first.manifest.base.length,
        began.elapsed()
    );
}
