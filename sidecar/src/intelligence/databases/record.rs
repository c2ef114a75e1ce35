//! What one record says: MaxMind's and IPinfo's fields, brought to the same facts.

use std::collections::BTreeSet;

use hyper::body::Bytes;
use maxminddb::{LookupResult, MaxMindDbError};
use serde::Deserialize;

use crate::config::{Asn, Country, DatabaseKind, Flag};
use crate::strangers::plain;

/// What a database says of an address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    pub flags: BTreeSet<Flag>,
    pub asn: Option<Asn>,
    /// Whose system that is.
    pub organisation: Option<String>,
    pub country: Option<Country>,
}

/// What is shown of a name.
const LONGEST_NAME: usize = 100;

impl Facts {
    /// Reads the record that was found, if one was.
    pub fn read(
        kind: DatabaseKind,
        found: &LookupResult<'_, Bytes>,
    ) -> Result<Option<Self>, MaxMindDbError> {
        Ok(match kind {
            DatabaseKind::Anonymous => found.decode()?.map(|it: Anonymous| it.facts()),
            DatabaseKind::Asn => found.decode()?.map(|it: System| it.facts()),
            DatabaseKind::Country => found.decode()?.map(|it: Place<'_>| it.facts()),
            DatabaseKind::IpInfo => found.decode()?.map(|it: IpInfo<'_>| it.facts()),
        })
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A flag that is not set is left out.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Anonymous {
    is_anonymous: bool,
    is_anonymous_vpn: bool,
    is_hosting_provider: bool,
    is_public_proxy: bool,
    is_residential_proxy: bool,
    is_tor_exit_node: bool,
}

#[derive(Deserialize)]
struct System {
    autonomous_system_number: Option<u32>,
    autonomous_system_organization: Option<String>,
}

#[derive(Deserialize)]
struct Place<'a> {
    #[serde(borrow)]
    country: Option<Code<'a>>,
    #[serde(borrow)]
    registered_country: Option<Code<'a>>,
}

#[derive(Deserialize)]
struct Code<'a> {
    iso_code: Option<&'a str>,
}

#[derive(Deserialize)]
struct IpInfo<'a> {
    asn: Option<&'a str>,
    as_name: Option<String>,
    country_code: Option<&'a str>,
    #[serde(borrow)]
    vpn: Option<Said<'a>>,
    #[serde(borrow)]
    proxy: Option<Said<'a>>,
    #[serde(borrow)]
    tor: Option<Said<'a>>,
    #[serde(borrow)]
    relay: Option<Said<'a>>,
    #[serde(borrow)]
    hosting: Option<Said<'a>>,
}

/// IPinfo's files have texts everywhere: `"true"`, or an empty one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Said<'a> {
    Flag(bool),
    Text(&'a str),
}

impl Anonymous {
    fn facts(&self) -> Facts {
        Facts {
            flags: flags([
                (Flag::Anonymous, self.is_anonymous),
                (Flag::Vpn, self.is_anonymous_vpn),
                (Flag::Hosting, self.is_hosting_provider),
                (Flag::Proxy, self.is_public_proxy),
                (Flag::ResidentialProxy, self.is_residential_proxy),
                (Flag::Tor, self.is_tor_exit_node),
            ]),
            ..Facts::default()
        }
    }
}

impl System {
    fn facts(self) -> Facts {
        Facts {
            asn: self
                .autonomous_system_number
                .filter(|number| *number > 0)
                .map(Asn),
            organisation: self
                .autonomous_system_organization
                .as_deref()
                .and_then(name),
            ..Facts::default()
        }
    }
}

impl Place<'_> {
    /// Where it is said to be, else where it is registered.
    fn facts(&self) -> Facts {
        let code = |place: &Option<Code<'_>>| Country::parse(place.as_ref()?.iso_code?);
        Facts {
            country: code(&self.country).or_else(|| code(&self.registered_country)),
            ..Facts::default()
        }
    }
}

impl IpInfo<'_> {
    fn facts(self) -> Facts {
        let said = |said: &Option<Said<'_>>| match said {
            Some(Said::Flag(flag)) => *flag,
            Some(Said::Text(text)) => *text == "true",
            None => false,
        };
        Facts {
            flags: flags([
                (Flag::Vpn, said(&self.vpn)),
                (Flag::Proxy, said(&self.proxy)),
                (Flag::Tor, said(&self.tor)),
                (Flag::Relay, said(&self.relay)),
                (Flag::Hosting, said(&self.hosting)),
            ]),
            asn: self.asn.and_then(Asn::parse),
            organisation: self.as_name.as_deref().and_then(name),
            country: self.country_code.and_then(Country::parse),
        }
    }
}

fn flags<const N: usize>(flags: [(Flag, bool); N]) -> BTreeSet<Flag> {
    let set = flags.into_iter().filter(|(_, set)| *set);
    set.map(|(flag, _)| flag).collect()
}

/// A name as it may be shown: it ends up on terminals.
fn name(text: &str) -> Option<String> {
    let shown = plain(text, LONGEST_NAME);
    (!shown.trim().is_empty()).then_some(shown)
}
