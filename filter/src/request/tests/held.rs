//! Requests that wait for an answer.

use super::*;

#[test]
fn held_requests_share_one_lookup_and_all_go_on() {
    let mut stage = Stage::new(HOLD);
    for context in 1..=200 {
        assert_eq!(stage.request_of(ContextId(context), "8.8.8.8"), Flow::Pause);
    }
    let calls = stage.host.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(
        (calls[0].timeout_ms, calls[0].path.contains("wait_ms=16")),
        (22, true)
    );
    stage.host.end_stream(ContextId(7));
    stage.answer_with(calls[0].token, &clean_verdict("8.8.8.8/32"));
    let resumed = stage.host.resumed();
    assert_eq!(resumed.len(), 199, "one client is gone");
    assert!(!resumed.contains(&ContextId(7)));
}

#[test]
fn held_requests_of_a_bad_address_are_refused() {
    let mut stage = Stage::new(HOLD);
    stage.request_of(ContextId(1), "8.8.8.8");
    stage.request_of(ContextId(2), "8.8.8.8");
    let token = stage.asked();
    stage.answer_with(token, &deny_verdict("8.8.8.8/32"));
    let sent = stage.host.sent();
    assert_eq!(
        sent.iter()
            .map(|s| (s.context, s.status))
            .collect::<Vec<_>>(),
        [(Some(ContextId(1)), 403), (Some(ContextId(2)), 403)]
    );
    assert!(
        stage.host.resumed().is_empty(),
        "a refused stream is not touched again"
    );
    let denied = "portcullis_verdicts_total.action.deny.source.lookup.mode.enforce";
    assert_eq!(stage.count(denied), 2);
}

#[test]
fn beyond_the_limits_requests_pass_and_are_counted() {
    let limits =
        r#"{"mode":"enforce","unknown":"hold","failure":"closed","limits":{"lookups":2,"held":1}}"#;
    let mut stage = Stage::new(limits);
    assert_eq!(stage.request_of(ContextId(1), "8.8.8.1"), Flow::Pause);
    assert_eq!(
        stage.request_of(ContextId(2), "8.8.8.1"),
        Flow::Continue,
        "one may be held"
    );
    assert_eq!(stage.request_of(ContextId(3), "8.8.8.2"), Flow::Continue);
    assert_eq!(stage.request_of(ContextId(4), "8.8.8.3"), Flow::Continue);
    assert_eq!(stage.host.calls().len(), 2);
    assert_eq!(stage.count("portcullis_lookups_total.outcome.unheld"), 3);
    assert_eq!(stage.count("portcullis_lookups_total.outcome.limited"), 1);
    assert!(stage.host.sent().is_empty());
}

#[test]
fn a_hold_does_not_wait_for_a_slower_lookup() {
    let routed = r#"{"mode":"enforce","routes":{"hold":{"unknown":"hold","hold_ms":10}}}"#;
    let mut stage = Stage::new(routed);
    stage.host.set_property(Property::RouteName, b"pass");
    assert_eq!(stage.request_of(ContextId(1), "8.8.8.8"), Flow::Continue);
    stage.host.set_property(Property::RouteName, b"hold");
    assert_eq!(stage.request_of(ContextId(2), "8.8.8.8"), Flow::Pause);
    let calls = stage.host.calls();
    let timeouts: Vec<_> = calls.iter().map(|call| call.timeout_ms).collect();
    assert_eq!(timeouts, [250, 12]);
    stage.answer_with(calls[0].token, &clean_verdict("8.8.8.8/32"));
    assert_eq!(stage.host.resumed(), [ContextId(2)], "any answer is good");
    stage.answer_with(calls[1].token, &clean_verdict("8.8.8.8/32"));
    assert!(stage.host.resumed().is_empty());
}

#[test]
fn a_lookup_that_was_lost_with_its_root_releases_who_waits() {
    let mut stage = Stage::new(HOLD);
    assert_eq!(stage.request("8.8.8.8"), Flow::Pause);
    let later = stage.host.micros.get() + 2_000_000;
    stage.turn(|turn, plugin| plugin.on_tick(turn, later));
    assert_eq!(stage.host.resumed(), [ContextId(1)]);
}
