//! What no feed may do, and which new version of a feed is held until a person releases it.
//!
//! Owns the rules of design section 4, "the guard". Ranges that a feed's wider prefix covers are not
//! its business: `snapshot::compile` adds protected and special-purpose ranges as trusted entries.

use reputation::{Cidr, ClientAddress, UnixSeconds, special};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::formats::{LineFault, Listing, Parsed};
use crate::config::{Feed, FeedRole, FeedSource, Guard};
use crate::intelligence::prefixes::PrefixMapBuilder;

/// Below this many entries a factor says nothing: a list of three may become one of ten.
const FACTOR_FROM: usize = 64;
/// A new version may refuse this many addresses that were lately served well, whatever the share.
const CLEAN_HITS_FREE: usize = 5;
/// Beyond that: at most one in this many.
const CLEAN_SHARE: usize = 100;

/// What was taken out of a list, by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Private, loopback, link-local and other special-purpose space.
    pub special: usize,
    /// Prefixes shorter than the guard's limit.
    pub too_wide: usize,
    /// Inside the operator's protected ranges.
    pub protected: usize,
}

/// A list after the guard's rules on single entries.
#[derive(Debug)]
pub struct Guarded {
    pub listing: Listing,
    pub dropped: Dropped,
    pub unreadable: usize,
    pub faults: Vec<LineFault>,
    pub first_end: Option<UnixSeconds>,
}

/// Why a new version of a feed is not taken at all.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    #[error("{unreadable} of {rows} lines cannot be read, the first is line {line}: {text:?}")]
    Unreadable {
        unreadable: usize,
        rows: usize,
        line: usize,
        text: String,
    },
    #[error("it is empty, and was not before")]
    Empty,
}

/// Why a new version of a feed waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Hold {
    #[error("it grew from {before} to {now} entries")]
    Grew { before: usize, now: usize },
    #[error("it shrank from {before} to {now} entries")]
    Shrank { before: usize, now: usize },
    #[error("it would refuse {hits} of {seen} addresses that were lately served well")]
    WouldDeny { hits: usize, seen: usize },
}

impl Refusal {
    /// The metric's label.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "unreadable",
            Self::Empty => "empty",
        }
    }
}

impl Hold {
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Grew { .. } => "grew",
            Self::Shrank { .. } => "shrank",
            Self::WouldDeny { .. } => "would_deny_clean",
        }
    }
}

/// Applies the rules that need no earlier version but its size: `before` is the number of entries of
/// the last good copy, if there is one.
pub fn screen(
    parsed: Parsed,
    guard: &Guard,
    feed: &Feed,
    before: Option<usize>,
) -> Result<Guarded, Refusal> {
    if let Some(first) = parsed.faults.first()
        && share_exceeds(parsed.unreadable, parsed.rows, guard.max_unreadable)
    {
        return Err(Refusal::Unreadable {
            unreadable: parsed.unreadable,
            rows: parsed.rows,
            line: first.line,
            text: first.text.clone(),
        });
    }
    if parsed.rows == 0 && !parsed.declared_empty && before.is_some_and(|before| before > 0) {
        return Err(Refusal::Empty);
    }
    let (listing, dropped) = drop_forbidden(parsed.entries.build_greatest(), guard, feed);
    Ok(Guarded {
        listing,
        dropped,
        unreadable: parsed.unreadable,
        faults: parsed.faults,
        first_end: parsed.first_end,
    })
}

/// Whether the change in size from the last good copy needs a person's eye.
pub fn size_jump(before: usize, now: usize, guard: &Guard) -> Option<Hold> {
    // What was empty has no size to compare with: its first entries are as good as a first version.
    if before == 0 || before.max(now) < FACTOR_FROM {
        return None;
    }
    if exceeds(now, before, guard.max_growth) {
        return Some(Hold::Grew { before, now });
    }
    exceeds(before, now, guard.max_shrink).then_some(Hold::Shrank { before, now })
}

/// Whether too many of `clean`, addresses lately served well, would be refused. `denied` says
/// for one address whether the new version is what refuses it.
pub fn shadow(clean: &[ClientAddress], denied: impl Fn(ClientAddress) -> bool) -> Option<Hold> {
    let seen = clean.len();
    let hits = clean.iter().filter(|address| denied(**address)).count();
    let too_many = hits > CLEAN_HITS_FREE && hits.saturating_mul(CLEAN_SHARE) > seen;
    too_many.then_some(Hold::WouldDeny { hits, seen })
}

