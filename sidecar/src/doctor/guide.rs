//! What is neither a fault nor to be seen elsewhere: settings of the whole, and what this version does
//! not have.

use super::{Check, Finding};

pub fn guard(permit_special: bool) -> Finding {
    let check = Check::SidecarGuard;
    if permit_special {
        return Finding::attention(
            check,
            "guard.permit_special is on: a feed may refuse private, loopback and other special space",
            "remove it: it is for tests and demonstrations only",
        );
    }
    Finding::ok(
        check,
        "no feed may list private, loopback and other special space",
    )
}

pub fn history() -> Finding {
    let seen = "this version keeps no history of verdicts: only decisions, quota and answers";
    Finding::note(Check::SidecarHistory, seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn special_space_is_permitted_in_tests_only() {
        assert_eq!(guard(false).state, State::Ok);
        assert_eq!(guard(true).state, State::Attention);
        assert_eq!(history().state, State::Note);
    }
}
