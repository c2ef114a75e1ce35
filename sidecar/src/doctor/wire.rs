//! Whether filter and sidecar are of versions that understand each other.

use std::time::Duration;

use super::{Check, Finding};
use crate::telemetry::AskersSeen;

/// A filter polls at least every half minute.
const LATELY: Duration = Duration::from_secs(120);

pub fn wire(seen: AskersSeen) -> Finding {
    let check = Check::SidecarWire;
    let lately = |ago: Option<Duration>| ago.is_some_and(|ago| ago <= LATELY);
    if lately(seen.refused) {
        return Finding::failing(
            check,
            "a filter of a version too far from this one asks and is refused: it keeps what it has",
            "upgrade it by way of the versions between: see docs/upgrading.md",
        );
    }
    if lately(seen.newer) {
        return Finding::attention(
            check,
            "filters of a newer version ask, and are answered as this one can",
            "upgrade this sidecar too, or take the filters back: see docs/upgrading.md",
        );
    }
    if lately(seen.older) {
        return Finding::note(
            check,
            "filters of an earlier version ask, and are answered in theirs",
        )
        .hint("upgrade them when it suits: see docs/upgrading.md");
    }
    if lately(seen.same) {
        return Finding::ok(check, "filters speak this sidecar's version of the wire");
    }
    Finding::note(check, "no filter has asked in the last 2 minutes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn the_neighbour_that_matters_most_is_told() {
        let now = Some(Duration::ZERO);
        let same = AskersSeen {
            same: now,
            ..AskersSeen::default()
        };
        let older = AskersSeen { older: now, ..same };
        let newer = AskersSeen {
            newer: now,
            ..older
        };
        let refused = AskersSeen {
            refused: now,
            ..newer
        };
        assert_eq!(wire(AskersSeen::default()).state, State::Note);
        assert_eq!(wire(same).state, State::Ok);
        assert_eq!(wire(older).state, State::Note);
        assert_eq!(wire(newer).state, State::Attention);
        assert_eq!(wire(refused).state, State::Failing);
    }

    #[test]
    fn what_was_long_ago_is_over() {
        let seen = AskersSeen {
            same: Some(Duration::from_secs(25)),
            refused: Some(LATELY + Duration::from_secs(1)),
            ..AskersSeen::default()
        };
        assert_eq!(wire(seen).state, State::Ok);
    }
}
