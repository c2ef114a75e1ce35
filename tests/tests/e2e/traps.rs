//! The test build traps on command: what becomes of the request, of the others, and of what was known.

use kit::config::EdgeConfig;
use kit::envoy::EnvoyBuilder;
use kit::snapshot::{Draft, Line};
use kit::{Request, parts};
use serde_json::{Value, json};

use crate::common::{CANARY, LIMIT, RawEdge, Workers, until_status};

const CLIENT: &str = "203.0.113.5";
const NEWCOMER: &str = "203.0.113.6";
const POISON: &str = "203.0.113.66";
const VERDICTS: &str = "portcullis_verdicts_total";

/// An edge whose plugin is the test build with these settings.
async fn trapping(settings: Value, workers: u32) -> RawEdge {
    trapping_at(settings, workers, |_| {}).await
}

async fn trapping_at(
    settings: Value,
    workers: u32,
    change: impl FnOnce(&mut EdgeConfig),
) -> RawEdge {
    let with_trap = |envoy: EnvoyBuilder| {
        let trap = parts::wasm_trap().unwrap();
        let changed = envoy
            .concurrency(workers)
            .plugin(settings)
            .unwrap()
            .change(|config| {
                change(config);
                config.set_wasm(&trap)
            });
        changed.unwrap()
    };
    let edge = RawEdge::start_with(with_trap).await;
    edge.sidecar.publish(listing(1, &[CANARY]).build().unwrap());
    edge
}

fn listing(version: u64, addresses: &[&str]) -> Draft {
    let draft = Draft::version(version).with_lookups();
    let lines = addresses
        .iter()
        .map(|address| Line::listed(address).unwrap());
    lines.fold(draft, Draft::base)
}

/// Waits until the worker serves by its snapshot and has ticked since: from then on no death is put down to
/// the snapshot, and what it counted is seen.
async fn settled(edge: &RawEdge) {
    let denied = ["action=\"deny\"", "source=\"snapshot\""];
    for _ in 0..2 {
        assert!(
            until_status(&edge.envoy, CANARY, 403).await,
            "{}",
            edge.envoy.log()
        );
        let before = edge.envoy.metric(VERDICTS, &denied).await;
        let flushed = kit::eventually_async(LIMIT, || async {
            edge.envoy.status_for(CANARY).await;
            edge.envoy.metric(VERDICTS, &denied).await > before
        });
        assert!(flushed.await, "{}", edge.envoy.log());
    }
}

fn trapped(edge: &RawEdge) -> bool {
    edge.envoy.log().contains("trapping as the test asked")
}

/// Every worker refuses the canary and passes everybody else, and takes what is published next.
async fn recovers(edge: &mut RawEdge) {
    let log = || edge.envoy.log();
    let canary = kit::eventually_async(LIMIT, || async {
        edge.envoy.status_for(CANARY).await == 403 && edge.envoy.status_for(CLIENT).await == 200
    });
    assert!(canary.await, "{}", log());
    edge.sidecar
        .publish(listing(3, &[CANARY, NEWCOMER]).build().unwrap());
    let mut workers = Workers::of(&edge.envoy).await;
    assert!(
        workers.all_answer(NEWCOMER, 403).await,
        "takes nothing new: {}",
        log()
    );
    assert!(edge.envoy.is_alive());
}

#[tokio::test]
async fn a_trap_in_a_request_fails_that_request_and_no_later_one() {
    let mut edge = trapping(json!({"trap": "request_headers"}), 1).await;
    for _ in 0..3 {
        settled(&edge).await;
        let poison = Request::get("/").from_client(CLIENT).header("x-trap", "1");
        assert_eq!(edge.envoy.send(&poison).await.unwrap().status, 503);
        assert!(
            until_status(&edge.envoy, CLIENT, 200).await,
            "{}",
            edge.envoy.log()
        );
    }
    assert!(trapped(&edge));
    recovers(&mut edge).await;
}

