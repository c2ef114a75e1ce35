//! The core of it: who is refused, who passes, who passes with a mark.

use kit::{Request, Sidecar};
use serde_json::{Value, json};

use crate::common::{CANARY, Edge, cli, header_names, sidecar_that_blocks, until_status};

const LISTED: &str = "198.51.100.7";
const CLEAN: &str = "203.0.113.5";

#[tokio::test]
async fn a_listed_address_is_refused_and_an_unlisted_one_passes() {
    let edge = Edge::start(sidecar_that_blocks(&[LISTED, "198.51.100.128/25"])).await;
    let served = edge.upstream.served();
    for listed in [LISTED, "198.51.100.128", "198.51.100.255"] {
        let refusal = edge
            .envoy
            .send(&Request::get("/").from_client(listed))
            .await
            .unwrap();
        assert_eq!(refusal.status, 403, "{listed}");
        assert_eq!(refusal.header("cache-control").as_deref(), Some("no-store"));
        let decision = refusal.header("x-portcullis-decision").unwrap();
        assert_eq!(decision.len(), 16, "{decision}");
        assert!(refusal.header("x-request-id").is_some());
        assert!(
            !refusal.text().contains("listed"),
            "names the feed: {}",
            refusal.text()
        );
    }
    assert_eq!(
        edge.upstream.served(),
        served,
        "a refused request reached the upstream"
    );
    for clean in [CLEAN, "198.51.100.8", "198.51.100.127"] {
        let passed = edge
            .envoy
            .send(&Request::get("/").from_client(clean))
            .await
            .unwrap();
        assert_eq!(passed.status, 200, "{clean}");
        let reached = header_names(&passed.json());
        assert!(
            !reached.iter().any(|name| name.starts_with("x-portcullis")),
            "{reached:?}"
        );
    }
}

#[tokio::test]
async fn an_address_on_a_soft_list_passes_with_marks_for_the_upstream() {
    let sidecar = sidecar_that_blocks(&[])
        .list("soft", "score = 90", "plain", LISTED)
        .unwrap();
    let edge = Edge::start(sidecar).await;
    let headers = headers_at_the_upstream(&edge).await;
    assert_eq!(headers["x-portcullis-action"], "tag");
    assert_eq!(headers["x-portcullis-band"], "suspicious");
    assert_eq!(headers["x-portcullis-reason"], "soft");
    let score: u8 = headers["x-portcullis-score"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((50..80).contains(&score), "{score}");
}

#[tokio::test]
async fn the_mark_for_throttling_stays_inside_the_proxy() {
    let sidecar = sidecar_that_blocks(&[])
        .list("soft", "score = 90", "plain", LISTED)
        .unwrap();
    let throttle = json!({"actions": {"suspicious": "throttle"}});
    let edge = Edge::start_with(sidecar, |envoy| envoy.plugin(throttle).unwrap()).await;
    let headers = headers_at_the_upstream(&edge).await;
    assert_eq!(headers["x-portcullis-action"], "throttle");
    assert_eq!(headers["x-portcullis-throttle"], Value::Null);
}

#[tokio::test]
async fn the_allow_list_of_the_filter_wins_over_everything() {
    let sidecar = sidecar_that_blocks(&[LISTED]);
    let allow = json!({"allow": ["198.51.100.0/24"]});
    let edge = Edge::start_with(sidecar, |envoy| envoy.plugin(allow).unwrap()).await;
    assert_eq!(edge.envoy.status_for(LISTED).await, 200);
    edge.cli(&["ban", "198.51.100.9"]).await;
    edge.cli(&["ban", "203.0.113.9"]).await;
    assert!(
        until_status(&edge.envoy, "203.0.113.9", 403).await,
        "the bans did not arrive"
    );
    assert_eq!(edge.envoy.status_for("198.51.100.9").await, 200);
}

#[tokio::test]
async fn a_changed_list_takes_effect_without_a_restart() {
    let edge = Edge::start(sidecar_that_blocks(&[])).await;
    assert_eq!(edge.envoy.status_for(LISTED).await, 200);
    let list = edge.sidecar.folder().join("listed.list");
    std::fs::write(list, format!("{CANARY}\n{LISTED}\n")).unwrap();
    assert!(until_status(&edge.envoy, LISTED, 403).await);
}

#[tokio::test]
async fn an_unreadable_line_is_skipped_and_a_list_of_nonsense_is_refused_whole() {
    let mut lines: Vec<String> = (0..60).map(|host| format!("198.51.100.{host}")).collect();
    lines.push("not an address".to_owned());
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let edge = Edge::start(sidecar_that_blocks(&lines)).await;
    assert_eq!(edge.envoy.status_for("198.51.100.59").await, 403);
    let list = edge.sidecar.folder().join("listed.list");
    std::fs::write(
        list,
        "<html>\n<body>\nYour licence has ended\n</body>\n</html>\n",
    )
    .unwrap();
    let refused = kit::eventually_async(crate::common::LIMIT, || async {
        edge.sidecar
            .metric("portcullis_feed_refused_total", &["feed=\"listed\""])
            .await
            > 0.0
    });
    assert!(refused.await, "{}", cli(&edge.sidecar, &["feeds"]).await);
    assert_eq!(
        edge.envoy.status_for("198.51.100.59").await,
        403,
        "the last good copy went"
    );
}

#[tokio::test]
async fn a_feed_cannot_list_what_nobody_may_list() {
    let list = format!("{CANARY}\n0.0.0.0/0\n{LISTED}\n203.0.113.0/24\n");
    let sidecar = Sidecar::builder()
        .unwrap()
        .guard("protect = [\"203.0.113.0/24\"]");
    let sidecar = sidecar.guard("max_unreadable = 0.9");
    let sidecar = sidecar
        .list("listed", "block = true", "plain", &list)
        .unwrap();
    let edge = Edge::start(sidecar).await;
    assert_eq!(edge.envoy.status_for(LISTED).await, 403);
    assert_eq!(
        edge.envoy.status_for("203.0.113.5").await,
        200,
        "a protected range"
    );
    assert_eq!(edge.envoy.status_for("192.0.2.9").await, 200, "0.0.0.0/0");
}

/// What the upstream sees of a request of the listed client, which must pass.
async fn headers_at_the_upstream(edge: &Edge) -> Value {
    let request = Request::get("/").from_client(LISTED);
    let passed = edge.envoy.send(&request).await.unwrap();
    assert_eq!(passed.status, 200);
    passed.json()["headers"].clone()
}
