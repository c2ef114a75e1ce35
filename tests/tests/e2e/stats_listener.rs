//! The listener for statistics: two paths of the admin interface, and nothing else of it.

use kit::{Connection, Envoy, Request};

async fn status(envoy: &Envoy, method: &str, path: &str) -> u16 {
    let request = Request::new(method, path);
    request.send(envoy.stats_address()).await.unwrap().status
}

#[tokio::test]
async fn statistics_and_readiness_are_told() {
    let envoy = Envoy::builder().unwrap().start().await.unwrap();
    let metrics = Request::get("/stats/prometheus");
    let metrics = metrics.send(envoy.stats_address()).await.unwrap();
    assert_eq!(metrics.status, 200);
    assert!(
        metrics.text().contains("# TYPE portcullis_vms gauge"),
        "{}",
        metrics.text()
    );
    let ready = Request::get("/ready")
        .send(envoy.stats_address())
        .await
        .unwrap();
    assert_eq!((ready.status, ready.text().trim()), (200, "LIVE"));
}

#[tokio::test]
async fn nothing_else_of_the_admin_interface_is_reached() {
    let mut envoy = Envoy::builder().unwrap().start().await.unwrap();
    for path in [
        "/",
        "/stats",
        "/stats/",
        "/stats/prometheus/",
        "/stats/prometheus?usedonly",
        "/stats/prometheus?/../../config_dump",
        "/stats/prometheus/../config_dump",
        "/stats/prometheus/../../quitquitquit",
        "/stats/prometheus/%2e%2e/%2e%2e/config_dump",
        "/stats/prometheus%2f..%2f..%2fconfig_dump",
        "/stats/prometheus;a=b",
        "/stats/prometheus%00",
        "/stats/PROMETHEUS",
        "/ready?x",
        "/ready/../config_dump",
        "/ready/..%5cconfig_dump",
        "/stats/recentlookups",
        "/config_dump",
        "/clusters",
        "/listeners",
        "/server_info",
        "/certs",
        "/quitquitquit",
        "/healthcheck/fail",
        "/logging?level=trace",
        "/reset_counters",
        "/runtime",
        "/help",
        "http://127.0.0.1/config_dump",
    ] {
        for method in ["GET", "POST"] {
            let status = status(&envoy, method, path).await;
            assert!(matches!(status, 400 | 404), "{method} {path}: {status}");
        }
    }
    assert!(envoy.is_alive());
}

#[tokio::test]
async fn one_spelling_of_a_path_is_the_same_as_another() {
    let envoy = Envoy::builder().unwrap().start().await.unwrap();
    for path in [
        "//stats//prometheus",
        "/a/../stats/prometheus",
        "/stats/./prometheus",
    ] {
        assert_eq!(status(&envoy, "GET", path).await, 200, "{path}");
    }
}

#[tokio::test]
async fn only_get_is_served() {
    let mut envoy = Envoy::builder().unwrap().start().await.unwrap();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"] {
        for path in ["/stats/prometheus", "/ready"] {
            assert_eq!(status(&envoy, method, path).await, 404, "{method} {path}");
        }
    }
    let mut connection = Connection::open(envoy.stats_address()).await.unwrap();
    connection
        .write(b"CONNECT 127.0.0.1:9901 HTTP/1.1\r\nhost: 127.0.0.1:9901\r\n\r\n")
        .await
        .unwrap();
    let (status, _) = connection.receive_head().await.unwrap();
    assert!(matches!(status, 400 | 403 | 404), "{status}");
    assert!(envoy.is_alive());
}

#[tokio::test]
async fn it_answers_while_the_edge_takes_no_more_connections() {
    let envoy = Envoy::builder().unwrap().change(|config| {
        let limit = config.at("/overload_manager/resource_monitors/0/typed_config")?;
        limit["max_active_downstream_connections"] = serde_json::json!(2);
        Ok(())
    });
    let envoy = envoy.unwrap().start().await.unwrap();
    let (mut one, mut two) = (
        envoy.connect().await.unwrap(),
        envoy.connect().await.unwrap(),
    );
    for connection in [&mut one, &mut two] {
        connection.send(&Request::get("/healthz")).await.unwrap();
    }
    let third = envoy.send(&Request::get("/healthz")).await;
    assert!(third.is_err(), "{third:?}");
    assert_eq!(status(&envoy, "GET", "/ready").await, 200);
}

#[tokio::test]
async fn a_peer_outside_of_private_networks_gets_no_answer() {
    let envoy = Envoy::builder().unwrap().change(|config| {
        // Loopback is the one network that a test can come from.
        let rules = config.listener("stats")?.pointer_mut(
            "/filter_chains/0/filters/0/typed_config/rules/policies/private/principals",
        );
        let principals = rules.and_then(serde_json::Value::as_array_mut).unwrap();
        principals
            .retain(|principal| principal["direct_remote_ip"]["address_prefix"] != "127.0.0.0");
        Ok(())
    });
    let envoy = envoy.unwrap().start().await.unwrap();
    let answer = Request::get("/ready").send(envoy.stats_address()).await;
    assert!(answer.is_err(), "{answer:?}");
}
