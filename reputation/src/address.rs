//! The client's address in its one canonical form. Every comparison in Portcullis is made on this form,
//! so a client cannot change its identity by spelling its address another way.
//!
//! Owns strict parsing. Where IPv4 hides in IPv6 is `embedding`'s; which header or connection an address
//! is taken from is Envoy's.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::embedding::Embedding;
use crate::special::is_local;

/// A canonical client address: IPv4, or an IPv6 address that carries no IPv4 address inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ClientAddress {
    V4(u32),
    V6(u128),
}

/// Why a text is not an address. Each message says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddressError {
    #[error("the address is empty")]
    Empty,
    #[error("{0:?} has a zone id (the part after %): give the address alone")]
    Zone(String),
    #[error("{0:?} has a port or brackets: give the address alone")]
    Port(String),
    #[error("{0:?} has a leading zero, which some programs read as octal: write it without")]
    LeadingZero(String),
    #[error("{0:?} is not an IPv4 or IPv6 address")]
    NotAnAddress(String),
}

impl ClientAddress {
    /// Parses an address and nothing else: no port, no brackets, no zone id, no leading zeros, no
    /// surrounding blanks, no short forms such as `10.1`.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        match IpAddr::from_str(text) {
            Ok(ip) => Ok(Self::from(ip)),
            Err(_) => Err(explain_refusal(text)),
        }
    }

    /// Parses what Envoy gives as `source.address`: `192.0.2.1:43050` or `[2001:db8::1]:43050`. The bare
    /// address is accepted too, as `x-envoy-external-address` has no port. `None` for anything else, such
    /// as a Unix socket's path.
    pub fn parse_peer(bytes: &[u8]) -> Option<Self> {
        if let Some(v4) = parse_v4_peer(bytes) {
            return Some(Self::V4(v4));
        }
        let text = std::str::from_utf8(bytes).ok()?;
        let bare = match text.strip_prefix('[') {
            Some(rest) => {
                let (inside, port) = rest.rsplit_once("]:")?;
                port.parse::<u16>().ok()?;
                inside
            }
            None => text,
        };
        // Envoy appends a zone to link-local peers (`fe80::1%eth0`): the address is what identifies them.
        let bare = bare
            .split_once('%')
            .map_or(bare, |(address, _zone)| address);
        Ipv6Addr::from_str(bare).ok().map(Self::from)
    }

    /// The canonical form of an address that is already parsed.
    pub fn from_v6_bits(bits: u128) -> Self {
        embedded_v4(bits).map_or(Self::V6(bits), Self::V4)
    }

    pub fn is_v4(self) -> bool {
        matches!(self, Self::V4(_))
    }

    /// How many bits this family has: 32 or 128.
    pub fn width(self) -> u8 {
        match self {
            Self::V4(_) => 32,
            Self::V6(_) => 128,
        }
    }
}

impl From<Ipv4Addr> for ClientAddress {
    fn from(ip: Ipv4Addr) -> Self {
        Self::V4(u32::from(ip))
    }
}

impl From<Ipv6Addr> for ClientAddress {
    fn from(ip: Ipv6Addr) -> Self {
        Self::from_v6_bits(u128::from(ip))
    }
}

impl From<IpAddr> for ClientAddress {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => v4.into(),
            IpAddr::V6(v6) => v6.into(),
        }
    }
}