#[tokio::test]
async fn a_trap_in_a_tick_hands_the_fetch_to_another_vm() {
    for number in [3, 4, 5] {
        let mut edge = trapping(json!({"trap": "tick", "trap_after": number}), 2).await;
        assert!(
            kit::eventually(LIMIT, || trapped(&edge)).await,
            "call {number}"
        );
        recovers(&mut edge).await;
    }
}

#[tokio::test]
async fn a_trap_in_an_answer_hands_the_fetch_to_another_vm() {
    for number in [1, 2, 3] {
        let settings = json!({"trap": "http_call_response", "trap_after": number});
        let mut edge = trapping(settings, 2).await;
        let seen = kit::eventually_async(LIMIT, || async {
            // Look-ups bring answers to the workers too.
            edge.envoy.status_for(NEWCOMER).await;
            trapped(&edge)
        });
        assert!(seen.await, "call {number}");
        recovers(&mut edge).await;
    }
}

/// With one worker the canary VM, the main thread's and the worker's come first; the fourth is the one
/// that replaces a VM which a request killed.
const REPLACEMENT: u32 = 4;

async fn replaced_twice(mut edge: RawEdge) {
    let draft = listing(2, &[CANARY]).base(Line::listed(POISON).unwrap().because("poison"));
    edge.sidecar.publish(draft.build().unwrap());
    settled(&edge).await;
    let poison = Request::get("/").from_client(POISON);
    assert_eq!(edge.envoy.send(&poison).await.unwrap().status, 503);
    recovers(&mut edge).await;
    let deaths = edge
        .envoy
        .log()
        .matches("trapping as the test asked")
        .count();
    assert_eq!(deaths, 2, "{}", edge.envoy.log());
}

#[tokio::test]
async fn a_trap_while_a_new_vm_is_configured_is_survived() {
    let settings = json!({
        "trap": "configure", "trap_after": REPLACEMENT, "trap_reason": "poison"
    });
    replaced_twice(trapping(settings, 1).await).await;
}

#[tokio::test]
async fn a_trap_while_a_new_vm_starts_is_survived() {
    let edge = trapping_at(json!({"trap_reason": "poison"}), 1, |config| {
        let text = json!({
            "@type": "type.googleapis.com/google.protobuf.StringValue",
            "value": format!("trap_vm_start {REPLACEMENT}"),
        });
        kit::config::insert(
            config.plugin_at("/vm_config").unwrap(),
            "configuration",
            text,
        );
    })
    .await;
    replaced_twice(edge).await;
}

#[tokio::test]
async fn a_snapshot_that_traps_three_vms_is_refused_by_the_next_one() {
    let edge = trapping(json!({"trap_reason": "by hand"}), 1).await;
    let deaths = || {
        let log = edge.envoy.log();
        log.matches("trapping as the test asked").count()
    };
    // The canary is listed under that reason: whoever looks it up in this snapshot dies.
    let died = kit::eventually_async(LIMIT, || async {
        edge.envoy.status_for(CANARY).await;
        deaths() >= 3
    });
    assert!(died.await, "{}", edge.envoy.log());
    assert!(
        until_status(&edge.envoy, CANARY, 200).await,
        "{}",
        edge.envoy.log()
    );
    for _ in 0..50 {
        assert_eq!(edge.envoy.status_for(CANARY).await, 200);
        assert_eq!(edge.envoy.status_for(CLIENT).await, 200);
    }
    assert_eq!(deaths(), 3, "the snapshot was tried again");
}

#[tokio::test]
async fn after_a_trap_in_a_request_the_next_listed_one_is_refused() {
    let edge = trapping(json!({"trap": "request_headers"}), 1).await;
    settled(&edge).await;
    for _ in 0..10 {
        let poison = Request::get("/").from_client(CLIENT).header("x-trap", "1");
        assert_eq!(edge.envoy.send(&poison).await.unwrap().status, 503);
        // Until the back-off is over Envoy itself answers.
        let end = tokio::time::Instant::now() + LIMIT;
        let mut status = 503;
        while status == 503 && tokio::time::Instant::now() < end {
            status = edge.envoy.status_for(CANARY).await;
        }
        assert_eq!(status, 403, "{}", edge.envoy.log());
    }
}
