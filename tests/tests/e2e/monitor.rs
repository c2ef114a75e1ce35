//! Seeing before blocking, and the switch back.

use kit::Request;

use crate::common::{
    CANARY, Edge, LIMIT, header_names, sidecar_that_blocks, until_metric, until_status,
};

const VERDICTS: &str = "portcullis_verdicts_total";

#[tokio::test]
async fn monitor_passes_and_counts_what_would_have_been_refused() {
    let edge = Edge::start_unready(sidecar_that_blocks(&[]), |envoy| {
        envoy.change(|config| config.set_mode("monitor")).unwrap()
    })
    .await;
    let would_deny = ["action=\"deny\"", "mode=\"monitor\""];
    let counted = kit::eventually_async(LIMIT, || async {
        assert_eq!(edge.envoy.status_for(CANARY).await, 200);
        edge.envoy.metric(VERDICTS, &would_deny).await > 0.0
    });
    assert!(counted.await, "{}", edge.envoy.log());
    let passed = edge
        .envoy
        .send(&Request::get("/").from_client(CANARY))
        .await
        .unwrap();
    let reached = header_names(&passed.json());
    assert!(
        !reached.iter().any(|name| name == "x-portcullis-throttle"),
        "{reached:?}"
    );
    assert_eq!(
        edge.envoy.metric(VERDICTS, &["mode=\"enforce\""]).await,
        0.0
    );
    let logged = kit::eventually(LIMIT, || {
        edge.envoy
            .access_log()
            .iter()
            .any(|line| line["verdict"] == "would_deny")
    });
    assert!(logged.await, "{:?}", edge.envoy.access_log().last());
}

#[tokio::test]
async fn the_operator_switches_modes_on_the_running_proxy() {
    let edge = Edge::start(sidecar_that_blocks(&[])).await;
    for mode in ["monitor", "off"] {
        edge.cli(&["mode", mode]).await;
        assert!(until_status(&edge.envoy, CANARY, 200).await, "{mode}");
        edge.cli(&["mode", "enforce"]).await;
        assert!(
            until_status(&edge.envoy, CANARY, 403).await,
            "back from {mode}"
        );
    }
    edge.cli(&["mode", "off", "--for", "2s"]).await;
    assert!(until_status(&edge.envoy, CANARY, 200).await);
    assert!(
        until_status(&edge.envoy, CANARY, 403).await,
        "the switch did not lapse"
    );
}

#[tokio::test]
async fn a_mode_can_be_set_for_one_route() {
    let routes = serde_json::json!({"routes": {"app": {"mode": "monitor"}}});
    let edge = Edge::start_unready(sidecar_that_blocks(&[]), |envoy| {
        envoy.plugin(routes).unwrap()
    })
    .await;
    let labels = ["action=\"deny\"", "mode=\"monitor\""];
    let counted = kit::eventually_async(LIMIT, || async {
        edge.envoy.status_for(CANARY).await == 200
            && edge.envoy.metric(VERDICTS, &labels).await > 0.0
    });
    assert!(counted.await);
    assert!(until_metric(&edge.envoy, VERDICTS, &labels, 1.0).await);
}

#[tokio::test]
async fn the_operators_mode_for_a_route_and_a_time_holds_there_only_and_ends_with_the_sidecar_dead()
{
    let mut edge = Edge::start_with(sidecar_that_blocks(&[]), |envoy| {
        let with_shop = envoy.change(|config| {
            let shop = serde_json::json!({
                "name": "shop-eu", "match": {"prefix": "/shop"}, "route": {"cluster": "upstream"},
            });
            let routes = &mut config.hcm()?["route_config"]["virtual_hosts"][0]["routes"];
            routes.as_array_mut().unwrap().insert(0, shop);
            Ok(())
        });
        with_shop.unwrap()
    })
    .await;
    edge.cli(&["mode", "off", "--route", "shop*", "--for", "5s"])
        .await;
    let shop = Request::get("/shop").from_client(CANARY);
    let on_shop = || async { edge.envoy.send(&shop).await.unwrap().status };
    let switched = kit::eventually_async(LIMIT, || async { on_shop().await == 200 });
    assert!(switched.await);
    assert_eq!(edge.envoy.status_for(CANARY).await, 403, "another route");
    edge.sidecar.kill();
    let ended = kit::eventually_async(LIMIT, || async { on_shop().await == 403 });
    assert!(ended.await, "the switch did not lapse");
}