impl From<ClientAddress> for IpAddr {
    fn from(address: ClientAddress) -> Self {
        match address {
            ClientAddress::V4(bits) => Self::V4(Ipv4Addr::from(bits)),
            ClientAddress::V6(bits) => Self::V6(Ipv6Addr::from(bits)),
        }
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

impl FromStr for ClientAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl TryFrom<String> for ClientAddress {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<ClientAddress> for String {
    fn from(address: ClientAddress) -> Self {
        address.to_string()
    }
}

/// The IPv4 address that `bits` stand for, if they stand for one.
fn embedded_v4(bits: u128) -> Option<u32> {
    let layout = Embedding::of(bits)?.layout;
    let v4 = layout.extract(bits);
    (!layout.is_relayed() || !is_local(ClientAddress::V4(v4))).then_some(v4)
}

/// `a.b.c.d` with an optional `:port`, by hand: it runs for every request.
fn parse_v4_peer(bytes: &[u8]) -> Option<u32> {
    let mut address: u32 = 0;
    let mut octet: u32 = 0;
    let mut digits = 0_u8;
    let mut dots = 0_u8;
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {
                if digits > 0 && octet == 0 {
                    return None;
                }
                octet = octet * 10 + u32::from(byte - b'0');
                digits += 1;
                if octet > 255 {
                    return None;
                }
            }
            b'.' if digits > 0 && dots < 3 => {
                address = (address << 8) | octet;
                (octet, digits) = (0, 0);
                dots += 1;
            }
            b':' if digits > 0 && dots == 3 => {
                let port = std::str::from_utf8(bytes.get(at + 1..)?).ok()?;
                port.parse::<u16>().ok()?;
                return Some((address << 8) | octet);
            }
            _ => return None,
        }
    }
    (digits > 0 && dots == 3).then_some((address << 8) | octet)
}

fn explain_refusal(text: &str) -> AddressError {
    let owned = || text.chars().take(80).collect::<String>();
    let dotted = |part: &str| part.split('.').count() == 4;
    let bare = text.rsplit_once(':').map_or(text, |(_, last)| last);
    if text.is_empty() {
        AddressError::Empty
    } else if text.contains('%') {
        AddressError::Zone(owned())
    } else if text.starts_with('[') || text.split_once(':').is_some_and(|(host, _)| dotted(host)) {
        AddressError::Port(owned())
    } else if dotted(bare) && bare.split('.').any(has_leading_zero) {
        AddressError::LeadingZero(owned())
    } else {
        AddressError::NotAnAddress(owned())
    }
}

fn has_leading_zero(octet: &str) -> bool {
    octet.len() > 1 && octet.starts_with('0') && octet.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::embedding::EMBEDDINGS;

    /// IPv6 addresses of all kinds: in each embedding, beside it, and any.
    pub(crate) fn any_v6_bits() -> impl Strategy<Value = u128> {
        let embedded = (
            prop::sample::select(&EMBEDDINGS[..]),
            any::<u128>(),
            0..128_u32,
        )
            .prop_map(|(embedding, host, zeros)| {
                let host_bits = u128::MAX >> embedding.prefix_len.min(127);
                embedding.prefix | host & host_bits & (u128::MAX << zeros)
            });
        let beside = (prop::sample::select(&EMBEDDINGS[..]), 0..128_u32)
            .prop_map(|(embedding, bit)| embedding.prefix ^ 1 << bit);
        prop_oneof![4 => embedded, 1 => beside, 1 => any::<u128>(), 1 => 0..4_u128]
    }

    /// Canonical addresses.
    pub(crate) fn any_address() -> impl Strategy<Value = ClientAddress> {
        let v6 = any_v6_bits().prop_map(ClientAddress::from_v6_bits);
        prop_oneof![any::<u32>().prop_map(ClientAddress::V4), v6]
    }

    fn canonical(text: &str) -> String {
        ClientAddress::parse(text).unwrap().to_string()
    }

    #[test]
    fn every_embedding_of_an_ipv4_address_is_that_address() {
        for spelled in [
            "203.0.113.7",
            "::ffff:203.0.113.7",
            "::ffff:cb00:7107",
            "0:0:0:0:0:FFFF:CB00:7107",
            "::ffff:0:203.0.113.7",
            "::203.0.113.7",
            "64:ff9b::203.0.113.7",
            "64:ff9b:1::203.0.113.7",
            "64:ff9b:1:abcd::203.0.113.7",
            "64:ff9b:1:cb00:71:700::",
            "2002:cb00:7107::",
            "2002:cb00:7107:1:2:3:4:5",
            "2001:0:4136:e378:8000:63bf:34ff:8ef8",
        ] {
            assert_eq!(canonical(spelled), "203.0.113.7", "{spelled}");
        }
    }

    #[test]
    fn addresses_that_only_look_embedded_stay_ipv6() {
        for text in [
            "::",
            "::1",
            "2001:db8::5efe:203.0.113.7",
            "2001:1::1",
            "2003::1",
            "fe80::1",
        ] {
            assert_eq!(
                canonical(text),
                text.parse::<Ipv6Addr>().unwrap().to_string()
            );
        }
    }

    #[test]
    fn ambiguous_spellings_are_refused_with_their_reason() {
        let error = |text: &str| ClientAddress::parse(text).unwrap_err();
        assert_eq!(error(""), AddressError::Empty);
        assert!(matches!(error("fe80::1%eth0"), AddressError::Zone(_)));
        assert!(matches!(error("192.0.2.1:80"), AddressError::Port(_)));
        assert!(matches!(error("[2001:db8::1]:80"), AddressError::Port(_)));
        assert!(matches!(error("[2001:db8::1]"), AddressError::Port(_)));
        assert!(matches!(error("192.0.2.01"), AddressError::LeadingZero(_)));
        assert!(matches!(
            error("::ffff:192.0.2.01"),
            AddressError::LeadingZero(_)
        ));
        for text in [
            " 192.0.2.1",
            "192.0.2.1 ",
            "10.1",
            "1.2.3.256",
            "0x7f.1.1.1",
            "1.2.3.4.5",
            "::g",
        ] {
            assert!(
                matches!(error(text), AddressError::NotAnAddress(_)),
                "{text}"
            );
        }
    }

    #[test]
    fn peers_are_read_as_envoy_writes_them() {
        let peer = |text: &str| ClientAddress::parse_peer(text.as_bytes()).map(|a| a.to_string());
        assert_eq!(peer("127.0.0.1:43050").as_deref(), Some("127.0.0.1"));
        assert_eq!(peer("1.2.3.4:0").as_deref(), Some("1.2.3.4"));
        assert_eq!(peer("1.2.3.4").as_deref(), Some("1.2.3.4"));
        assert_eq!(peer("[::1]:46736").as_deref(), Some("::1"));
        assert_eq!(peer("[::ffff:1.2.3.4]:1").as_deref(), Some("1.2.3.4"));
        assert_eq!(peer("2001:db8::1").as_deref(), Some("2001:db8::1"));
        assert_eq!(peer("[fe80::1%eth0]:1").as_deref(), Some("fe80::1"));
        for text in [
            "/run/app.sock",
            "",
            "1.2.3.4:",
            "1.2.3.4:99999",
            "1.2.3",
            "01.2.3.4:1",
            "[::1]",
            "1.2.3.4:x",
        ] {
            assert_eq!(peer(text), None, "{text}");
        }
        assert_eq!(ClientAddress::parse_peer(b"\xff\xfe:1"), None);
    }

    #[test]
    fn local_nat64_is_read_in_each_layout() {
        // RFC 6052 §2.4 has these for 192.0.2.33 under 2001:db8:…; here under 64:ff9b:1:….
        for spelled in [
            "64:ff9b:1:c000:2:2100::",
            "64:ff9b:1:1c0:0:221::",
            "64:ff9b:1:1:c0:2:2100:0",
            "64:ff9b:1:1::192.0.2.33",
            "64:ff9b:1:1:ffff:ffff:192.0.2.33",
        ] {
            assert_eq!(canonical(spelled), "192.0.2.33", "{spelled}");
        }
    }

    #[test]
    fn a_relayed_address_cannot_pass_for_a_local_one() {
        for text in [
            "2002:a00:1::",
            "2002:7f00:1::1",
            "2002:c0a8:1::",
            "2002:a9fe:a9fe::",
            "2001:0:102:304:0:f227:f5ff:fffe",
        ] {
            let address = ClientAddress::parse(text).unwrap();
            assert!(
                !address.is_v4() && !is_local(address),
                "{text} is {address}"
            );
        }
        // The machine's own network stack writes these.
        assert_eq!(canonical("::ffff:127.0.0.1"), "127.0.0.1");
        assert_eq!(canonical("64:ff9b::10.0.0.1"), "10.0.0.1");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn the_canonical_form_is_its_own_canonical_form(bits in any_v6_bits()) {
            let address = ClientAddress::from_v6_bits(bits);
            prop_assert_eq!(ClientAddress::parse(&address.to_string()), Ok(address));
            prop_assert_eq!(ClientAddress::from(IpAddr::from(address)), address);
        }

        #[test]
        fn every_spelling_of_an_address_is_the_same_address(bits in any_v6_bits()) {
            let expected = Ok(ClientAddress::from_v6_bits(bits));
            let ip = Ipv6Addr::from(bits);
            let groups = ip.segments().map(|group| format!("{group:04X}")).join(":");
            let [.., high, low] = ip.segments();
            let tail = Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
            let dotted = format!("{}:{tail}", ip.segments()[..6].iter().map(|group| format!("{group:x}")).collect::<Vec<_>>().join(":"));
            for text in [ip.to_string(), groups, dotted] {
                prop_assert_eq!(&ClientAddress::parse(&text), &expected, "{}", &text);
                let peer = format!("[{text}]:443");
                prop_assert_eq!(ClientAddress::parse_peer(peer.as_bytes()), expected.clone().ok());
            }
        }

        #[test]
        fn a_peer_is_read_as_the_address_is(v4 in any::<u32>(), port in any::<u16>()) {
            let ip = Ipv4Addr::from(v4);
            let expected = Some(ClientAddress::V4(v4));
            prop_assert_eq!(ClientAddress::parse_peer(format!("{ip}:{port}").as_bytes()), expected);
            prop_assert_eq!(ClientAddress::parse(&ip.to_string()).ok(), expected);
        }

        #[test]
        fn what_a_peer_parser_takes_without_a_port_the_strict_parser_takes(text in "[0-9a-f:.]{0,20}") {
            let peer = ClientAddress::parse_peer(text.as_bytes());
            if let (Some(peer), Ok(strict)) = (peer, ClientAddress::parse(&text)) {
                prop_assert_eq!(peer, strict, "{}", text);
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = ClientAddress::parse_peer(&bytes);
            let _ = ClientAddress::parse(&String::from_utf8_lossy(&bytes));
        }
    }
}