fn drop_forbidden(listing: Listing, guard: &Guard, feed: &Feed) -> (Listing, Dropped) {
    let mut dropped = Dropped::default();
    let mut kept = PrefixMapBuilder::new();
    for (cidr, score) in listing.iter() {
        let count = match feed.role {
            FeedRole::Allow => forbidden_to_trust(cidr, guard, &feed.source, &mut dropped),
            FeedRole::Block | FeedRole::Score { .. } => {
                forbidden_to_list(cidr, guard, &mut dropped)
            }
        };
        match count {
            Some(count) => *count += 1,
            None => kept.push(cidr, score),
        }
    }
    if dropped == Dropped::default() {
        return (listing, dropped);
    }
    (kept.build(), dropped)
}

/// Under what it counts that `cidr` may not stand on a list that speaks against its entries.
pub fn forbidden_to_list<'d>(
    cidr: Cidr,
    guard: &Guard,
    dropped: &'d mut Dropped,
) -> Option<&'d mut usize> {
    if too_wide(cidr, guard) {
        Some(&mut dropped.too_wide)
    } else if !guard.permit_special && special::is_special(cidr) {
        Some(&mut dropped.special)
    } else if guard.protect.iter().any(|range| range.covers(cidr)) {
        Some(&mut dropped.protected)
    } else {
        None
    }
}

/// The same for a list of the trusted. Private space may stand on one of our own, at any width, but nobody
/// else knows ours; a public range that is too wide would switch off every other list.
fn forbidden_to_trust<'d>(
    cidr: Cidr,
    guard: &Guard,
    source: &FeedSource,
    dropped: &'d mut Dropped,
) -> Option<&'d mut usize> {
    let is_ours = matches!(source, FeedSource::File(_)) || guard.permit_special;
    match special::is_special(cidr) {
        true if is_ours => None,
        true => Some(&mut dropped.special),
        false => too_wide(cidr, guard).then_some(&mut dropped.too_wide),
    }
}

fn too_wide(cidr: Cidr, guard: &Guard) -> bool {
    let shortest = match cidr.network() {
        ClientAddress::V4(_) => guard.min_prefix_v4,
        ClientAddress::V6(_) => guard.min_prefix_v6,
    };
    cidr.len() < shortest
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a share of two counts that are far below 2^52"
)]
fn share_exceeds(part: usize, whole: usize, limit: f64) -> bool {
    part as f64 > whole as f64 * limit
}

