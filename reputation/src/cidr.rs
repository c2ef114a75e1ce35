//! Address prefixes. Owns parsing, canonical form and containment; which prefix wins is `precedence`'s.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::address::{AddressError, ClientAddress};
use crate::embedding::{EMBEDDINGS, Layout};
use crate::special::local_prefixes;

/// Eight groups of four digits, seven colons, a slash and three digits.
const LONGEST_TEXT: usize = 43;

/// A canonical prefix: host bits are zero, and a prefix of embedded IPv4 is the IPv4 prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    network: ClientAddress,
    len: u8,
}

/// Why a text is not a prefix.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CidrError {
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error("{0:?} is not a prefix length: write a number from 0 to {1}")]
    Length(String, u8),
    #[error("{given} has bits set after its prefix: the network is {network}")]
    HostBits { given: String, network: Cidr },
    #[error(
        "{0} lies in a range that embeds IPv4 addresses but does not say which of them: \
         write the IPv4 prefix that is meant"
    )]
    EmbedsAnything(String),
}

impl Cidr {
    /// The prefix of `len` bits around `address`; host bits are cleared. `None` if `len` is too long.
    pub fn new(address: ClientAddress, len: u8) -> Option<Self> {
        if len > address.width() {
            return None;
        }
        let network = match address {
            ClientAddress::V4(bits) => ClientAddress::V4(bits & mask_v4(len)),
            ClientAddress::V6(bits) => ClientAddress::V6(bits & mask_v6(len)),
        };
        Some(Self { network, len })
    }

    /// The prefix that holds just this address.
    pub fn host(address: ClientAddress) -> Self {
        Self {
            network: address,
            len: address.width(),
        }
    }

    /// Parses `address` or `address/length`. Host bits must be zero.
    pub fn parse(text: &str) -> Result<Self, CidrError> {
        let (cidr, given_had_host_bits) = Self::parse_parts(text)?;
        if given_had_host_bits {
            return Err(CidrError::HostBits {
                given: text.to_owned(),
                network: cidr,
            });
        }
        Ok(cidr)
    }

    /// As [`Self::parse`], but clears host bits: lists in the wild have them.
    pub fn parse_lenient(text: &str) -> Result<Self, CidrError> {
        Self::parse_parts(text).map(|(cidr, _)| cidr)
    }

    pub fn network(self) -> ClientAddress {
        self.network
    }

    /// Prefix length in bits: at most 32 for IPv4, 128 for IPv6.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a prefix length, not a count of items"
    )]
    pub fn len(self) -> u8 {
        self.len
    }

    pub fn is_host(self) -> bool {
        self.len == self.network.width()
    }

    /// The last address of the prefix.
    pub fn last(self) -> ClientAddress {
        match self.network {
            ClientAddress::V4(bits) => ClientAddress::V4(bits | !mask_v4(self.len)),
            ClientAddress::V6(bits) => ClientAddress::V6(bits | !mask_v6(self.len)),
        }
    }

    pub fn contains(self, address: ClientAddress) -> bool {
        match (self.network, address) {
            (ClientAddress::V4(network), ClientAddress::V4(bits)) => {
                bits & mask_v4(self.len) == network
            }
            (ClientAddress::V6(network), ClientAddress::V6(bits)) => {
                bits & mask_v6(self.len) == network
            }
            _ => false,
        }
    }

    /// Whether every address of `other` is in this prefix.
    pub fn covers(self, other: Self) -> bool {
        self.len <= other.len && self.contains(other.network)
    }

    pub fn overlaps(self, other: Self) -> bool {
        self.covers(other) || other.covers(self)
    }

    fn parse_parts(text: &str) -> Result<(Self, bool), CidrError> {
        let Some((address, length)) = text.split_once('/') else {
            return Ok((Self::host(ClientAddress::parse(text)?), false));
        };
        // The canonical address may be IPv4 where the text is IPv6: the written width is what counts.
        let canonical = ClientAddress::parse(address)?;
        let written_width = if address.contains(':') { 128 } else { 32 };
        let bad_length = || CidrError::Length(length.chars().take(20).collect(), written_width);
        let has_leading_zero = length.len() > 1 && length.starts_with('0');
        if has_leading_zero || !length.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(bad_length());
        }
        let len = length.parse::<u8>().map_err(|_| bad_length())?;
        if len > written_width {
            return Err(bad_length());
        }
        if written_width == 32 {
            return Self::with_host_bits(canonical, len).ok_or_else(bad_length);
        }
        let bits = address.parse::<std::net::Ipv6Addr>().map(u128::from);
        let bits = bits.map_err(|_| AddressError::NotAnAddress(address.to_owned()))?;
        reduce_v6(bits, len).ok_or_else(|| CidrError::EmbedsAnything(text.to_owned()))
    }

    fn with_host_bits(address: ClientAddress, len: u8) -> Option<(Self, bool)> {
        let cidr = Self::new(address, len)?;
        Some((cidr, cidr.network != address))
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.len)
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Cidr {
    type Error = CidrError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        // Room for the longest, so that it does not grow thrice on its way: each verdict has one.
        let mut text = Self::with_capacity(LONGEST_TEXT);
        // A string takes whatever is written to it.
        let _written = fmt::Write::write_fmt(&mut text, format_args!("{cidr}"));
        text
    }
}

