//! What a client, a sidecar gone mad and an operator in a hurry can do to the plugin: nothing that lasts.

use std::time::Duration;

use kit::raw_sidecar::Behaviour;
use kit::serve::Answer;
use kit::snapshot::{Draft, Line};
use kit::{Request, eventually};
use reputation::mode::{Mode, ModeOverride};
use serde_json::{Value, json};

use crate::common::{CANARY, LIMIT, RawEdge, no_vm_died, until_metric, until_status};

const LOOKUPS: &str = "portcullis_lookups_total";

/// Everybody but the canary is asked about and held; answers take their time.
async fn holding(settings: Value, late: Duration) -> RawEdge {
    let edge = RawEdge::start_with(|envoy| envoy.plugin(settings).unwrap()).await;
    edge.sidecar.publish(asking(1).build().unwrap());
    assert!(until_status(&edge.envoy, CANARY, 403).await);
    assert!(edge.envoy.until_snapshot(LIMIT).await.unwrap());
    edge.sidecar.on_verdicts(Behaviour::Late(late));
    edge
}

fn asking(version: u64) -> Draft {
    let draft = Draft::version(version).with_lookups();
    draft.base(Line::listed(CANARY).unwrap())
}

#[tokio::test]
async fn clients_that_leave_while_held_give_their_places_back() {
    let settings = json!({"unknown": "hold", "hold_ms": 400, "limits": {"held": 4}});
    let edge = holding(settings, Duration::from_millis(100)).await;
    for round in 1..=5_u8 {
        let mut leaving = Vec::new();
        for client in 0..4_u8 {
            let mut connection = edge.envoy.connect().await.unwrap();
            let client = format!("198.51.{round}.{client}");
            let request = Request::get("/").from_client(&client);
            connection.write(&request.head()).await.unwrap();
            let path = format!("/v1/verdict/{client}");
            let asked = eventually(LIMIT, || !edge.sidecar.asked(&path).is_empty());
            assert!(asked.await, "{client}");
            leaving.push(connection);
        }
        drop(leaving);
        let answered = f64::from(round) * 4.0;
        assert!(until_metric(&edge.envoy, LOOKUPS, &["outcome=\"ok\""], answered).await);
    }
    edge.sidecar.denies("203.0.113.9");
    let first = edge.envoy.status_for("203.0.113.9").await;
    assert_eq!(first, 403, "it was not held");
    assert!(no_vm_died(&edge.envoy), "{}", edge.envoy.log());
}

#[tokio::test]
async fn a_client_that_sends_half_a_body_while_held_is_refused_all_the_same() {
    let settings = json!({"unknown": "hold", "hold_ms": 1000});
    let edge = holding(settings, Duration::from_millis(200)).await;
    edge.sidecar.denies("203.0.113.2");
    let request = Request::new("POST", "/")
        .from_client("203.0.113.2")
        .header("content-length", "1000");
    let mut connection = edge.envoy.connect().await.unwrap();
    connection.write(&request.head()).await.unwrap();
    connection.write(&[b'x'; 500]).await.unwrap();
    assert_eq!(connection.receive("POST").await.unwrap().status, 403);
    assert_eq!(edge.envoy.status_for("203.0.113.3").await, 200);
    assert!(no_vm_died(&edge.envoy));
}

#[tokio::test]
async fn verdicts_of_a_sidecar_gone_mad_harm_nobody_but_the_address_they_are_about() {
    let edge = holding(json!({"unknown": "hold", "hold_ms": 2000}), Duration::ZERO).await;
    let mad = |changes: Value| {
        let mut verdict = json!({
            "action": "deny", "band": "malicious", "score": 95, "reason": "mad",
            "ttl_s": 60, "provisional": false, "rank": "score", "scope": "203.0.113.0/24",
        });
        kit::config::merge(&mut verdict, changes);
        Behaviour::Always(Answer::json(&verdict))
    };
    for (number, (answer, status)) in [
        (mad(json!({"scope": "0.0.0.0/0", "ttl_s": u32::MAX})), 403),
        (
            mad(json!({"reason": "a\r\nset-cookie: b\u{0}\u{1b}[31m", "ttl_s": 0})),
            403,
        ),
        (mad(json!({"scope": "::/0"})), 200),
        (mad(json!({"score": 255})), 200),
        (mad(json!({"ttl_s": -1})), 200),
        (mad(json!({"reason": "x".repeat(20_000_000)})), 200),
    ]
    .into_iter()
    .enumerate()
    {
        let client = format!("203.0.113.{}", number + 10);
        edge.sidecar.on_verdicts(answer);
        let answer = edge
            .envoy
            .send(&Request::get("/").from_client(&client))
            .await;
        let answer = answer.unwrap();
        assert_eq!(answer.status, status, "{number}");
        assert_eq!(answer.header("set-cookie"), None);
        edge.sidecar.on_verdicts(Behaviour::Good);
        let neighbour = format!("203.0.113.{}", number + 100);
        assert_eq!(edge.envoy.status_for(&neighbour).await, 200, "{number}");
    }
    assert!(no_vm_died(&edge.envoy), "{}", edge.envoy.log());
}

