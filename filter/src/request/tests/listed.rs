//! What the snapshot alone decides, and what it costs.

use super::*;

#[test]
fn a_snapshot_is_on_trial_until_it_has_decided_a_request() {
    let mut stage = Stage::new(r#"{"mode":"enforce","allow":["192.0.2.9"]}"#);
    stage.load(
        &[("192.0.2.1", Rank::HardSource, LISTED, None)],
        &[],
        1,
        false,
    );
    stage.request("192.0.2.9");
    assert!(
        stage.plugin.snapshot.on_trial().is_some(),
        "not asked for a client that is allowed"
    );
    stage.request("192.0.2.1");
    assert_eq!(stage.host.sent().len(), 1);
    assert_eq!(stage.plugin.snapshot.on_trial(), None);
}

#[test]
fn a_listed_address_is_refused_and_its_neighbour_passes() {
    let mut stage = Stage::new(ENFORCE);
    stage.load(
        &[("192.0.2.1", Rank::HardSource, LISTED, None)],
        &[],
        1,
        false,
    );
    assert_eq!(stage.request("192.0.2.1"), Flow::Pause);
    assert_eq!(stage.status(), 403);
    assert_eq!(stage.request("192.0.2.2"), Flow::Continue);
    assert!(stage.host.sent().is_empty());
    assert!(stage.host.header("x-portcullis-action").is_none());
    let denied = "portcullis_verdicts_total.action.deny.source.snapshot.mode.enforce";
    assert_eq!(stage.count(denied), 1);
    let clean = "portcullis_verdicts_total.action.allow.source.unlisted.mode.enforce";
    assert_eq!(stage.count(clean), 1);
}

#[test]
fn a_known_address_costs_one_host_call_that_returns_bytes_and_no_clock() {
    let mut stage = Stage::new(ENFORCE);
    stage.load(&[], &[], 1, false);
    stage.request("8.8.8.8");
    assert_eq!(stage.host.property_reads(), 1);
    assert!(stage.host.calls().is_empty());
}

#[test]
fn a_known_clean_client_costs_no_allocation_and_one_host_call() {
    let mut unlisted = Stage::new(ENFORCE);
    unlisted.load(&[], &[], 1, false);
    let mut cached = Stage::new(ENFORCE);
    cached.load(&[], &[], 1, true);
    cached.request("8.8.8.8");
    let token = cached.asked();
    cached.answer_with(token, &clean_verdict("8.8.8.8/32"));
    let mut allowed = Stage::new(r#"{"mode":"enforce","allow":["8.0.0.0/8"]}"#);
    allowed.host.put_header(":path", b"/");
    let mut routed = Stage::new(r#"{"mode":"enforce","routes":{"shop*":{"mode":"monitor"}}}"#);
    routed.load(&[], &[], 1, false);
    routed.host.set_property(Property::RouteName, b"shop-eu");
    for (stage, host_calls, what) in [
        (&mut unlisted, 1, "unlisted"),
        (&mut cached, 1, "cached"),
        (&mut allowed, 1, "allowed"),
        (&mut routed, 2, "with routes"),
    ] {
        stage.request("8.8.8.8");
        let before = stage.host.property_reads();
        let taken = allocations::during(|| {
            let flow = stage.turn(|turn, plugin| on_request(turn, plugin, ContextId(1)));
            assert_eq!(flow, Flow::Continue);
        });
        assert_eq!(taken, 0, "{what}");
        assert_eq!(stage.host.property_reads() - before, host_calls, "{what}");
        assert!(stage.host.calls().is_empty(), "{what}");
    }
}

#[test]
fn the_local_allow_list_wins_over_everything() {
    let mut stage = Stage::new(r#"{"mode":"enforce","allow":["192.0.2.0/24"]}"#);
    stage.load(
        &[],
        &[("192.0.2.1", Rank::OperatorBan, BAN, None)],
        1,
        false,
    );
    assert_eq!(stage.request("192.0.2.1"), Flow::Continue);
    let local = "portcullis_verdicts_total.action.allow.source.local.mode.enforce";
    assert_eq!(stage.count(local), 1);
}

#[test]
fn overlay_and_base_are_both_read_and_the_higher_rank_wins() {
    let allow = Basis::Action(Action::Allow);
    let mut stage = Stage::new(ENFORCE);
    let base = [("192.0.2.1/32", Rank::OperatorAllow, allow, None)];
    stage.load(
        &base,
        &[("192.0.0.0/16", Rank::SourceDecision, BAN, None)],
        1,
        false,
    );
    assert_eq!(stage.request("192.0.2.1"), Flow::Continue);
    assert_eq!(stage.request("192.0.2.2"), Flow::Pause);
}

#[test]
fn a_ban_expires_without_anybodys_help() {
    let mut stage = Stage::new(ENFORCE);
    stage.load(
        &[],
        &[("192.0.2.1", Rank::OperatorBan, BAN, Some(10))],
        1,
        false,
    );
    assert_eq!(stage.request("192.0.2.1"), Flow::Pause);
    stage.now = NOW.plus(10);
    assert_eq!(stage.request("192.0.2.1"), Flow::Continue);
}

#[test]
fn bands_follow_the_configured_actions_and_explicit_words_do_not() {
    let lenient = r#"{"mode":"enforce","actions":{"malicious":"tag"}}"#;
    let mut stage = Stage::new(lenient);
    let base = [
        ("192.0.2.1", Rank::HardSource, LISTED, None),
        ("192.0.2.2", Rank::OperatorBan, BAN, None),
    ];
    stage.load(&base, &[], 1, false);
    assert_eq!(stage.request("192.0.2.1"), Flow::Continue);
    assert_eq!(
        stage.host.header("x-portcullis-action").as_deref(),
        Some("tag")
    );
    assert_eq!(
        stage.host.header("x-portcullis-band").as_deref(),
        Some("malicious")
    );
    assert_eq!(
        stage.host.header("x-portcullis-score").as_deref(),
        Some("100")
    );
    assert_eq!(
        stage.host.header("x-portcullis-reason").as_deref(),
        Some("the list")
    );
    assert_eq!(stage.request("192.0.2.2"), Flow::Pause);
}
