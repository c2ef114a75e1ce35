//! Whether what is thought and done is recorded.

use super::{Check, Finding};
use crate::history::HistoryHealth;

pub fn recorded(health: Option<&HistoryHealth>) -> Finding {
    let check = Check::SidecarHistory;
    let Some(health) = health else {
        let seen = "no history is kept: docs/history.md says what it would tell";
        return Finding::note(check, seen);
    };
    let HistoryHealth {
        place,
        fault,
        waiting,
        dropped,
        ..
    } = health;
    match fault {
        Some(fault) => Finding::attention(
            check,
            format!("{place} takes nothing: {fault}; {waiting} entries wait, {dropped} are lost"),
            "see docs/history.md; requests and decisions do not wait for it",
        ),
        None if *dropped > 0 => Finding::attention(
            check,
            format!("recorded in {place}, but {dropped} entries were lost since the start"),
            "see portcullis_history_dropped_total for the causes, and docs/history.md",
        ),
        None => Finding::ok(check, format!("recorded in {place}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn a_database_that_takes_nothing_or_lost_something_wants_attention() {
        let good = HistoryHealth {
            place: "postgres://db:5432/history".to_owned(),
            fault: None,
            last_success: None,
            waiting: 0,
            dropped: 0,
        };
        assert_eq!(recorded(None).state, State::Note);
        assert_eq!(recorded(Some(&good)).state, State::Ok);
        let away = HistoryHealth {
            fault: Some("connection refused".to_owned()),
            waiting: 7,
            ..good.clone()
        };
        let lossy = HistoryHealth { dropped: 3, ..good };
        for (health, words) in [(away, "7 entries wait"), (lossy, "3 entries were lost")] {
            let finding = recorded(Some(&health));
            assert_eq!(finding.state, State::Attention);
            assert!(finding.seen.contains(words), "{}", finding.seen);
        }
    }
}
