//! What operators are answered, and nobody else.

use super::*;

#[tokio::test]
async fn the_admin_api_admits_nobody_without_the_token() {
    let sidecar = Running::start().await;
    let stranger = AdminClient {
        url: sidecar.admin.url.clone(),
        token: "guess".into(),
    };
    for (method, path) in [
        (Method::GET, "/v1/decisions"),
        (Method::POST, "/v1/decisions"),
        (Method::PUT, "/v1/mode"),
        (Method::GET, "/v1/secrets"),
        (Method::GET, "/nothing"),
    ] {
        let error = stranger
            .call(method, path, None)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("token is missing or wrong"), "{error}");
    }
    sidecar.stop().await;
}

#[tokio::test]
async fn wrong_tokens_are_slowed_and_the_right_one_is_not() {
    let sidecar = Running::start().await;
    let stranger = AdminClient {
        url: sidecar.admin.url.clone(),
        token: "guess".into(),
    };
    let guess = || stranger.call(Method::GET, "/v1/decisions", None);
    for _ in 0..6 {
        guess().await.unwrap_err();
    }
    let began = std::time::Instant::now();
    guess().await.unwrap_err();
    assert!(began.elapsed() >= Duration::from_millis(200));
    let (_wrong, decisions) = tokio::join!(guess(), async {
        let began = std::time::Instant::now();
        let decisions = sidecar.admin(Method::GET, "/v1/decisions", None).await;
        assert!(began.elapsed() < Duration::from_millis(300));
        decisions
    });
    assert_eq!(decisions, json!({"decisions": []}));
    sidecar.stop().await;
}

#[tokio::test]
async fn faulty_bodies_are_refused_and_nothing_is_changed() {
    let sidecar = Running::start().await;
    for (body, title, detail) in [
        (
            r#"{"cidr": "10.0.0.1/8", "type": "ban"}"#,
            "Faulty value",
            "the network is 10.0.0.0/8",
        ),
        (
            r#"{"cidr": "x", "type": "ban"}"#,
            "Faulty value",
            "not an IPv4 or IPv6 address",
        ),
        (
            r#"{"cidr": "203.0.113.7", "type": "bann"}"#,
            "Faulty value",
            "write ban, throttle or allow",
        ),
        (
            r#"{"cidr": "203.0.113.7", "type": "ban", "duration": "1 h"}"#,
            "Faulty value",
            "not a duration",
        ),
        (
            r#"{"cidr": "203.0.113.7", "type": "ban", "reason": "a\nb"}"#,
            "Faulty value",
            "one line",
        ),
        (
            r#"{"cidr": "203.0.113.7", "type": "ban", "forse": true}"#,
            "Faulty value",
            "unknown field",
        ),
        (
            r#"{"cidr": "203.0.113.7"}"#,
            "Faulty value",
            "missing field `type`",
        ),
        ("{", "Body cannot be read", "EOF"),
    ] {
        let (found, why) = sidecar
            .refused(Method::POST, "/v1/decisions", body.as_bytes())
            .await;
        assert!(
            found.starts_with(title) && why.contains(detail),
            "{body}: {found}: {why}"
        );
    }
    let long = vec![b' '; 20_000];
    let (title, _) = sidecar.refused(Method::POST, "/v1/decisions", &long).await;
    assert_eq!(title, "Body is too large");
    let wide = br#"{"cidr": "8.0.0.0/7", "type": "ban"}"#;
    let (title, detail) = sidecar.refused(Method::POST, "/v1/decisions", wide).await;
    assert!(
        title.contains("wide") && detail.ends_with("add --force if that is meant"),
        "{title}: {detail}"
    );
    let raw = sidecar.admin_raw(post("/v1/decisions", wide)).await;
    assert!(
        raw.contains(r#"send \"force\": true"#) && !raw.contains("--"),
        "{raw}"
    );
    let (title, _) = sidecar
        .refused(Method::PUT, "/v1/mode", br#"{"mode": "on"}"#)
        .await;
    assert!(title.starts_with("Faulty value"), "{title}");
    let (title, _) = sidecar
        .refused(Method::POST, "/v1/feeds/none/release", b"")
        .await;
    assert_eq!(title, "There is nothing here");
    let (title, _) = sidecar.refused(Method::PATCH, "/v1/decisions", b"").await;
    assert_eq!(title, "Not with this method");
    let decisions = sidecar.admin(Method::GET, "/v1/decisions", None).await;
    assert_eq!(decisions, json!({"decisions": []}));
    sidecar.stop().await;
}

#[tokio::test]
async fn the_doctor_tells_what_the_sidecar_sees_of_itself() {
    let sidecar = Running::start().await;
    let states = |answer: Value| {
        let examination: crate::doctor::Examination = serde_json::from_value(answer).unwrap();
        assert!(examination.snapshot.is_some());
        let short = examination.findings.into_iter();
        // No log is set up here.
        let short = short.filter(|finding| finding.check != crate::doctor::Check::SidecarErrors);
        let short = short.filter(|finding| finding.state.falls_short());
        short.map(|finding| finding.check).collect::<Vec<_>>()
    };
    let answer = sidecar.admin(Method::GET, "/v1/doctor", None).await;
    assert_eq!(states(answer), [crate::doctor::Check::SidecarScraped]);
    get(&format!("{}/metrics", sidecar.metrics)).await;
    let answer = sidecar.admin(Method::GET, "/v1/doctor", None).await;
    assert_eq!(states(answer), []);
    sidecar.stop().await;
}

#[tokio::test]
async fn the_level_of_the_log_is_ordered_shown_and_taken_back() {
    let sidecar = Running::start().await;
    let path = "/v1/log-level";
    let usual = json!({"configured": "info", "by_environment": false});
    assert_eq!(sidecar.admin(Method::GET, path, None).await, usual);
    let wanted = json!({"level": "debug", "duration": "1h"});
    let ordered = sidecar.admin(Method::PUT, path, Some(wanted)).await;
    assert_eq!(ordered["ordered"], "debug");
    assert!(ordered["until"].as_u64() > Some(3600), "{ordered}");
    let (title, detail) = sidecar
        .refused(Method::PUT, path, br#"{"level":"loud"}"#)
        .await;
    assert_eq!(title, "Faulty value in the body");
    assert!(detail.contains("\"loud\" is not known"), "{detail}");
    assert_eq!(sidecar.admin(Method::GET, path, None).await, ordered);
    assert_eq!(sidecar.admin(Method::DELETE, path, None).await, usual);
    sidecar.stop().await;
}
