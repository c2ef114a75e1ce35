//! What proxies and pages of the web are answered.

use super::*;

#[tokio::test]
async fn filters_are_answered_in_their_version_or_refused_by_name() {
    let sidecar = Running::start().await;
    let ask = async |wire: Option<&'static str>| {
        let path = "/v1/verdict/203.0.113.7?wait_ms=150&prefix=64";
        let headers: Vec<_> = wire.map(|wire| (HEADER, wire)).into_iter().collect();
        get_with(&format!("{}{path}", sidecar.edge), &headers).await
    };
    for (asker, answer) in [
        (None, "0"),
        (Some("0"), "0"),
        (Some("1"), "1"),
        (Some("7"), "1"),
    ] {
        let answered = ask(asker).await;
        assert_eq!(answered.status, StatusCode::OK, "{asker:?}");
        assert_eq!(answered.headers[HEADER], answer, "{asker:?}");
        Verdict::parse(&answered.body).unwrap();
    }
    let refused = ask(Some("one")).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert_eq!(refused.headers[HEADER], Wire::OURS_TEXT);
    let problem: Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!(problem["type"], "urn:portcullis:problem:wire");
    let public = sidecar.edge("/v1/reputation/203.0.113.7").await;
    assert!(!public.headers.contains_key(HEADER), "{:?}", public.headers);
    sidecar.stop().await;
}

#[tokio::test]
async fn a_ban_shows_in_verdict_reputation_and_manifest_and_unban_lifts_it() {
    let sidecar = Running::start().await;
    assert_eq!(
        document(&sidecar.edge("/v1/verdict/198.51.101.7?wait_ms=5").await)["action"],
        "allow"
    );
    let before = sidecar.manifest().await.version;
    let ban =
        json!({"cidr": "198.51.101.0/24", "type": "ban", "reason": "scanner", "duration": "1h"});
    let decision = sidecar
        .admin(Method::POST, "/v1/decisions", Some(ban))
        .await;
    assert_eq!(decision["type"], "ban");
    assert!(decision["expires"].as_u64() > decision["created"].as_u64());
    let verdict = document(&sidecar.edge("/v1/verdict/198.51.101.7").await);
    assert_eq!(verdict["action"], "deny");
    assert_eq!(verdict["decision"], decision["id"]);
    let reputation = document(&sidecar.edge("/v1/reputation/198.51.101.7").await);
    assert_eq!(
        (&reputation["action"], &reputation["known"]),
        (&json!("deny"), &json!(true))
    );
    assert_eq!(reputation.get("reason"), None);
    assert!(sidecar.manifest().await.version > before);
    let listed = sidecar.admin(Method::GET, "/v1/decisions", None).await;
    assert_eq!(listed["decisions"], json!([decision]));
    let path = "/v1/decisions?cidr=198.51.101.0%2F24&type=ban";
    let removed = sidecar.admin(Method::DELETE, path, None).await;
    assert_eq!(removed["removed"], json!([decision]));
    assert_eq!(
        document(&sidecar.edge("/v1/verdict/198.51.101.7").await)["action"],
        "allow"
    );
    sidecar.stop().await;
}

#[tokio::test]
async fn a_long_poll_ends_with_the_next_version_and_not_before() {
    let sidecar = Running::start().await;
    let version = sidecar.manifest().await.version;
    let nothing = sidecar
        .edge(&format!("/v1/manifest?after={version}&wait_s=0"))
        .await;
    assert_eq!(nothing.status, StatusCode::NOT_MODIFIED);
    let path = format!("/v1/manifest?after={version}&wait_s=30");
    let change = async {
        let mode = json!({"mode": "monitor", "route": "checkout*", "duration": "1h"});
        sidecar.admin(Method::PUT, "/v1/mode", Some(mode)).await
    };
    let (answer, modes) = tokio::join!(sidecar.edge(&path), change);
    assert_eq!(modes["modes"][0]["mode"], "monitor");
    let manifest = Manifest::parse(&answer.body).unwrap();
    assert!(manifest.version > version);
    assert_eq!(manifest.modes[0].route.as_deref(), Some("checkout*"));
    let modes = sidecar.admin(Method::DELETE, "/v1/mode", None).await;
    assert_eq!(modes, json!({"modes": []}));
    sidecar.stop().await;
}

#[tokio::test]
async fn a_proxy_that_holds_something_newer_opens_a_higher_epoch() {
    let sidecar = Running::start().await;
    let ours = sidecar.manifest().await.version;
    let theirs = format!("{}.{}", ours.epoch + 5, 9);
    let answer = sidecar
        .edge(&format!("/v1/manifest?after={theirs}&wait_s=20"))
        .await;
    let manifest = Manifest::parse(&answer.body).unwrap();
    assert!(
        manifest.version > theirs.parse().unwrap(),
        "{}",
        manifest.version
    );
    sidecar.stop().await;
}

#[tokio::test]
async fn a_proxy_that_claims_the_impossible_is_offered_ours_at_once() {
    let sidecar = Running::start().await;
    let ours = sidecar.manifest().await.version;
    for after in ["18446744073709551615.18446744073709551615", "99999999999.1"] {
        let path = format!("/v1/manifest?after={after}&wait_s=20");
        let manifest = Manifest::parse(&sidecar.edge(&path).await.body).unwrap();
        assert_eq!(manifest.version, ours);
    }
    sidecar.stop().await;
}

