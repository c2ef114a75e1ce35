//! What stands in Redis, written short and read with suspicion: others may write there too. Whatever
//! no sidecar can have written is nothing.

use reputation::decision::is_very_wide;
use reputation::mode::ModeOverride;
use reputation::score::Stance;
use reputation::{Cidr, Decision, DecisionId, DecisionKind, UnixSeconds};
use serde::{Deserialize, Serialize};

use crate::store::StoredVerdict;
use crate::strangers::is_deceptive;

/// The longest verdict in octets. Answers are cut off beyond it.
pub const LONGEST_VERDICT: usize = 64;
/// The longest decision as JSON.
pub const LONGEST_DECISION: usize = 4096;
/// The longest reason and author of a decision, in characters.
const LONGEST_TEXT: usize = 200;
/// The longest list of modes as JSON: 256 of them with routes of 256 octets.
pub const LONGEST_MODES: usize = 256 * 1024;
const MOST_MODES: usize = 256;
const LONGEST_ROUTE: usize = 256;

/// Categories that are one bit each; others are appended as text.
const CATEGORIES: [&str; 2] = ["tor", "whitelisted"];
/// The bit of a word that vouches, beside those of the categories.
const TRUSTED: u8 = 1 << CATEGORIES.len();
/// Score, time of the answer, its life, the age of the last report, categories.
const FIXED: usize = 12;
/// How far another machine's clock may be ahead, in seconds.
const SKEW: u32 = 86_400;
/// No answer lives longer, in seconds.
const LONGEST_LIFE: u32 = 30 * 86_400;
/// Stands for "never" among ages in minutes.
const NEVER: u32 = 0xff_ffff;

/// Times before the answer are kept to the minute; unknown categories that do not fit are left out.
pub fn write_verdict(verdict: &StoredVerdict) -> Vec<u8> {
    let life = verdict.fetched.until(verdict.expires).min(LONGEST_LIFE);
    let minutes = |observed: UnixSeconds| (observed.until(verdict.fetched) / 60).min(NEVER - 1);
    let age = verdict.observed.map_or(NEVER, minutes);
    let mut bytes = vec![verdict.score];
    bytes.extend(verdict.fetched.0.to_be_bytes());
    bytes.extend(life.to_be_bytes().iter().skip(1));
    bytes.extend(age.to_be_bytes().iter().skip(1));
    let has = |name: &str| verdict.categories.iter().any(|category| category == name);
    let bits = CATEGORIES.iter().rev();
    let bits = bits.fold(0, |bits, name| bits << 1 | u8::from(has(name)));
    bytes.push(match verdict.stance {
        Stance::Rated => bits,
        Stance::Trusted => bits | TRUSTED,
    });
    for other in &verdict.categories {
        let known = CATEGORIES.contains(&other.as_str());
        if !known && is_category(other) && bytes.len() + 1 + other.len() <= LONGEST_VERDICT {
            bytes.push(b' ');
            bytes.extend(other.bytes());
        }
    }
    bytes
}

pub fn read_verdict(bytes: &[u8], now: UnixSeconds) -> Option<StoredVerdict> {
    // As many octets as the longest are asked for: what fills them may have been cut off.
    let (fixed, text) = bytes.split_first_chunk::<FIXED>()?;
    if bytes.len() > LONGEST_VERDICT {
        return None;
    }
    let [score, f0, f1, f2, f3, l0, l1, l2, a0, a1, a2, bits] = *fixed;
    let fetched = UnixSeconds(u32::from_be_bytes([f0, f1, f2, f3]));
    let life = u32::from_be_bytes([0, l0, l1, l2]);
    let age = u32::from_be_bytes([0, a0, a1, a2]);
    let known = bits < TRUSTED << 1;
    if score > 100 || fetched > now.plus(SKEW) || life > LONGEST_LIFE || !known {
        return None;
    }
    let named = CATEGORIES.iter().enumerate();
    let named = named.filter(|(bit, _)| bits & (1 << bit) != 0);
    let mut categories: Vec<_> = named.map(|(_, name)| (*name).to_owned()).collect();
    categories.extend(read_others(text)?);
    let observed = match age {
        NEVER => None,
        minutes => Some(UnixSeconds(
            fetched.0.checked_sub(minutes.checked_mul(60)?)?,
        )),
    };
    Some(StoredVerdict {
        score,
        stance: match bits & TRUSTED {
            0 => Stance::Rated,
            _ => Stance::Trusted,
        },
        categories,
        observed,
        fetched,
        expires: fetched.plus(life),
    })
}

