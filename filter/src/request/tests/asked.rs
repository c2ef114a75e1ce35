//! Clients in no image: the question, its answer, and what lists alone say meanwhile.

use super::*;

#[test]
fn a_look_up_belongs_to_the_trace_of_its_request_if_that_is_one() {
    let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let forged = good.replace('a', "\n");
    for (given, sent) in [(good, Some(good)), (forged.as_str(), None), ("00", None)] {
        let mut stage = Stage::new(ENFORCE);
        stage.host.put_header("traceparent", given.as_bytes());
        stage.request("8.8.8.8");
        let calls = stage.host.calls();
        assert_eq!(calls[0].traceparent.as_deref(), sent, "{given:?}");
    }
}

#[test]
fn an_unknown_address_is_asked_about_once_and_known_the_next_time() {
    let mut stage = Stage::new(ENFORCE);
    stage.host.put_header("x-request-id", b"r-1");
    assert_eq!(stage.request("8.8.8.8"), Flow::Continue);
    assert_eq!(stage.request("8.8.8.8"), Flow::Continue);
    let calls = stage.host.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].cluster, "portcullis");
    assert_eq!(calls[0].path, "/v1/verdict/8.8.8.8?wait_ms=150&prefix=64");
    assert_eq!(calls[0].request_id.as_deref(), Some("r-1"));
    assert_eq!(calls[0].traceparent, None);
    stage.answer_with(calls[0].token, &deny_verdict("8.8.8.8/32"));
    assert_eq!(stage.request("8.8.8.8"), Flow::Pause);
    assert!(stage.host.calls().is_empty());
    assert_eq!(
        stage.host.state("portcullis_source").as_deref(),
        Some("cache")
    );
    assert_eq!(stage.count("portcullis_lookups_total.outcome.ok"), 1);
}

/// Where lists alone make 192.0.2.1 suspicious, and the sidecar can be asked.
fn doubting(json: &str) -> Stage {
    let mut stage = Stage::new(json);
    stage.load(&[("192.0.2.1", Rank::Score, DOUBTED, None)], &[], 1, true);
    stage
}

#[test]
fn what_lists_alone_make_suspicious_is_tagged_at_once_and_refused_when_all_words_say_so() {
    let mut stage = doubting(HOLD);
    assert_eq!(stage.request("192.0.2.1"), Flow::Continue, "never held");
    let score = |stage: &Stage| stage.host.header("x-portcullis-score");
    assert_eq!(score(&stage).as_deref(), Some("56"));
    let token = stage.asked();
    assert_eq!(stage.request("192.0.2.1"), Flow::Continue);
    assert!(stage.host.calls().is_empty(), "asked about once");
    stage.answer_with(token, &deny_verdict("192.0.2.1/32"));
    assert_eq!(stage.request("192.0.2.1"), Flow::Pause);
    assert_eq!(stage.status(), 403);
    let counted = "portcullis_verdicts_total.action.deny.source.cache.mode.enforce";
    assert_eq!(stage.count(counted), 1);
}

#[test]
fn who_is_vouched_for_passes_although_lists_alone_make_him_suspicious() {
    let mut stage = doubting(ENFORCE);
    stage.request("192.0.2.1");
    let token = stage.asked();
    let vouched = Verdict {
        score: 20,
        rank: Some(Rank::Score),
        ..clean_verdict("192.0.2.1/32")
    };
    stage.answer_with(token, &vouched);
    stage.host.clear_headers();
    assert_eq!(stage.request("192.0.2.1"), Flow::Continue);
    assert_eq!(stage.host.header("x-portcullis-action"), None);
}

#[test]
fn a_clean_word_of_before_the_list_does_not_outweigh_it_and_is_not_asked_for_again() {
    let mut stage = Stage::new(ENFORCE);
    stage.load(&[], &[], 1, true);
    stage.request("192.0.2.1");
    let token = stage.asked();
    stage.answer_with(token, &clean_verdict("192.0.2.1/32"));
    stage.load(&[("192.0.2.1", Rank::Score, DOUBTED, None)], &[], 1, true);
    assert_eq!(stage.request("192.0.2.1"), Flow::Continue);
    let action = stage.host.header("x-portcullis-action");
    assert_eq!(action.as_deref(), Some("tag"));
    assert!(stage.host.calls().is_empty());
}