#[tokio::test]
async fn manifests_of_a_sidecar_gone_mad_do_not_shut_out_good_ones() {
    let edge = holding(json!({}), Duration::ZERO).await;
    let mut last = Draft::version(2).build().unwrap();
    last.manifest.version.epoch = u64::MAX;
    edge.sidecar.publish(last);
    let refused = "portcullis_snapshot_refused_total";
    assert!(until_metric(&edge.envoy, refused, &["cause=\"malformed\""], 1.0).await);
    let mut many = asking(u64::MAX).build().unwrap();
    many.manifest.modes = (0..8_000)
        .map(|number| ModeOverride {
            mode: Mode::Off,
            route: Some(format!("{number}-*")),
            until: None,
        })
        .collect();
    edge.sidecar.publish(many);
    let taken = eventually(LIMIT, || edge.envoy.log().contains("modes are ignored"));
    assert!(taken.await, "{}", edge.envoy.log());
    assert_eq!(edge.envoy.status_for(CANARY).await, 403);
    let mut good = Draft::version(1).base(Line::listed("203.0.113.7").unwrap());
    good = good.base(Line::listed(CANARY).unwrap());
    let mut good = good.build().unwrap();
    good.manifest.version.epoch = 2;
    edge.sidecar.publish(good);
    assert!(until_status(&edge.envoy, "203.0.113.7", 403).await);
    assert!(no_vm_died(&edge.envoy), "{}", edge.envoy.log());
}

#[tokio::test]
async fn a_new_configuration_releases_or_keeps_those_who_are_held() {
    let held = json!({"unknown": "hold", "hold_ms": 3000});
    let edge = RawEdge::start_with(|envoy| envoy.plugin(held).unwrap()).await;
    edge.sidecar.publish(asking(1).build().unwrap());
    assert!(until_status(&edge.envoy, CANARY, 403).await);
    edge.sidecar.denies("203.0.113.2");
    edge.sidecar
        .on_verdicts(Behaviour::Late(Duration::from_millis(1500)));

    // Other settings, same sidecar: whoever waits gets the answer.
    let mut held = hold(&edge, "203.0.113.2").await;
    let other = json!({"hold_ms": 2500, "allow": ["203.0.113.8"]});
    edge.envoy.push_plugin(other).await.unwrap();
    assert_eq!(held.receive("GET").await.unwrap().status, 403);
    assert!(until_status(&edge.envoy, "203.0.113.8", 200).await);

    // Another sidecar: nobody waits for the old one.
    let mut held = hold(&edge, "203.0.113.4").await;
    let other = json!({"sidecar": {"authority": "b"}});
    edge.envoy.push_plugin(other).await.unwrap();
    assert_eq!(held.receive("GET").await.unwrap().status, 200);
    assert!(
        until_status(&edge.envoy, CANARY, 403).await,
        "{}",
        edge.envoy.log()
    );
    assert!(no_vm_died(&edge.envoy), "{}", edge.envoy.log());
}

/// Sends a request and waits until the sidecar has been asked about it.
async fn hold(edge: &RawEdge, client: &str) -> kit::Connection {
    let mut connection = edge.envoy.connect().await.unwrap();
    let request = Request::get("/").from_client(client);
    connection.write(&request.head()).await.unwrap();
    let path = format!("/v1/verdict/{client}");
    let asked = eventually(LIMIT, || !edge.sidecar.asked(&path).is_empty());
    assert!(asked.await, "{client}: {}", edge.envoy.log());
    connection
}