pub(crate) fn mask_v4(len: u8) -> u32 {
    u32::MAX
        .checked_shl(32 - u32::from(len.min(32)))
        .unwrap_or(0)
}

pub(crate) fn mask_v6(len: u8) -> u128 {
    u128::MAX
        .checked_shl(128 - u32::from(len.min(128)))
        .unwrap_or(0)
}

/// The canonical prefix of a written IPv6 prefix, and whether host bits were set in what was written.
/// `None` where no one prefix holds the canonical forms of all its addresses.
fn reduce_v6(bits: u128, len: u8) -> Option<(Cidr, bool)> {
    let masked = bits & mask_v6(len);
    let plain = Cidr {
        network: ClientAddress::V6(masked),
        len,
    };
    if len == 128 {
        return Some((Cidr::host(ClientAddress::from_v6_bits(bits)), false));
    }
    let embedding = EMBEDDINGS
        .iter()
        .find(|embedding| len >= embedding.prefix_len && embedding.covers(masked));
    let canonical = match embedding {
        // `::/127` is `::` and `::1`, which are themselves.
        Some(_) if masked == 0 => (len == 127).then_some(plain),
        Some(embedding) => reduce_embedded(embedding.layout, plain, masked),
        None => Some(plain),
    };
    Some((canonical?, masked != bits))
}

