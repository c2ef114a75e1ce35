//! What a client claims about itself changes nothing.

use kit::config::insert;
use kit::{Envoy, Request, Upstream};
use serde_json::json;

use crate::common::{CANARY, Edge, LIMIT, header_names, sidecar_that_blocks};

/// One route for those who bring a header, one without the plugin, one for the rest.
fn routes() -> serde_json::Value {
    let to_upstream = json!({"cluster": "upstream"});
    let disabled = json!({
        "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": true
    });
    json!([
        {
            "name": "by-header",
            "match": {"prefix": "/", "headers": [
                {"name": "x-portcullis-band", "string_match": {"exact": "clean"}}
            ]},
            "direct_response": {"status": 299},
        },
        {
            "name": "unprotected",
            "match": {"prefix": "/unprotected"},
            "route": to_upstream,
            "typed_per_filter_config": {"portcullis": disabled},
        },
        {"name": "app", "match": {"prefix": "/"}, "route": to_upstream},
    ])
}

#[tokio::test]
async fn forged_portcullis_headers_choose_no_route_and_reach_no_upstream() {
    let upstream = Upstream::start().await.unwrap();
    let envoy = Envoy::builder()
        .unwrap()
        .upstream(upstream.address())
        .unwrap()
        .change(|config| {
            insert(
                &mut config.hcm()?["route_config"]["virtual_hosts"][0],
                "routes",
                routes(),
            );
            Ok(())
        })
        .unwrap()
        .start()
        .await
        .unwrap();
    for path in ["/", "/unprotected"] {
        let request = Request::get(path)
            .header("x-portcullis-band", "clean")
            .header("X-Portcullis-Action", "allow")
            .header("x-portcullis-throttle", "1")
            .from_client("203.0.113.9");
        let response = envoy.send(&request).await.unwrap();
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        let reached = header_names(&response.json());
        assert!(
            !reached.iter().any(|name| name.starts_with("x-portcullis")),
            "{reached:?}"
        );
    }
}

#[tokio::test]
async fn as_shipped_no_header_makes_a_client_another() {
    let edge = Edge::start_unready(sidecar_that_blocks(&["127.0.0.0/8"]), |envoy| {
        envoy.change(|config| config.set_hops(0)).unwrap()
    })
    .await;
    let refused = kit::eventually_async(LIMIT, || async {
        let answer = edge.envoy.send(&Request::get("/")).await;
        answer.is_ok_and(|response| response.status == 403)
    });
    assert!(refused.await, "the peer itself is not refused");
    for header in [
        "x-forwarded-for",
        "x-envoy-external-address",
        "x-real-ip",
        "forwarded",
    ] {
        for value in ["8.8.8.8", "8.8.8.8, 8.8.4.4", "::1", ""] {
            let request = Request::get("/").header(header, value);
            let status = edge.envoy.send(&request).await.unwrap().status;
            assert_eq!(status, 403, "{header}: {value}");
        }
    }
}

#[tokio::test]
async fn behind_one_proxy_only_what_that_proxy_wrote_counts() {
    let edge = Edge::start(sidecar_that_blocks(&[])).await;
    for (forwarded, status) in [
        (format!("{CANARY}, 203.0.113.5"), 200),
        (format!("203.0.113.5, {CANARY}"), 403),
        (format!("127.0.0.1, 10.0.0.1, {CANARY}"), 403),
    ] {
        assert_eq!(
            edge.envoy.status_for(&forwarded).await,
            status,
            "{forwarded}"
        );
    }
    let request = Request::get("/").from_client(CANARY);
    let request = request.header("x-envoy-external-address", "8.8.8.8");
    assert_eq!(edge.envoy.send(&request).await.unwrap().status, 403);
}

#[tokio::test]
async fn the_external_address_is_envoys_own_also_where_the_filter_reads_it() {
    let from_header = json!({"client_ip": "x-envoy-external-address"});
    let edge = Edge::start_with(sidecar_that_blocks(&[]), |envoy| {
        envoy.plugin(from_header).unwrap()
    })
    .await;
    let forged = Request::get("/").header("x-envoy-external-address", "8.8.8.8");
    let status = edge
        .envoy
        .send(&forged.from_client(CANARY))
        .await
        .unwrap()
        .status;
    assert_eq!(status, 403);
}
