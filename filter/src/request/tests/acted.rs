//! What is done and told about whom the snapshot holds: headers, statistics, log, report.

use super::*;

#[test]
fn who_is_hindered_is_told_to_the_sidecar_and_who_passes_is_not() {
    let base = [
        ("192.0.2.1", Rank::HardSource, LISTED, None),
        (
            "192.0.2.2",
            Rank::OperatorBan,
            Basis::Action(Action::Throttle),
            None,
        ),
        ("192.0.2.3", Rank::Score, DOUBTED, None),
    ];
    for (mode, would) in [("enforce", Mode::Enforce), ("monitor", Mode::Monitor)] {
        let mut stage = Stage::new(&format!(r#"{{"mode":"{mode}","allow":["192.0.2.9"]}}"#));
        stage.load(&base, &[], 1, false);
        for address in [
            "192.0.2.1",
            "192.0.2.2",
            "192.0.2.3",
            "192.0.2.9",
            "8.8.8.8",
        ] {
            stage.request(address);
        }
        stage
            .host
            .put_header(":path", b"/.well-known/acme-challenge/x");
        stage.request("192.0.2.1");
        let told = stage.told();
        let clients = told.clients.iter();
        let clients: Vec<_> = clients
            .map(|it| (it.client.to_string(), it.action, it.mode, it.count))
            .collect();
        let expected = [
            ("192.0.2.1".to_owned(), Action::Deny, would, 1),
            ("192.0.2.2".to_owned(), Action::Throttle, would, 1),
        ];
        assert_eq!(clients, expected);
        assert_eq!(
            (told.clients[0].reason.as_str(), told.clients[0].decision),
            ("the list", DecisionId(7))
        );
    }
}

#[test]
fn throttling_is_marked_in_enforce_only_and_headers_can_be_switched_off() {
    let throttle = [(
        "192.0.2.1",
        Rank::OperatorBan,
        Basis::Action(Action::Throttle),
        None,
    )];
    let marked = |json: &str| {
        let mut stage = Stage::new(json);
        stage.load(&throttle, &[], 1, false);
        assert_eq!(stage.request("192.0.2.1"), Flow::Continue);
        let header = |name: &str| stage.host.header(name).is_some();
        (
            header("x-portcullis-throttle"),
            header("x-portcullis-action"),
        )
    };
    assert_eq!(marked(ENFORCE), (true, true));
    assert_eq!(marked(r#"{"mode":"monitor"}"#), (false, false));
    let none = r#"{"mode":"enforce","upstream_headers":"none"}"#;
    assert_eq!(marked(none), (true, false));
}

#[test]
fn monitor_counts_and_tells_the_log_and_passes() {
    let mut stage = Stage::new("{}");
    stage.load(
        &[("192.0.2.1", Rank::OperatorBan, BAN, None)],
        &[],
        1,
        false,
    );
    assert_eq!(stage.request("192.0.2.1"), Flow::Continue);
    assert!(stage.host.sent().is_empty());
    let state = |name: &str| stage.host.state(name).unwrap();
    assert_eq!(state("portcullis_verdict"), "would_deny");
    assert_eq!(state("portcullis_reason"), "the list");
    assert_eq!(state("portcullis_score"), "100");
    assert_eq!(state("portcullis_decision"), "0000000000000007");
    assert_eq!(state("portcullis_source"), "snapshot");
    assert_eq!(state("portcullis_client"), "192.0.2.1");
    let counted = "portcullis_verdicts_total.action.deny.source.snapshot.mode.monitor";
    assert_eq!(stage.count(counted), 1);
}

#[test]
fn a_flood_of_refusals_is_logged_in_part_and_counted_whole() {
    let mut stage = Stage::new(r#"{"mode":"enforce","limits":{"logged":2}}"#);
    let banned = [("192.0.2.1", Rank::OperatorBan, BAN, None)];
    stage.load(&banned, &[], 1, false);
    let refused = |stage: &mut Stage| {
        stage.host.clear_headers();
        assert_eq!(stage.request("192.0.2.1"), Flow::Pause);
        stage.host.header("x-portcullis-unlogged").is_some()
    };
    let unlogged: Vec<_> = (0..5).map(|_| refused(&mut stage)).collect();
    assert_eq!(unlogged, [false, false, true, true, true]);
    assert_eq!(stage.host.state("portcullis_left_out"), None);
    stage.now = stage.now.plus(1);
    assert!(!refused(&mut stage));
    let left_out = stage.host.state("portcullis_left_out");
    assert_eq!(left_out.as_deref(), Some("3"));
    assert_eq!(stage.host.sent().len(), 6);
    let counted = "portcullis_verdicts_total.action.deny.source.snapshot.mode.enforce";
    assert_eq!(stage.count(counted), 6);
}

#[test]
fn a_flood_that_passes_is_logged_in_part_too_and_acted_on_whole() {
    for (mode, action, counted) in [
        ("monitor", "deny", "deny.source.snapshot.mode.monitor"),
        (
            "enforce",
            "throttle",
            "throttle.source.snapshot.mode.enforce",
        ),
        ("enforce", "tag", "tag.source.snapshot.mode.enforce"),
    ] {
        let mut stage = Stage::new(&format!(
            r#"{{"mode":"{mode}","limits":{{"logged":2}},"actions":{{"malicious":"{action}"}}}}"#
        ));
        let listed = [("192.0.2.1", Rank::HardSource, LISTED, None)];
        stage.load(&listed, &[], 1, false);
        let passes = |stage: &mut Stage| {
            stage.host.clear_headers();
            assert_eq!(stage.request("192.0.2.1"), Flow::Continue);
            let throttled = stage.host.header("x-portcullis-throttle").is_some();
            assert_eq!(throttled, action == "throttle");
            stage.host.header("x-portcullis-unlogged").is_some()
        };
        let unlogged: Vec<_> = (0..5).map(|_| passes(&mut stage)).collect();
        assert_eq!(unlogged, [false, false, true, true, true], "{action}");
        stage.now = stage.now.plus(1);
        assert!(!passes(&mut stage));
        let left_out = stage.host.state("portcullis_left_out");
        assert_eq!(left_out.as_deref(), Some("3"));
        let counted = format!("portcullis_verdicts_total.action.{counted}");
        assert_eq!(stage.count(&counted), 6);
    }
}

#[test]
fn who_is_merely_tagged_is_not_named_in_the_log() {
    let mut stage = Stage::new(r#"{"mode":"enforce","actions":{"malicious":"tag"}}"#);
    let listed = [("192.0.2.1", Rank::HardSource, LISTED, None)];
    stage.load(&listed, &[], 1, false);
    assert_eq!(stage.request("192.0.2.1"), Flow::Continue);
    assert_eq!(
        stage.host.state("portcullis_verdict").as_deref(),
        Some("tag")
    );
    assert_eq!(stage.host.state("portcullis_client"), None);
}

#[test]
fn off_does_nothing_at_all() {
    let mut stage = Stage::new(r#"{"mode":"off"}"#);
    stage.load(&[("192.0.2.1", Rank::OperatorBan, BAN, None)], &[], 1, true);
    assert_eq!(stage.request("192.0.2.1"), Flow::Continue);
    assert_eq!(stage.request("8.8.8.8"), Flow::Continue);
    assert!(stage.host.calls().is_empty());
    assert!(stage.host.state("portcullis_verdict").is_none());
    assert_eq!(
        stage.count("portcullis_client_addresses_total.kind.public"),
        0
    );
}