#[test]
fn the_lists_word_stands_when_the_sidecar_cannot_be_asked() {
    let closed = r#"{"mode":"enforce","failure":"closed","unknown":"hold"}"#;
    let mut stage = doubting(closed);
    let tagged = |stage: &mut Stage| {
        stage.host.clear_headers();
        assert_eq!(stage.request("192.0.2.1"), Flow::Continue);
        assert!(stage.host.sent().is_empty());
        let action = stage.host.header("x-portcullis-action");
        assert_eq!(action.as_deref(), Some("tag"));
    };
    tagged(&mut stage);
    let token = stage.asked();
    stage.answer(token, "", b"");
    tagged(&mut stage);
    assert!(stage.host.calls().is_empty(), "known as failed");
    stage.host.call_error.set(Some(CallError::Cluster));
    for _ in 0..8 {
        stage.now = stage.now.plus(3);
        tagged(&mut stage);
    }
    stage.host.call_error.set(None);
    tagged(&mut stage);
    assert!(stage.host.calls().is_empty(), "the breaker is open");
    for cause in ["unavailable", "breaker"] {
        let failed = format!("portcullis_failures_total.policy.closed.cause.{cause}");
        assert_eq!(stage.count(&failed), 0);
    }
}

#[test]
fn nothing_is_asked_about_who_is_malicious_by_lists_alone_or_where_nobody_can_be_asked() {
    let mut stage = Stage::new(ENFORCE);
    let listed = [("192.0.2.1", Rank::Score, LISTED, None)];
    stage.load(&listed, &[], 1, true);
    assert_eq!(stage.request("192.0.2.1"), Flow::Pause);
    let doubted = [("192.0.2.1", Rank::Score, DOUBTED, None)];
    stage.load(&doubted, &[], 1, false);
    assert_eq!(stage.request("192.0.2.1"), Flow::Continue);
    assert!(stage.host.calls().is_empty());
}

#[test]
fn a_new_generation_asks_again_and_an_answer_to_the_old_one_is_not_kept() {
    let mut stage = Stage::new(ENFORCE);
    stage.load(&[], &[], 1, true);
    stage.request("8.8.8.8");
    let before = stage.asked();
    stage.load(&[], &[], 2, true);
    stage.answer_with(before, &deny_verdict("8.8.8.8/32"));
    assert_eq!(stage.request("8.8.8.8"), Flow::Continue);
    let token = stage.asked();
    stage.answer_with(token, &clean_verdict("8.8.8.8/32"));
    assert_eq!(stage.request("8.8.8.8"), Flow::Continue);
    assert!(stage.host.calls().is_empty());
}

#[test]
fn one_visitor_never_decides_for_his_neighbours() {
    let mut stage = Stage::new(HOLD);
    stage.request_of(ContextId(1), "2001:db8::1");
    stage.request_of(ContextId(2), "2001:db8::2");
    let token = stage.asked();
    stage.answer_with(token, &deny_verdict("2001:db8::1/128"));
    assert_eq!(stage.host.sent().len(), 1);
    assert_eq!(stage.host.resumed(), [ContextId(2)]);
    assert_eq!(stage.request_of(ContextId(3), "2001:db8::1"), Flow::Pause);
    assert_eq!(stage.status(), 403);
    stage.request_of(ContextId(4), "2001:db8::2");
    stage.asked();
}

#[test]
fn one_visitors_failure_is_not_that_of_his_neighbours() {
    let mut stage = Stage::new(HOLD);
    stage.request_of(ContextId(1), "2001:db8::1");
    let token = stage.asked();
    stage.answer(token, "504", b"");
    stage.request_of(ContextId(2), "2001:db8::1");
    assert!(stage.host.calls().is_empty(), "he is not asked about again");
    stage.request_of(ContextId(3), "2001:db8::2");
    stage.asked();
}
