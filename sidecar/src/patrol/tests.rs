use hyper::HeaderMap;
use hyper::body::Bytes;
use hyper::header::HeaderName;

use super::*;

fn answer(status: u16, header: Option<&'static str>) -> Answer {
    let named = header.map(|name| (HeaderName::from_static(name), "a".parse().unwrap()));
    Answer {
        status: hyper::StatusCode::from_u16(status).unwrap(),
        headers: HeaderMap::from_iter(named),
        body: Bytes::new(),
        from_wished: true,
    }
}

#[test]
fn only_what_names_its_decision_is_a_refusal_of_ours() {
    assert!(is_refusal(&answer(403, Some(DECISION))));
    assert!(!is_refusal(&answer(403, None)), "the application's own");
    assert!(!is_refusal(&answer(200, Some("x-request-id"))));
}

#[test]
fn what_is_seen_proves_enforcement_only_if_it_was_refused_or_noted() {
    let proving = CanaryState::ALL.iter().filter(|state| state.proves());
    let proving: Vec<_> = proving.map(|state| state.name()).collect();
    assert_eq!(proving, ["refused", "noted"]);
}
