//! `[[database]]`: a file in MaxMind's format, and what counts of what it says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use reputation::score::Weight;

use super::say::{self, Say};
use super::section::Section;
use super::value;

#[derive(Debug, Clone, PartialEq)]
pub struct Database {
    /// Unique among databases; stands in verdicts as the reason.
    pub name: String,
    pub path: PathBuf,
    /// What its records are; without it, what the file itself says.
    pub kind: Option<DatabaseKind>,
    /// Sources that copy from each other share one; by default the name.
    pub family: String,
    pub weight: Weight,
    pub scores: Scores,
    pub say: Say,
    /// How often the file is looked at.
    pub refresh: Duration,
    /// Beyond this age since it was built it is out of date.
    pub max_age: Duration,
}

/// Whose records, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseKind {
    /// MaxMind's Anonymous IP and Anonymous Plus.
    Anonymous,
    /// MaxMind's ASN and ISP.
    Asn,
    /// MaxMind's Country, City and Enterprise.
    Country,
    /// IPinfo's, whose records are flat.
    IpInfo,
}

/// What each thing that a database says is worth; what is not named is worth nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scores {
    /// `None`: as shipped.
    pub flags: Option<BTreeMap<Flag, u8>>,
    pub asn: BTreeMap<Asn, u8>,
    pub country: BTreeMap<Country, u8>,
}

/// By what means whoever uses an address hides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flag {
    Anonymous,
    Vpn,
    Proxy,
    ResidentialProxy,
    Tor,
    Relay,
    Hosting,
}

/// The number of an autonomous system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asn(pub u32);

/// An ISO 3166 code of two letters, in upper case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

impl DatabaseKind {
    pub const ALL: [Self; 4] = [Self::Anonymous, Self::Asn, Self::Country, Self::IpInfo];

    pub fn name(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Asn => "asn",
            Self::Country => "country",
            Self::IpInfo => "ipinfo",
        }
    }
}

impl Scores {
    /// What `flag` is worth.
    pub fn flag(&self, flag: Flag) -> u8 {
        match &self.flags {
            Some(flags) => flags.get(&flag).copied().unwrap_or(0),
            None => flag.shipped_score(),
        }
    }
}

impl Flag {
    pub const ALL: [Self; 7] = [
        Self::Anonymous,
        Self::Vpn,
        Self::Proxy,
        Self::ResidentialProxy,
        Self::Tor,
        Self::Relay,
        Self::Hosting,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Vpn => "vpn",
            Self::Proxy => "proxy",
            Self::ResidentialProxy => "residential_proxy",
            Self::Tor => "tor",
            Self::Relay => "relay",
            Self::Hosting => "hosting",
        }
    }

    /// Whoever hides is harder to hold to account, and no worse for it. Behind Tor and open or
    /// residential proxies there is the most abuse, and many addresses of few; VPNs are used by
    /// ordinary people; in data centres there are bots, and the gateways of companies; relays such as
    /// Apple's have whole phones' worth of customers behind them.
    pub fn shipped_score(self) -> u8 {
        match self {
            Self::Tor | Self::ResidentialProxy => 60,
            Self::Proxy => 50,
            Self::Anonymous | Self::Vpn => 30,
            Self::Hosting => 20,
            Self::Relay => 0,
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|flag| flag.name() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("{text:?} is not known: write one of {names}")
        })
    }
}

impl Asn {
    /// `AS64500`, in any case of letters.
    pub fn parse(text: &str) -> Option<Self> {
        let (prefix, digits) = text.split_at_checked(2)?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.parse().ok().filter(|number| *number > 0 && plain);
        number
            .filter(|_| prefix.eq_ignore_ascii_case("as"))
            .map(Self)
    }
}

impl fmt::Display for Asn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AS{}", self.0)
    }
}

impl Country {
    pub fn parse(text: &str) -> Option<Self> {
        let letters: [u8; 2] = text.as_bytes().try_into().ok()?;
        let good = letters.iter().all(u8::is_ascii_alphabetic);
        good.then(|| Self(letters.map(|letter| letter.to_ascii_uppercase())))
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|letter| write!(f, "{}", char::from(*letter)))
    }
}

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
const REFRESH: RangeInclusive<Duration> = SECOND..=DAY;
const SHIPPED_REFRESH: Duration = Duration::from_secs(30);
const MAX_AGE: RangeInclusive<Duration> = DAY..=Duration::from_secs(3660 * 86_400);
/// GeoLite's licence has an older copy deleted after 30 days.
const SHIPPED_MAX_AGE: Duration = Duration::from_secs(30 * 86_400);

pub(super) fn validate_all(sections: Vec<Section<'_>>) -> Vec<Database> {
    let mut names = BTreeSet::new();
    let validated = sections.into_iter().filter_map(|mut section| {
        let database = validate(&mut section, &mut names);
        section.finish();
        database
    });
    validated.collect()
}