fn exceeds(larger: usize, smaller: usize, factor: f64) -> bool {
    share_exceeds(larger, smaller, factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{FeedFormat, ListScore};
    use crate::intelligence::feeds::formats::parse;
    use crate::intelligence::testing::file_feed;

    fn of_role(role: FeedRole) -> Feed {
        Feed {
            role,
            ..file_feed("list", "/nowhere")
        }
    }

    fn screened(text: &str, guard: &Guard, role: FeedRole) -> Result<Guarded, Refusal> {
        let parsed = parse(
            text.as_bytes(),
            &FeedFormat::Plain,
            ListScore::Fixed(90),
            UnixSeconds(0),
        )
        .unwrap();
        screen(parsed, guard, &of_role(role), Some(1))
    }

    #[test]
    fn special_wide_and_protected_entries_are_dropped_and_counted() {
        let guard = Guard {
            protect: vec!["198.18.0.0/24".parse().unwrap()],
            permit_special: false,
            ..Guard::default()
        };
        let text = "10.0.0.0/8\n127.0.0.1\n0.0.0.0/0\n1.0.0.0/7\n2000::/3\n8.8.8.8\n9.0.0.0/8\n";
        let kept = screened(text, &guard, FeedRole::Block).unwrap();
        assert_eq!(kept.listing.len(), 2);
        assert_eq!((kept.dropped.special, kept.dropped.too_wide), (2, 3));

        let open = Guard {
            permit_special: true,
            ..guard
        };
        let kept = screened("198.18.0.7\n198.18.1.7\n", &open, FeedRole::Block).unwrap();
        assert_eq!((kept.listing.len(), kept.dropped.protected), (1, 1));
    }

    #[test]
    fn a_list_of_the_trusted_may_hold_private_space() {
        let kept = screened("10.0.0.0/8\n", &Guard::default(), FeedRole::Allow).unwrap();
        assert_eq!(kept.listing.len(), 1);
    }

    #[test]
    fn nobody_elses_list_of_the_trusted_vouches_for_private_space() {
        let text = b"10.0.0.0/8\n127.0.0.1\nfe80::/10\n8.8.8.8\n0.0.0.0/0\n";
        let published = Feed {
            source: FeedSource::Url("https://example.org/list".parse().unwrap()),
            ..of_role(FeedRole::Allow)
        };
        let kept = |guard: &Guard| {
            let parsed = parse(
                text,
                &FeedFormat::Plain,
                ListScore::Fixed(0),
                UnixSeconds(0),
            )
            .unwrap();
            let kept = screen(parsed, guard, &published, None).unwrap();
            (
                kept.listing.len(),
                kept.dropped.special,
                kept.dropped.too_wide,
            )
        };
        assert_eq!(kept(&Guard::default()), (1, 3, 1));
        let open = Guard {
            permit_special: true,
            ..Guard::default()
        };
        assert_eq!(kept(&open), (4, 0, 1));
    }

    #[test]
    fn a_page_of_html_is_refused_whole() {
        let refused = screened(
            "<html>\n<body>\n8.8.8.8\n",
            &Guard::default(),
            FeedRole::Block,
        );
        let refused = refused.unwrap_err();
        assert_eq!(refused.cause(), "unreadable");
        assert!(refused.to_string().contains("2 of 3 lines"));
    }

    #[test]
    fn a_list_of_the_trusted_cannot_switch_off_all_others() {
        let text = "0.0.0.0/0\n0.0.0.0/1\n::/0\n2000::/3\n9.0.0.0/8\nfc00::/7\n240.0.0.0/4\n";
        let kept = screened(text, &Guard::default(), FeedRole::Allow).unwrap();
        let left: Vec<_> = kept
            .listing
            .iter()
            .map(|(cidr, _)| cidr.to_string())
            .collect();
        assert_eq!(left, ["9.0.0.0/8", "240.0.0.0/4", "fc00::/7"]);
        assert_eq!((kept.dropped.too_wide, kept.dropped.special), (4, 0));
    }

    #[test]
    fn an_empty_list_is_refused_only_if_it_had_entries_before() {
        let empty = || {
            parse(
                b"# nothing\n",
                &FeedFormat::Plain,
                ListScore::Fixed(90),
                UnixSeconds(0),
            )
            .unwrap()
        };
        let guard = Guard::default();
        let refused = screen(empty(), &guard, &of_role(FeedRole::Block), Some(7)).unwrap_err();
        assert_eq!(refused, Refusal::Empty);
        for before in [None, Some(0)] {
            assert!(screen(empty(), &guard, &of_role(FeedRole::Block), before).is_ok());
        }
    }

    #[test]
    fn a_jump_in_size_is_held_but_small_lists_move_freely() {
        let guard = Guard::default();
        assert_eq!(size_jump(3, 60, &guard), None);
        assert_eq!(size_jump(0, 5000, &guard), None);
        assert_eq!(size_jump(1000, 2999, &guard), None);
        assert_eq!(
            size_jump(1000, 3001, &guard),
            Some(Hold::Grew {
                before: 1000,
                now: 3001
            })
        );
        assert_eq!(
            size_jump(1000, 300, &guard),
            Some(Hold::Shrank {
                before: 1000,
                now: 300
            })
        );
    }

    #[test]
    fn a_version_that_would_refuse_addresses_served_well_is_held() {
        let clean: Vec<_> = (0..100).map(ClientAddress::V4).collect();
        let below =
            |limit: u32| move |address| matches!(address, ClientAddress::V4(bits) if bits < limit);
        assert_eq!(shadow(&clean, below(5)), None);
        assert_eq!(
            shadow(&clean, below(6)),
            Some(Hold::WouldDeny { hits: 6, seen: 100 })
        );
    }
}
