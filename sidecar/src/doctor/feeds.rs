//! Whether lists arrive, are taken, and hold something.

use std::time::Duration;

use super::{Check, Finding, count};
use crate::intelligence::FeedStatus;

/// So many missed refreshes make a list old.
const MISSED: u64 = 3;
/// But no list is old before that: a file that is looked at each second need not be confirmed each second.
const OLD_AFTER: u64 = 60;

/// Lists that are neither held nor tried nor in error, and yet were not confirmed for long.
pub fn fresh(feeds: &[FeedStatus]) -> Finding {
    let check = Check::FeedsFresh;
    let old = feeds
        .iter()
        .filter(|feed| !feed.held && feed.trial_until.is_none() && feed.last_error.is_none());
    let old: Vec<_> = old.filter_map(overdue).collect();
    if !old.is_empty() {
        return Finding::attention(
            check,
            old.join(", "),
            "see what the sidecar's log says of fetching it",
        );
    }
    let oldest = feeds.iter().filter_map(|feed| feed.age_s).max();
    match (feeds.len(), oldest) {
        (0, _) => Finding::note(
            check,
            "no feed is configured: only decisions and providers refuse",
        ),
        (_, None) => Finding::skipped(check, "no list has arrived yet"),
        (number, Some(oldest)) => {
            let age = crate::duration::show(Duration::from_secs(oldest.into()));
            Finding::ok(
                check,
                format!("{}, the oldest {age} old", count(number, "feed")),
            )
        }
    }
}

pub fn held(feeds: &[FeedStatus]) -> Finding {
    let check = Check::FeedsHeld;
    let held = feeds.iter().filter(|feed| feed.held);
    let words: Vec<_> = held
        .clone()
        .map(|feed| {
            let why = feed.held_because.as_deref().unwrap_or("by the guard");
            format!("{}: {why}", feed.name)
        })
        .collect();
    match held.map(|feed| feed.name.as_str()).next() {
        None => Finding::ok(check, "no new version waits for a person"),
        Some(first) => Finding::attention(
            check,
            words.join("; "),
            format!("look at the list, then: portcullis feeds release {first}"),
        ),
    }
}

/// What is listed and refuses nobody yet: nothing is wrong with that, but it is easily forgotten.
pub fn shadow(feeds: &[FeedStatus]) -> Finding {
    let check = Check::FeedsShadow;
    let in_shadow = feeds.iter().filter(|feed| feed.in_shadow > 0);
    let words: Vec<_> = in_shadow
        .map(|feed| {
            let entries = count_entries(feed.in_shadow);
            match feed.trial_until {
                Some(_) => format!("{}: {entries} of a new version", feed.name),
                None => format!("{}: {entries} of {}", feed.name, feed.entries),
            }
        })
        .collect();
    if words.is_empty() {
        return Finding::ok(check, "every entry has a say");
    }
    Finding::note(check, format!("counted only: {}", words.join(", ")))
}

pub fn refused(feeds: &[FeedStatus]) -> Finding {
    let check = Check::FeedsRefused;
    let words: Vec<_> = feeds
        .iter()
        .filter_map(|feed| Some(format!("{}: {}", feed.name, feed.last_error.as_ref()?)))
        .collect();
    if words.is_empty() {
        return Finding::ok(check, "the newest version of each list is in force");
    }
    Finding::attention(
        check,
        words.join("; "),
        "the last good version stays in force: mend the source, or its entry in the configuration",
    )
}

/// Held and faulty lists are told of already.
pub fn empty(feeds: &[FeedStatus]) -> Finding {
    let check = Check::FeedsEmpty;
    let empty = feeds
        .iter()
        .filter(|feed| feed.entries == 0 && !feed.held && feed.last_error.is_none());
    let names: Vec<_> = empty.map(|feed| feed.name.as_str()).collect();
    let entries: usize = feeds.iter().map(|feed| feed.entries).sum();
    if names.is_empty() {
        return Finding::ok(check, format!("{} in force", count_entries(entries)));
    }
    Finding::attention(
        check,
        format!("nothing in {}", names.join(", ")),
        "see whether that is meant, and what the guard dropped: portcullis feeds",
    )
}

fn overdue(feed: &FeedStatus) -> Option<String> {
    let limit = feed.refresh_s.saturating_mul(MISSED).max(OLD_AFTER);
    let age = u64::from(feed.age_s?);
    let show = |seconds| crate::duration::show(Duration::from_secs(seconds));
    let (name, refresh) = (&feed.name, feed.refresh_s);
    (age > limit).then(|| {
        format!(
            "{name} is {} old, refreshed every {}",
            show(age),
            show(refresh)
        )
    })
}

fn count_entries(number: usize) -> String {
    if number == 1 {
        "1 entry".to_owned()
    } else {
        format!("{number} entries")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;
    use crate::intelligence::testing::file_feed;

    fn feed() -> FeedStatus {
        FeedStatus {
            entries: 7,
            age_s: Some(100),
            ..FeedStatus::new(&file_feed("ipsum", "/lists/ipsum"))
        }
    }

    #[test]
    fn a_list_that_missed_several_refreshes_is_old() {
        assert_eq!(fresh(&[feed()]).state, State::Ok);
        let old = FeedStatus {
            age_s: Some(4 * 3600),
            ..feed()
        };
        assert_eq!(fresh(&[feed(), old.clone()]).state, State::Attention);
        let held = FeedStatus { held: true, ..old };
        assert_eq!(fresh(&[held]).state, State::Ok, "it is told of as held");
        assert_eq!(fresh(&[]).state, State::Note);
        let never = FeedStatus {
            age_s: None,
            ..feed()
        };
        assert_eq!(fresh(&[never]).state, State::Skipped);
    }

    #[test]
    fn a_held_list_is_released_by_a_person() {
        assert_eq!(held(&[feed()]).state, State::Ok);
        let one = FeedStatus {
            held: true,
            held_because: Some("it grew".to_owned()),
            ..feed()
        };
        let finding = held(&[one]);
        assert_eq!(finding.state, State::Attention);
        assert!(finding.remedy.unwrap().ends_with("feeds release ipsum"));
    }

    #[test]
    fn what_is_in_shadow_is_noted_and_a_version_on_trial_is_not_old() {
        assert_eq!(shadow(&[feed()]).state, State::Ok);
        let part = FeedStatus {
            in_shadow: 3,
            ..feed()
        };
        let tried = FeedStatus {
            name: "drop".to_owned(),
            in_shadow: 1,
            trial_until: Some(reputation::UnixSeconds(1)),
            age_s: Some(4 * 3600),
            ..feed()
        };
        assert_eq!(fresh(std::slice::from_ref(&tried)).state, State::Ok);
        let finding = shadow(&[part, tried]);
        assert_eq!(finding.state, State::Note);
        let seen = "counted only: ipsum: 3 entries of 7, drop: 1 entry of a new version";
        assert_eq!(finding.seen, seen);
    }

    #[test]
    fn a_refused_list_and_an_empty_one_are_told_apart() {
        assert_eq!(
            (refused(&[feed()]).state, empty(&[feed()]).state),
            (State::Ok, State::Ok)
        );
        let faulty = FeedStatus {
            entries: 0,
            last_error: Some("not found".to_owned()),
            ..feed()
        };
        let none = FeedStatus {
            entries: 0,
            ..feed()
        };
        assert_eq!(
            refused(std::slice::from_ref(&faulty)).state,
            State::Attention
        );
        assert_eq!(empty(&[faulty]).state, State::Ok);
        assert_eq!(empty(&[none]).state, State::Attention);
    }
}
