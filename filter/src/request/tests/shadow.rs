//! What sources in shadow would do: counted, and done to nobody.

use super::*;

#[test]
fn where_only_the_shadow_is_asked_a_dead_sidecar_hinders_and_delays_nobody() {
    let strict = r#"{"mode":"enforce","unknown":"hold","failure":"closed"}"#;
    let mut stage = Stage::new(strict);
    stage.load_with(&[], &[], 1, Askable::Shadow);
    for n in 1..=5 {
        let address = format!("8.8.8.{n}");
        assert_eq!(stage.request(&address), Flow::Continue, "nothing is held");
        let token = stage.asked();
        stage.answer(token, "", b"");
        assert_eq!(stage.request(&address), Flow::Continue, "known as failed");
        assert!(stage.host.calls().is_empty());
    }
    assert_eq!(stage.request("8.8.8.6"), Flow::Continue, "breaker open");
    assert!(stage.host.calls().is_empty());
    stage.host.micros.set(stage.host.micros.get() + 1_600_000);
    stage.host.call_error.set(Some(CallError::Cluster));
    assert_eq!(stage.request("8.8.8.7"), Flow::Continue, "no call at all");
    assert!(stage.host.sent().is_empty() && stage.host.resumed().is_empty());
    let unlisted = "portcullis_verdicts_total.action.allow.source.unlisted.mode.enforce";
    assert_eq!(stage.count(unlisted), 12);
    for cause in ["unavailable", "breaker"] {
        let failed = format!("portcullis_failures_total.policy.closed.cause.{cause}");
        assert_eq!(stage.count(&failed), 0);
    }
    // The same under a snapshot by which somebody has a say.
    stage.load_with(&[], &[], 2, Askable::Sources);
    assert_eq!(stage.request("8.8.8.8"), Flow::Pause);
    assert_eq!(stage.status(), 503);
}

#[test]
fn where_only_the_shadow_is_asked_its_answer_is_kept_and_counted() {
    let mut stage = Stage::new(HOLD);
    stage.load_with(&[], &[], 1, Askable::Shadow);
    assert_eq!(stage.request("8.8.8.8"), Flow::Continue);
    let token = stage.asked();
    let shadow = Some(Shadow {
        action: Action::Deny,
        band: Band::Malicious,
        reason: "new".to_owned(),
    });
    let clean = clean_verdict("8.8.8.8/32");
    stage.answer_with(token, &Verdict { shadow, ..clean });
    for _ in 0..3 {
        assert_eq!(stage.request("8.8.8.8"), Flow::Continue);
    }
    assert!(stage.host.calls().is_empty());
    let would = "portcullis_verdicts_total.action.deny.source.cache.mode.shadow";
    assert_eq!(stage.count(would), 3);
}

#[test]
fn what_a_source_in_shadow_would_do_is_counted_per_request_and_not_done() {
    let shadow = |band: Band| Verdict {
        shadow: Some(Shadow {
            action: band.default_action(),
            band,
            reason: "new".to_owned(),
        }),
        ..clean_verdict("8.8.8.8/32")
    };
    let mut stage = Stage::new(ENFORCE);
    stage.request("8.8.8.8");
    let token = stage.asked();
    stage.answer_with(token, &shadow(Band::Malicious));
    for _ in 0..3 {
        assert_eq!(stage.request("8.8.8.8"), Flow::Continue);
    }
    let counted = |stage: &mut Stage, action: &str, mode: &str| {
        stage.count(&format!(
            "portcullis_verdicts_total.action.{action}.source.cache.mode.{mode}"
        ))
    };
    assert_eq!(counted(&mut stage, "deny", "shadow"), 3);
    assert_eq!(counted(&mut stage, "allow", "enforce"), 3);
    assert_eq!(counted(&mut stage, "deny", "enforce"), 0);
    assert_eq!(stage.host.state("portcullis_verdict"), None);
    // The filter's own `actions` decide what a band leads to, in shadow too.
    let mut stage = Stage::new(r#"{"mode": "enforce", "actions": {"malicious": "throttle"}}"#);
    stage.request("8.8.8.8");
    let token = stage.asked();
    stage.answer_with(token, &shadow(Band::Malicious));
    stage.request("8.8.8.8");
    assert_eq!(counted(&mut stage, "throttle", "shadow"), 1);
}