fn read_others(text: &[u8]) -> Option<Vec<String>> {
    let text = std::str::from_utf8(text).ok()?;
    if text.is_empty() {
        return Some(Vec::new());
    }
    let names = text.strip_prefix(' ')?.split(' ').map(str::to_owned);
    let names: Vec<_> = names.collect();
    let good = |name: &String| is_category(name) && !CATEGORIES.contains(&name.as_str());
    names.iter().all(good).then_some(names)
}

fn is_category(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.bytes().all(good)
}

/// The id that stands in the hash's field `name`.
pub fn read_id(name: &[u8]) -> Option<DecisionId> {
    let text = std::str::from_utf8(name).ok()?;
    let id: DecisionId = text.parse().ok()?;
    (id.to_string() == text && id.0 != 0).then_some(id)
}

/// A decision as it stands in Redis. No sidecar gives a very wide one unless it is told that this is meant, and
/// it says so there: whoever writes by hand or by mistake does not.
#[derive(Serialize, Deserialize)]
struct Standing<D> {
    #[serde(flatten)]
    decision: D,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    forced: bool,
}

/// Why what stands for a decision is none.
#[derive(Debug, PartialEq, Eq)]
pub enum NoDecision {
    Foreign,
    /// It does not say that its width is meant.
    Unforced(Cidr),
}

pub fn write_decision(decision: &Decision) -> serde_json::Result<Vec<u8>> {
    let forced = is_very_wide(decision.cidr);
    serde_json::to_vec(&Standing { decision, forced })
}

pub fn read_decision(id: DecisionId, json: &[u8]) -> Result<Decision, NoDecision> {
    let read = serde_json::from_slice(json).map_err(|_| NoDecision::Foreign)?;
    let Standing::<Decision> { decision, forced } = read;
    if decision.id != id || !is_decision(&decision) {
        return Err(NoDecision::Foreign);
    }
    if is_very_wide(decision.cidr) && !forced {
        return Err(NoDecision::Unforced(decision.cidr));
    }
    Ok(decision)
}

/// Whether it is one that a sidecar gives.
pub fn is_decision(decision: &Decision) -> bool {
    let is_line =
        |text: &str| text.chars().count() <= LONGEST_TEXT && !text.chars().any(is_deceptive);
    // No sidecar bans or throttles everybody.
    let is_bounded = decision.cidr.len() > 0 || decision.kind == DecisionKind::Allow;
    let ends_later = decision.expires.is_none_or(|end| end > decision.created);
    let texts = is_line(&decision.reason) && is_line(&decision.author);
    is_bounded && ends_later && texts
}

pub fn read_modes(json: &[u8]) -> Option<Vec<ModeOverride>> {
    if json.is_empty() {
        return Some(Vec::new());
    }
    let modes: Vec<ModeOverride> = serde_json::from_slice(json).ok()?;
    are_modes(&modes).then_some(modes)
}

