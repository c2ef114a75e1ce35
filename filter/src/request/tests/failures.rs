//! Answers that are none, and a sidecar that cannot be asked.

use super::*;

#[test]
fn every_bad_answer_is_a_failure_with_its_cause() {
    for (status, body, cause) in [
        ("", &b""[..], "unavailable"),
        ("503", b"upstream connect error", "unavailable"),
        ("504", b"upstream request timeout", "timeout"),
        ("404", b"{}", "rubbish"),
        ("200", b"<html>", "rubbish"),
        ("200", b"", "rubbish"),
        ("200", b"\xff\xfe", "rubbish"),
    ] {
        let mut stage = Stage::new(HOLD);
        assert_eq!(stage.request("8.8.8.8"), Flow::Pause);
        let token = stage.asked();
        stage.answer(token, status, body);
        assert_eq!(stage.host.resumed().len(), 1, "{cause}");
        let failed = format!("portcullis_failures_total.policy.open.cause.{cause}");
        assert_eq!(stage.count(&failed), 1, "{status}");
        stage.request("8.8.8.8");
        assert!(
            stage.host.calls().is_empty(),
            "not asked again at once: {cause}"
        );
    }
}

#[test]
fn a_sidecar_too_far_away_is_refused_by_name_whatever_it_says() {
    for (wire, status, expected) in [
        (None, "200", "ok"),
        (Some("0"), "200", "ok"),
        (Some(Wire::OURS_TEXT), "200", "ok"),
        (Some("2"), "200", "wire"),
        (Some("one"), "200", "wire"),
        (Some("2"), "400", "wire"),
        (None, "503", "unavailable"),
    ] {
        let mut stage = Stage::new(ENFORCE);
        *stage.host.wire.borrow_mut() = wire.map(|wire| wire.as_bytes().to_vec());
        stage.request("8.8.8.8");
        let token = stage.asked();
        let verdict = serde_json::to_vec(&deny_verdict("8.8.8.8/32")).unwrap();
        stage.answer(token, status, &verdict);
        let outcome = format!("portcullis_lookups_total.outcome.{expected}");
        assert_eq!(stage.count(&outcome), 1, "{wire:?} {status}");
        stage.request("8.8.8.8");
        let refused = stage.host.sent().iter().any(|sent| sent.status == 403);
        assert_eq!(refused, expected == "ok", "{wire:?} {status}");
    }
}

#[test]
fn an_answer_about_somebody_else_is_rubbish() {
    let mut stage = Stage::new(HOLD);
    stage.request("8.8.8.8");
    let token = stage.asked();
    stage.answer_with(token, &deny_verdict("9.9.9.9/32"));
    assert_eq!(stage.host.resumed().len(), 1);
    assert_eq!(stage.count("portcullis_lookups_total.outcome.rubbish"), 1);
}

#[test]
fn closed_answers_503_in_enforce_and_never_as_a_denial() {
    let mut stage = Stage::new(r#"{"mode":"enforce","failure":"closed","unknown":"hold"}"#);
    stage.request("8.8.8.8");
    let token = stage.asked();
    stage.answer(token, "504", b"");
    let sent = stage.host.sent().pop().unwrap();
    assert_eq!(
        (sent.status, sent.header("x-portcullis-decision")),
        (503, None)
    );
    assert_eq!(
        stage.count("portcullis_failures_total.policy.closed.cause.timeout"),
        1
    );
    assert_eq!(
        stage.host.state("portcullis_verdict").as_deref(),
        Some("unavailable")
    );
    let mut stage = Stage::new(r#"{"mode":"monitor","failure":"closed","unknown":"hold"}"#);
    stage.request("8.8.8.8");
    let token = stage.asked();
    stage.answer(token, "504", b"");
    assert_eq!(stage.host.resumed().len(), 1);
}

#[test]
fn a_client_without_an_address_follows_failure_under_its_own_cause() {
    for (failure, expected) in [("open", Flow::Continue), ("closed", Flow::Pause)] {
        let mut stage = Stage::new(&format!(r#"{{"mode":"enforce","failure":"{failure}"}}"#));
        stage
            .host
            .set_property(Property::SourceAddress, b"/run/edge.sock");
        let flow = stage.turn(|turn, plugin| on_request(turn, plugin, ContextId(1)));
        assert_eq!(flow, expected);
        let name = format!("portcullis_failures_total.policy.{failure}.cause.address");
        assert_eq!(stage.count(&name), 1);
        assert_eq!(
            stage.count("portcullis_client_addresses_total.kind.missing"),
            1
        );
    }
}

#[test]
fn after_five_failures_nothing_is_asked_and_nothing_held() {
    let mut stage = Stage::new(HOLD);
    for n in 1..=5 {
        assert_eq!(stage.request(&format!("8.8.8.{n}")), Flow::Pause);
        let token = stage.asked();
        stage.answer(token, "504", b"");
    }
    assert_eq!(stage.request("8.8.8.6"), Flow::Continue);
    assert!(stage.host.calls().is_empty());
    assert_eq!(
        stage.count("portcullis_failures_total.policy.open.cause.breaker"),
        1
    );
    stage.host.micros.set(stage.host.micros.get() + 1_600_000);
    assert_eq!(stage.request("8.8.8.7"), Flow::Pause);
    assert_eq!(stage.request("8.8.8.8"), Flow::Continue, "one probe");
    let token = stage.asked();
    stage.answer_with(token, &clean_verdict("8.8.8.7/32"));
    assert_eq!(stage.request("8.8.8.9"), Flow::Pause);
}

#[test]
fn a_cluster_that_cannot_be_called_is_a_failure_at_once() {
    let mut stage = Stage::new(HOLD);
    stage.host.call_error.set(Some(CallError::Cluster));
    assert_eq!(stage.request("8.8.8.8"), Flow::Continue);
    stage.host.call_error.set(None);
    assert_eq!(stage.request("8.8.8.8"), Flow::Continue);
    assert!(stage.host.calls().is_empty(), "remembered for a moment");
    assert_eq!(
        stage.count("portcullis_failures_total.policy.open.cause.unavailable"),
        2
    );
}
