//! Whether the store works, and whether what is in it lasts.

use super::{Check, Finding};
use crate::store::{StoreHealth, StoreKind};

pub fn reachable(store: &StoreHealth) -> Finding {
    let check = Check::StoreReachable;
    match &store.fault {
        None => Finding::ok(check, format!("{} at {}", kind(store.kind), store.place)),
        Some(fault) => Finding::failing(
            check,
            format!("{} at {}: {fault}", kind(store.kind), store.place),
            "until it works, proxies keep what they have, and bans and modes cannot be written",
        ),
    }
}

pub fn durable(store: &StoreHealth) -> Finding {
    let check = Check::StoreDurable;
    if store.fault.is_some() {
        return Finding::skipped(check, "the store does not work");
    }
    if store.concerns.is_empty() {
        return Finding::ok(check, "decisions and quota outlast a crash");
    }
    // Each says what is wrong and what to do.
    let concerns: Vec<_> = store.concerns.iter().map(ToString::to_string).collect();
    Finding::attention(check, concerns.join("; "), "see [store] in docs/sidecar.md")
}

fn kind(kind: StoreKind) -> &'static str {
    match kind {
        StoreKind::Embedded => "embedded",
        StoreKind::Redis => "Redis",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;
    use crate::store::Concern;

    fn healthy() -> StoreHealth {
        StoreHealth {
            kind: StoreKind::Redis,
            place: "redis://127.0.0.1:6379/0".to_owned(),
            fault: None,
            concerns: Vec::new(),
        }
    }

    #[test]
    fn a_store_that_does_not_work_fails_and_says_nothing_of_its_durability() {
        assert_eq!(reachable(&healthy()).state, State::Ok);
        let down = StoreHealth {
            fault: Some("connection refused".to_owned()),
            ..healthy()
        };
        assert_eq!(reachable(&down).state, State::Failing);
        assert_eq!(durable(&down).state, State::Skipped);
    }

    #[test]
    fn a_store_that_may_lose_decisions_wants_attention() {
        assert_eq!(durable(&healthy()).state, State::Ok);
        let volatile = StoreHealth {
            concerns: vec![Concern::NoPersistence, Concern::Full],
            ..healthy()
        };
        let finding = durable(&volatile);
        assert_eq!(finding.state, State::Attention);
        assert!(finding.seen.contains("appendonly") && finding.seen.contains("maxmemory"));
    }
}