/// Whether they are such as a sidecar sets.
pub fn are_modes(modes: &[ModeOverride]) -> bool {
    let is_route = |route: &str| {
        (1..=LONGEST_ROUTE).contains(&route.len()) && !route.chars().any(char::is_control)
    };
    let good = |mode: &ModeOverride| mode.route.as_deref().is_none_or(is_route);
    modes.len() <= MOST_MODES && modes.iter().all(good)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::suite::decision;

    const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

    fn verdict() -> StoredVerdict {
        StoredVerdict {
            score: 93,
            stance: Stance::Rated,
            categories: vec!["tor".to_owned()],
            observed: Some(UnixSeconds(NOW.0 - 600)),
            fetched: NOW,
            expires: NOW.plus(86_400),
        }
    }

    #[test]
    fn an_ordinary_verdict_is_twelve_octets() {
        let written = write_verdict(&verdict());
        assert_eq!(written.len(), FIXED);
        assert_eq!(read_verdict(&written, NOW), Some(verdict()));
    }

    #[test]
    fn that_a_source_vouches_takes_no_octet_more() {
        let given = StoredVerdict {
            score: 0,
            stance: Stance::Trusted,
            ..verdict()
        };
        let written = write_verdict(&given);
        assert_eq!(written.len(), FIXED);
        assert_eq!(read_verdict(&written, NOW), Some(given));
    }

    #[test]
    fn categories_that_do_not_fit_are_left_out_and_the_rest_is_kept() {
        let long = "x".repeat(LONGEST_VERDICT);
        let given = StoredVerdict {
            categories: vec![
                "ssh".to_owned(),
                long,
                "two words".to_owned(),
                "tor".to_owned(),
            ],
            ..verdict()
        };
        let read = read_verdict(&write_verdict(&given), NOW).unwrap();
        assert_eq!(read.categories, ["tor", "ssh"]);
    }

    #[test]
    fn what_no_sidecar_wrote_is_nothing() {
        let good = write_verdict(&verdict());
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            read_verdict(&bytes, NOW)
        };
        assert_eq!(with(0, 101), None, "score");
        assert_eq!(with(1, 0xff), None, "answered in the far future");
        assert_eq!(with(5, 0xff), None, "lives for ever");
        assert_eq!(with(11, 0x80), None, "unknown category");
        let long = [good.clone(), vec![b' '; LONGEST_VERDICT]].concat();
        for bad in [
            &b""[..],
            b"{\"s\":1}",
            &good[..11],
            &long,
            &[&good[..], b" \xff"].concat(),
        ] {
            assert_eq!(read_verdict(bad, NOW), None, "{bad:?}");
        }
    }

    #[test]
    fn a_decision_must_be_the_one_that_its_field_names_and_one_that_a_sidecar_gives() {
        let json = |change: &str, to: &str| {
            let good = r#"{"id":"00000000000000aa","cidr":"203.0.113.7/32","type":"ban",
                "origin":"operator","reason":"scan","author":"anna","created":10,"expires":20}"#;
            assert!(good.contains(change));
            read_decision(DecisionId(0xaa), good.replace(change, to).as_bytes())
        };
        assert!(json("anna", "anna").is_ok());
        for (change, to) in [
            ("00aa", "00ab"),
            ("203.0.113.7/32", "0.0.0.0/0"),
            ("203.0.113.7/32", "203.0.113.7/40"),
            ("ban", "pardon"),
            ("scan", "sc\\nan"),
            ("scan", "sc\\u202ean"),
            ("scan", &"s".repeat(LONGEST_TEXT + 1)),
            ("anna", &"a".repeat(LONGEST_TEXT + 1)),
            (":20", ":5"),
            ("\"created\":10,", ""),
            ("{", "["),
        ] {
            assert_eq!(
                json(change, to),
                Err(NoDecision::Foreign),
                "{change} as {to}"
            );
        }
        assert_eq!(read_id(b"00000000000000aa"), Some(DecisionId(0xaa)));
        for bad in [
            &b"00000000000000AA"[..],
            b"aa",
            b"0000000000000000",
            b"\xff",
            b"",
        ] {
            assert_eq!(read_id(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_very_wide_decision_must_say_that_it_is_meant() {
        let half = Decision {
            kind: DecisionKind::Ban,
            ..decision(7, "0.0.0.0/1")
        };
        let written = write_decision(&half).unwrap();
        assert_eq!(read_decision(half.id, &written), Ok(half.clone()));
        let by_hand = serde_json::to_vec(&half).unwrap();
        let refused = Err(NoDecision::Unforced(half.cidr));
        assert_eq!(read_decision(half.id, &by_hand), refused);
        let narrow = write_decision(&decision(8, "203.0.0.0/16")).unwrap();
        assert!(!String::from_utf8(narrow).unwrap().contains("forced"));
    }

    #[test]
    fn modes_are_a_list_of_bounded_length_with_routes_that_can_be_set() {
        assert_eq!(read_modes(b""), Some(Vec::new()));
        assert_eq!(read_modes(br#"[{"mode":"off"}]"#).unwrap().len(), 1);
        let many = format!("[{}]", vec![r#"{"mode":"off"}"#; 257].join(","));
        for bad in [
            "{}",
            r#"[{"mode":"loud"}]"#,
            r#"[{"mode":"off","route":""}]"#,
            &many,
        ] {
            assert_eq!(read_modes(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn rubbish_is_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(read) = read_verdict(&bytes, NOW) {
                prop_assert!(read.score <= 100 && read.fetched <= NOW.plus(SKEW));
                prop_assert!(read.expires >= read.fetched);
                prop_assert_eq!(read_verdict(&write_verdict(&read), NOW), Some(read));
            }
            let _refused = (read_decision(DecisionId(1), &bytes), read_modes(&bytes), read_id(&bytes));
        }
    }
}