#[tokio::test]
async fn every_part_of_the_manifest_is_there_and_no_other() {
    let sidecar = Running::start().await;
    let manifest = sidecar.manifest().await;
    for digest in manifest.base.parts.iter().chain(&manifest.overlay.parts) {
        let part = sidecar.edge(&format!("/v1/parts/{digest}")).await;
        assert_eq!(part.status, StatusCode::OK);
        assert_eq!(reputation::digest::Digest::of(&part.body), *digest);
    }
    for missing in ["0".repeat(64).as_str(), "x", "..%2fetc"] {
        let answer = sidecar.edge(&format!("/v1/parts/{missing}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{missing}");
    }
    sidecar.stop().await;
}

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong_under_their_request_id() {
    let sidecar = Running::start().await;
    let url = format!("{}/v1/verdict/203.0.113.007", sidecar.edge);
    let answer = get_with(&url, &[("x-request-id", "id-7")]).await;
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    let problem = document(&answer);
    assert_eq!(
        (answer.status.as_u16(), &problem["request_id"]),
        (400, &json!("id-7"))
    );
    assert!(
        problem["detail"].as_str().unwrap().contains("leading zero"),
        "{problem}"
    );
    assert_eq!(problem["instance"], "/v1/verdict/203.0.113.007");
    for (path, status) in [
        ("/v1/verdict/203.0.113.7?wait_ms=soon", 400),
        ("/v1/verdict/203.0.113.7?prefix=129", 400),
        ("/v1/manifest?after=7", 400),
        ("/v1/manifest?wait_s=61", 400),
        ("/v1/reputation/nobody", 400),
        ("/v1/decisions", 404),
        ("/v1/verdict", 404),
        ("/", 404),
    ] {
        assert_eq!(sidecar.edge(path).await.status.as_u16(), status, "{path}");
    }
    sidecar.stop().await;
}

#[tokio::test]
async fn pages_of_the_web_are_told_a_reputation_and_nothing_else() {
    let sidecar = Running::start().await;
    let from_page = [
        ("origin", "https://elsewhere.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "none"),
    ];
    for header in from_page {
        for path in [
            "/v1/manifest?after=9999999999.1",
            "/v1/verdict/198.51.100.7",
            "/v1/parts/00",
        ] {
            let asked = get_with(&format!("{}{path}", sidecar.edge), &[header]).await;
            assert_eq!(asked.status, StatusCode::FORBIDDEN, "{header:?} {path}");
            assert_eq!(document(&asked)["type"], "urn:portcullis:problem:page");
        }
        let url = format!("{}/v1/reputation/198.51.100.7", sidecar.edge);
        assert_eq!(get_with(&url, &[header]).await.status, StatusCode::OK);
        let (name, value) = header;
        let report = post("/v1/refusals", br#"{"left_out":1,"clients":[]}"#);
        let report = report.replacen("host: x", &format!("host: x\r\n{name}: {value}"), 1);
        let told = sidecar.edge_raw(&report).await;
        assert!(told.starts_with("HTTP/1.1 403"), "{told}");
    }
    let blocked = sidecar.admin(Method::GET, "/v1/blocked", None).await;
    assert_eq!(blocked["left_out"], 0);
    sidecar.stop().await;
}

#[tokio::test]
async fn what_a_proxy_tells_of_refusals_is_shown_and_nonsense_changes_nothing() {
    let sidecar = Running::start().await;
    let refused = json!({
        "client": "203.0.113.7", "action": "deny", "mode": "enforce", "reason": "ipsum",
        "decision": "0d8a70cfa95060ac", "count": 3, "first_s": 2, "last_s": 0,
    });
    let report = |clients: Vec<Value>| json!({"left_out": 0, "clients": clients}).to_string();
    let good = report(vec![refused.clone()]);
    let told = sidecar
        .edge_raw(&post("/v1/refusals", good.as_bytes()))
        .await;
    assert!(told.starts_with("HTTP/1.1 204"));
    let before = sidecar.admin(Method::GET, "/v1/blocked", None).await;
    assert_eq!(
        (
            &before["clients"][0]["client"],
            &before["clients"][0]["last_hour"]
        ),
        (&json!("203.0.113.7"), &json!(3))
    );

    let mut impossible = refused.clone();
    impossible["count"] = 0.into();
    let too_long = vec![b' '; 40 * 1024];
    for (body, status) in [
        (
            report(vec![refused.clone(), impossible]).into_bytes(),
            "422",
        ),
        (report(vec![refused; 65]).into_bytes(), "422"),
        (b"<html>".to_vec(), "400"),
        (too_long, "413"),
    ] {
        let answer = sidecar.edge_raw(&post("/v1/refusals", &body)).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
        assert!(answer.contains("application/problem+json"), "{answer}");
    }
    let asked = sidecar.edge("/v1/refusals").await;
    assert_eq!(asked.status, StatusCode::METHOD_NOT_ALLOWED);
    let mut after = sidecar.admin(Method::GET, "/v1/blocked?most=5", None).await;
    after["reported_at"] = before["reported_at"].clone();
    assert_eq!(after, before);
    sidecar.stop().await;
}
