//! What the path decides: exemptions, readiness, and routes that nobody forges.

use super::*;

#[test]
fn forged_headers_are_stripped_before_the_route_is_read() {
    let mut stage = Stage::new(r#"{"mode":"enforce","strip":"filter"}"#);
    stage.load(&[], &[], 1, false);
    let forged = [
        "x-portcullis-band",
        "x-portcullis-anything",
        "x_portcullis_band",
        "x-portcullis_score",
    ];
    let others = ["x-other", "x-portcullis", "x_portcullisband"];
    for name in forged.iter().chain(&others) {
        stage.host.put_header(name, b"\xff");
    }
    stage.request("8.8.8.8");
    for name in forged {
        assert!(stage.host.header(name).is_none(), "{name}");
    }
    for name in others {
        assert!(stage.host.header(name).is_some(), "{name}");
    }
}

const ACME: &[u8] = b"/.well-known/acme-challenge/token";

fn exempted(stage: &mut Stage, mode: &str) -> u64 {
    let name = format!("portcullis_verdicts_total.action.allow.source.exempt.mode.{mode}");
    stage.count(&name)
}

#[test]
fn a_banned_client_may_ask_for_an_exempt_path_and_for_nothing_else() {
    let mut stage = Stage::new(ENFORCE);
    stage.load(
        &[("8.8.8.8/32", Rank::OperatorBan, BAN, None)],
        &[],
        1,
        false,
    );
    stage.host.put_header(":path", ACME);
    assert_eq!(stage.request("8.8.8.8"), Flow::Continue);
    assert_eq!(stage.host.state("portcullis_verdict"), None);
    assert_eq!(exempted(&mut stage, "enforce"), 1);
    for path in ["/", "/.well-known/acme-challenge/../admin"] {
        stage.host.put_header(":path", path.as_bytes());
        assert_eq!(stage.request("8.8.8.8"), Flow::Pause, "{path}");
    }
    assert_eq!(exempted(&mut stage, "enforce"), 1);
}

#[test]
fn nobody_is_throttled_or_refused_or_held_or_counted_as_such_on_an_exempt_path() {
    let throttle = r#"{"mode":"enforce","actions":{"malicious":"throttle"}}"#;
    let monitor = r#"{"mode":"monitor"}"#;
    for (json, mode) in [(throttle, "enforce"), (monitor, "monitor")] {
        let mut stage = Stage::new(json);
        stage.load(
            &[("8.8.8.8/32", Rank::HardSource, LISTED, None)],
            &[],
            1,
            false,
        );
        stage.host.put_header(":path", ACME);
        assert_eq!(stage.request("8.8.8.8"), Flow::Continue);
        assert!(stage.host.header("x-portcullis-throttle").is_none());
        assert_eq!(exempted(&mut stage, mode), 1, "{json}");
    }
    let mut stage = Stage::new(HOLD);
    stage.load(&[], &[], 1, true);
    stage.host.put_header(":path", ACME);
    assert_eq!(stage.request("8.8.8.8"), Flow::Continue);
    assert!(stage.host.calls().is_empty(), "nobody need be asked");
    let mut stage = Stage::new(ENFORCE);
    stage.load(&[], &[], 1, true);
    stage.host.put_header(":path", ACME);
    assert_eq!(stage.request("8.8.8.8"), Flow::Continue);
    assert_eq!(stage.host.calls().len(), 1, "nothing hinders it");
    assert_eq!(exempted(&mut stage, "enforce"), 0);
    let mut stage = Stage::new(r#"{"mode":"enforce","failure":"closed"}"#);
    stage.host.put_header(":path", ACME);
    stage
        .host
        .set_property(Property::SourceAddress, b"/run/socket");
    let flow = stage.turn(|turn, plugin| on_request(turn, plugin, ContextId(1)));
    assert_eq!((flow, exempted(&mut stage, "enforce")), (Flow::Continue, 1));
}

#[test]
fn a_route_may_exempt_nothing() {
    let json = r#"{"mode":"enforce","routes":{"shop":{"exempt_paths":[]}}}"#;
    let mut stage = Stage::new(json);
    stage.load(
        &[("8.8.8.8/32", Rank::OperatorBan, BAN, None)],
        &[],
        1,
        false,
    );
    stage.host.put_header(":path", ACME);
    stage.host.set_property(Property::RouteName, b"shop");
    assert_eq!(stage.request("8.8.8.8"), Flow::Pause);
    stage.host.set_property(Property::RouteName, b"blog");
    assert_eq!(stage.request("8.8.8.8"), Flow::Continue);
}

#[test]
fn only_local_and_allowed_clients_see_the_readiness_path() {
    let mut stage = Stage::new(r#"{"mode":"off","allow":["198.51.100.0/24"]}"#);
    stage.host.put_header(":path", b"/.portcullis/ready");
    assert_eq!(stage.request("8.8.8.8"), Flow::Continue);
    for probe in ["127.0.0.1", "10.0.0.1", "198.51.100.4"] {
        assert_eq!(stage.request(probe), Flow::Pause, "{probe}");
        assert_eq!(stage.status(), 503);
    }
    stage.load(&[], &[], 1, false);
    assert_eq!(stage.request("::1"), Flow::Pause);
    assert_eq!(stage.status(), 200);
}