/// The canonical form of a prefix that lies in an embedding.
fn reduce_embedded(layout: Layout, plain: Cidr, masked: u128) -> Option<Cidr> {
    let v4_at = match layout {
        Layout::Tail | Layout::Teredo => 96,
        Layout::SixToFour => 16,
        // Which bits are the IPv4 address is known of whole addresses only.
        Layout::LocalNat64 => return None,
    };
    let v4_len = plain.len.checked_sub(v4_at).filter(|len| *len > 0)?.min(32);
    let v4 = Cidr::new(ClientAddress::V4(layout.extract(masked)), v4_len)?;
    if !layout.is_relayed() || !local_prefixes().any(|local| local.overlaps(v4)) {
        return Some(v4);
    }
    // Addresses that embed a local one stay IPv6 (see `address`); a prefix with both kinds has no form.
    local_prefixes()
        .any(|local| local.covers(v4))
        .then_some(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::address::tests::{any_address, any_v6_bits};

    fn canonical(text: &str) -> String {
        Cidr::parse(text).unwrap().to_string()
    }

    fn any_prefix() -> impl Strategy<Value = Cidr> {
        (any_address(), 0..=128_u8)
            .prop_map(|(address, len)| Cidr::new(address, len.min(address.width())).unwrap())
    }

    #[test]
    fn a_prefix_of_embedded_ipv4_is_the_ipv4_prefix() {
        assert_eq!(canonical("::ffff:203.0.113.0/120"), "203.0.113.0/24");
        assert_eq!(canonical("2002:cb00:7100::/40"), "203.0.113.0/24");
        assert_eq!(canonical("2002:cb00:7107::/48"), "203.0.113.7/32");
        assert_eq!(canonical("2002:cb00:7107:5::/64"), "203.0.113.7/32");
        assert_eq!(canonical("64:ff9b::203.0.113.0/120"), "203.0.113.0/24");
        assert_eq!(canonical("::ffff:203.0.113.7/128"), "203.0.113.7/32");
    }

    #[test]
    fn a_prefix_that_fixes_no_bit_of_the_embedded_address_is_refused() {
        for text in [
            "::ffff:0:0/96",
            "2002::/16",
            "64:ff9b::/96",
            "2001::/32",
            "2001:0:abcd::/48",
        ] {
            assert!(
                matches!(Cidr::parse(text), Err(CidrError::EmbedsAnything(_))),
                "{text}"
            );
        }
        // Shorter than any embedding: an ordinary IPv6 prefix.
        assert_eq!(canonical("2000::/3"), "2000::/3");
        assert_eq!(canonical("::/0"), "::/0");
    }

    #[test]
    fn faulty_prefixes_are_refused_with_what_to_write() {
        let message = |text: &str| Cidr::parse(text).unwrap_err().to_string();
        assert!(message("10.0.0.0/33").contains("from 0 to 32"));
        assert!(message("10.0.0.0/").contains("prefix length"));
        assert!(message("10.0.0.0/+8").contains("prefix length"));
        assert!(message("10.0.0.0/08x").contains("prefix length"));
        assert!(message("2001:db8::/129").contains("from 0 to 128"));
        assert!(message("10.1.2.3/8").contains("the network is 10.0.0.0/8"));
        assert_eq!(
            Cidr::parse_lenient("10.1.2.3/8").unwrap().to_string(),
            "10.0.0.0/8"
        );
    }

    #[test]
    fn containment_respects_family_and_boundaries() {
        let cidr = Cidr::parse("198.51.100.0/25").unwrap();
        assert!(cidr.contains("198.51.100.127".parse().unwrap()));
        assert!(!cidr.contains("198.51.100.128".parse().unwrap()));
        let everything = Cidr::parse("::/0").unwrap();
        assert!(everything.contains("2001:db8::1".parse().unwrap()));
        assert!(!everything.contains("198.51.100.1".parse().unwrap()));
        assert!(Cidr::parse("0.0.0.0/0").unwrap().covers(cidr));
    }

    #[test]
    fn a_prefix_that_mixes_kinds_of_address_is_refused() {
        // `::` and `::1` are themselves; all else below ::/96 is IPv4.
        assert_eq!(canonical("::/127"), "::/127");
        for text in [
            "::/126",
            "::/97",
            "::/96",
            "64:ff9b:1::/64",
            "64:ff9b:1::c000:200/120",
        ] {
            let refused = Cidr::parse(text);
            assert!(
                matches!(refused, Err(CidrError::EmbedsAnything(_))),
                "{text}: {refused:?}"
            );
        }
        // 10.0.0.0/8 is not believed of 6to4, its neighbours are.
        assert_eq!(canonical("2002:a00::/24"), "2002:a00::/24");
        assert_eq!(canonical("2002:a01:203::/64"), "2002:a01:203::/64");
        assert_eq!(canonical("2002:b00::/24"), "11.0.0.0/8");
        assert!(matches!(
            Cidr::parse("2002:a00::/23"),
            Err(CidrError::EmbedsAnything(_))
        ));
    }

    /// The first `len` bits, one by one.
    fn leading_bits(address: ClientAddress, len: u8) -> Vec<bool> {
        let bits: Vec<_> = match address {
            ClientAddress::V4(bits) => (0..32).rev().map(|at| bits >> at & 1 == 1).collect(),
            ClientAddress::V6(bits) => (0..128).rev().map(|at| bits >> at & 1 == 1).collect(),
        };
        bits[..usize::from(len)].to_vec()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn containment_is_that_of_leading_bits(one in any_prefix(), other in any_prefix(), address in any_address()) {
            let contains = |cidr: Cidr, address: ClientAddress| {
                cidr.network().is_v4() == address.is_v4()
                    && leading_bits(cidr.network(), cidr.len()) == leading_bits(address, cidr.len())
            };
            for address in [address, other.network(), other.last(), one.network(), one.last()] {
                prop_assert_eq!(one.contains(address), contains(one, address));
            }
            let covers = one.contains(other.network()) && one.contains(other.last());
            prop_assert_eq!(one.covers(other), covers);
            prop_assert_eq!(one.overlaps(other), covers || other.covers(one));
        }

        #[test]
        fn a_prefix_means_itself_when_written_or_is_refused(cidr in any_prefix()) {
            match Cidr::parse(&cidr.to_string()) {
                Ok(parsed) => prop_assert!(
                    parsed == cidr || !cidr.network().is_v4() && parsed.network().is_v4(),
                    "{} became {}", cidr, parsed
                ),
                Err(refusal) => prop_assert!(
                    matches!(refusal, CidrError::EmbedsAnything(_)), "{}: {}", cidr, refusal
                ),
            }
        }

        #[test]
        fn parsing_is_idempotent(bits in any_v6_bits(), len in 0..=128_u8) {
            let text = format!("{}/{len}", std::net::Ipv6Addr::from(bits));
            if let Ok(cidr) = Cidr::parse_lenient(&text) {
                prop_assert_eq!(Cidr::parse(&cidr.to_string()), Ok(cidr), "{}", text);
            }
        }

        #[test]
        fn a_written_prefix_holds_the_canonical_form_of_each_address_that_is_written_in_it(
            bits in any_v6_bits(), len in 0..=128_u8, host in any::<u128>(),
        ) {
            let text = format!("{}/{len}", std::net::Ipv6Addr::from(bits));
            let inside = bits & mask_v6(len) | host & !mask_v6(len);
            let address = ClientAddress::from_v6_bits(inside);
            if let Ok(cidr) = Cidr::parse_lenient(&text) {
                // A prefix that is wider than the embedding is one of IPv6 addresses only.
                let only_v6 = !cidr.network().is_v4() && address.is_v4();
                prop_assert!(only_v6 || cidr.contains(address), "{} in {}", address, text);
            }
        }
    }
}
