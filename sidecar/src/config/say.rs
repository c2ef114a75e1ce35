//! `shadow` and `enforce_percent`: how far a source has a say. What it would do without one is counted,
//! and done by nobody.

use reputation::ClientAddress;
use reputation::digest::Digest;
use serde::{Deserialize, Serialize};

use super::section::Section;
use super::value;

/// On what share of clients or entries a source has a say, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Say(u8);

impl Default for Say {
    fn default() -> Self {
        Self::WHOLE
    }
}

impl Say {
    pub const WHOLE: Self = Self(WHOLE);
    pub const NONE: Self = Self(0);

    pub fn percent(self) -> u8 {
        self.0
    }

    pub fn is_whole(self) -> bool {
        self == Self::WHOLE
    }

    pub fn is_none(self) -> bool {
        self == Self::NONE
    }

    /// What an operator has to be told of it: nothing, if it is the whole.
    pub fn in_words(self) -> Option<String> {
        match self {
            Self::WHOLE => None,
            Self::NONE => Some("in shadow".to_owned()),
            Self(percent) => Some(format!("has a say on {percent} % of clients")),
        }
    }

    /// Whether `source` has a say on `address`: the same answer each time and everywhere, and once it has
    /// one it keeps it as the share rises.
    pub fn covers(self, source: &str, address: ClientAddress) -> bool {
        self.is_whole() || (!self.is_none() && place(source, address) < self.0)
    }
}

const WHOLE: u8 = 100;

/// A place from 0 to 99 that says nothing about the address, another for each source.
fn place(source: &str, address: ClientAddress) -> u8 {
    let Digest([a, b, c, d, ..]) = Digest::of(format!("{source}\n{address}").as_bytes());
    let number = u32::from_be_bytes([a, b, c, d]) % u32::from(WHOLE);
    u8::try_from(number).unwrap_or_default()
}

pub(super) fn validate(section: &mut Section<'_>) -> Say {
    let shadow = section.get("shadow", value::boolean).unwrap_or(false);
    let percent = section.get("enforce_percent", value::number(0..=WHOLE));
    if shadow && section.has("enforce_percent") {
        section.fault(
            "enforce_percent",
            "stands beside shadow = true, which is enforce_percent = 0: write one of them",
        );
    }
    match percent {
        _ if shadow => Say::NONE,
        Some(percent) => Say(percent),
        None => Say::WHOLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(percent: u8, source: &str) -> Vec<ClientAddress> {
        let all = (0x0800_0000..0x0800_2000).map(ClientAddress::V4);
        all.filter(|address| Say(percent).covers(source, *address))
            .collect()
    }

    #[test]
    fn a_share_is_about_that_share_of_addresses_and_a_greater_one_holds_the_lesser() {
        let (tenth, half) = (covered(10, "one"), covered(50, "one"));
        assert!((700..950).contains(&tenth.len()), "{}", tenth.len());
        assert!((3900..4300).contains(&half.len()), "{}", half.len());
        assert!(tenth.iter().all(|address| half.contains(address)));
        assert_eq!(
            (covered(0, "one").len(), covered(100, "one").len()),
            (0, 8192)
        );
    }

    #[test]
    fn an_operator_is_told_of_a_say_that_is_not_the_whole() {
        assert_eq!(Say::WHOLE.in_words(), None);
        assert_eq!(Say::NONE.in_words().unwrap(), "in shadow");
        assert_eq!(Say(30).in_words().unwrap(), "has a say on 30 % of clients");
    }

    #[test]
    fn the_same_addresses_are_covered_each_time_and_others_by_another_source() {
        assert_eq!(covered(50, "one"), covered(50, "one"));
        assert_ne!(covered(50, "one"), covered(50, "two"));
        // A change of this law would treat clients otherwise in the midst of a ramp.
        let golden = ["203.0.113.1", "203.0.113.2", "203.0.113.3", "2001:db8::"];
        let places = golden.map(|text| place("ipsum", text.parse().unwrap()));
        assert_eq!(places, [87, 45, 43, 14]);
    }
}