/// Takes every key before it gives up, so that all faults of one database are found together.
fn validate(section: &mut Section<'_>, names: &mut BTreeSet<String>) -> Option<Database> {
    let name = section.require("name", "name = \"…\"", value::name);
    if let Some(name) = name.as_ref().filter(|name| !names.insert((*name).clone())) {
        section.fault(
            "name",
            format!("{name:?} is the name of another database too"),
        );
    }
    let path = section.require("path", "path = \"/…/GeoLite2-ASN.mmdb\"", value::path);
    let kinds = DatabaseKind::ALL.map(|kind| (kind.name(), kind));
    let kind = section.get("kind", value::one_of(&kinds));
    let family = section.get("family", value::name);
    let weight = section.get("weight", value::weight);
    let scores = Scores {
        flags: scores(section, "flags", Flag::parse),
        asn: scores(section, "asn", asn).unwrap_or_default(),
        country: scores(section, "country", country).unwrap_or_default(),
    };
    let say = say::validate(section);
    let refresh = section.get("refresh", value::duration(REFRESH));
    let max_age = section.get("max_age", value::duration(MAX_AGE));
    let name = name?;
    Some(Database {
        family: family.unwrap_or_else(|| name.clone()),
        name,
        path: path?,
        kind,
        weight: weight.unwrap_or(Weight::WEAK),
        scores,
        say,
        refresh: refresh.unwrap_or(SHIPPED_REFRESH),
        max_age: max_age.unwrap_or(SHIPPED_MAX_AGE),
    })
}

/// The table at `key`, from names that `read` understands to scores; `None` if there is none.
fn scores<K: Ord>(
    section: &mut Section<'_>,
    key: &'static str,
    read: fn(&str) -> Result<K, String>,
) -> Option<BTreeMap<K, u8>> {
    let mut table = section.table(key);
    let pairs = table.values(|name, node| Ok((read(name)?, value::number(0..=100)(node)?)));
    let scores = pairs.into_iter().map(|(_, pair)| pair).collect();
    section.has(key).then_some(scores)
}

fn asn(text: &str) -> Result<Asn, String> {
    Asn::parse(text).ok_or_else(|| format!("{text:?} is no autonomous system: write AS64500"))
}

fn country(text: &str) -> Result<Country, String> {
    Country::parse(text).ok_or_else(|| format!("{text:?} is no country: write two letters"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const DOCUMENT: &str = include_str!("../../../docs/databases.md");

    #[test]
    fn every_block_of_the_document_is_a_good_configuration_and_the_shipped_flags_stand_in_it() {
        let blocks = DOCUMENT.split("```toml\n").skip(1);
        let blocks: Vec<_> = blocks.filter_map(|text| text.split("```").next()).collect();
        assert_eq!(blocks.len(), 2);
        assert!(databases(blocks[0])[0].scores.asn.is_empty());
        let stated = databases(blocks[1])[0].scores.flags.clone().unwrap();
        for flag in Flag::ALL {
            assert_eq!(
                stated.get(&flag).copied().unwrap_or(0),
                flag.shipped_score()
            );
        }
    }

    fn databases(text: &str) -> Vec<Database> {
        Config::parse(text, std::iter::empty()).unwrap().databases
    }

    fn faults(text: &str) -> String {
        let faults = Config::parse(text, std::iter::empty());
        faults.unwrap_err().to_string()
    }

    #[test]
    fn two_lines_are_enough_and_the_shipped_scores_never_refuse() {
        let text = "[[database]]\nname = \"anonymous\"\npath = \"/a.mmdb\"";
        let [database] = databases(text).try_into().unwrap();
        assert_eq!((database.kind, &*database.family), (None, "anonymous"));
        assert_eq!(database.weight, Weight::WEAK);
        assert_eq!(database.max_age, Duration::from_secs(30 * 86_400));
        for flag in Flag::ALL {
            assert_eq!(database.scores.flag(flag), flag.shipped_score());
        }
        assert!(Flag::ALL.iter().any(|flag| flag.shipped_score() > 0));
    }

    #[test]
    fn scores_that_are_written_replace_those_that_are_shipped() {
        let text = "[[database]]\nname = \"a\"\npath = \"/a.mmdb\"\nkind = \"ipinfo\"\n\
            flags = { tor = 70 }\nasn = { AS64500 = 50, as64501 = 0 }\ncountry = { de = 10 }";
        let scores = databases(text).remove(0).scores;
        assert_eq!((scores.flag(Flag::Tor), scores.flag(Flag::Vpn)), (70, 0));
        assert_eq!(
            scores.asn,
            BTreeMap::from([(Asn(64500), 50), (Asn(64501), 0)])
        );
        assert_eq!(scores.country, BTreeMap::from([(Country(*b"DE"), 10)]));
    }

    #[test]
    fn every_fault_is_told_with_its_place() {
        let told = faults(
            "[[database]]\nname = \"a\"\nkind = \"city\"\nflags = { tor = 101, tour = 1 }\n\
             asn = { 64500 = 1 }\ncountry = { DEU = 1 }\nweight = 2\n\
             [[database]]\nname = \"a\"\npath = \"/b\"\nmax_age = \"1h\"",
        );
        for part in [
            "`database[0].path`",
            "\"city\" is not known",
            "`database[0].flags.tor`",
            "`database[0].flags.tour`",
            "\"64500\" is no autonomous system",
            "\"DEU\" is no country",
            "`database[0].weight`",
            "name of another database",
            "`database[1].max_age`",
        ] {
            assert!(told.contains(part), "{part} is not in {told}");
        }
    }

    #[test]
    fn a_system_and_a_country_are_read_in_one_way_only() {
        for text in ["AS64500", "as64500", "As64500"] {
            assert_eq!(Asn::parse(text), Some(Asn(64500)), "{text}");
        }
        for text in [
            "",
            "AS",
            "64500",
            "AS0",
            "AS-1",
            "AS+1",
            "AS4294967296",
            "A\u{e9}1",
        ] {
            assert_eq!(Asn::parse(text), None, "{text}");
        }
        assert_eq!(Country::parse("dE").unwrap().to_string(), "DE");
        for text in ["", "D", "DEU", "D1", "\u{e9}"] {
            assert_eq!(Country::parse(text), None, "{text}");
        }
    }
}
