//! Special-purpose address space, from IANA's registries. Owns which addresses no source may speak of,
//! and which are local; what follows from that is the guard's and the filter's.

use crate::address::ClientAddress;
use crate::cidr::Cidr;
use crate::embedding::Embedding;

/// One special-purpose prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Special {
    network: ClientAddress,
    len: u8,
    pub name: &'static str,
    pub source: &'static str,
    /// Whether the machines in it are near: the host itself or a private network.
    pub local: bool,
}

impl Special {
    pub fn cidr(&self) -> Cidr {
        Cidr::new(self.network, self.len).unwrap_or(Cidr::host(self.network))
    }
}

/// Everything that is not ordinary global unicast space: no provider knows anything of it, and a list
/// that names it is mistaken. IPv6 prefixes that embed IPv4 are not here: their addresses are IPv4.
pub const SPECIAL_PURPOSE: &[Special] = &[
    v4([0, 0, 0, 0], 8, "this network", "RFC 791"),
    local(v4([10, 0, 0, 0], 8, "private", "RFC 1918")),
    local(v4(
        [100, 64, 0, 0],
        10,
        "shared address space (CGNAT)",
        "RFC 6598",
    )),
    local(v4([127, 0, 0, 0], 8, "loopback", "RFC 1122")),
    local(v4([169, 254, 0, 0], 16, "link-local", "RFC 3927")),
    local(v4([172, 16, 0, 0], 12, "private", "RFC 1918")),
    v4([192, 0, 0, 0], 24, "IETF protocol assignments", "RFC 6890"),
    v4([192, 0, 2, 0], 24, "documentation (TEST-NET-1)", "RFC 5737"),
    v4([192, 31, 196, 0], 24, "AS112-v4", "RFC 7535"),
    v4([192, 52, 193, 0], 24, "AMT", "RFC 7450"),
    v4(
        [192, 88, 99, 0],
        24,
        "6to4 relay anycast (deprecated)",
        "RFC 7526",
    ),
    local(v4([192, 168, 0, 0], 16, "private", "RFC 1918")),
    v4([192, 175, 48, 0], 24, "direct delegation AS112", "RFC 7534"),
    v4([198, 18, 0, 0], 15, "benchmarking", "RFC 2544"),
    v4(
        [198, 51, 100, 0],
        24,
        "documentation (TEST-NET-2)",
        "RFC 5737",
    ),
    v4(
        [203, 0, 113, 0],
        24,
        "documentation (TEST-NET-3)",
        "RFC 5737",
    ),
    v4([224, 0, 0, 0], 4, "multicast", "RFC 5771"),
    v4([240, 0, 0, 0], 4, "reserved", "RFC 1112"),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128, "unspecified", "RFC 4291"),
    local(v6([0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback", "RFC 4291")),
    v6(
        [0x0100, 0, 0, 0, 0, 0, 0, 0],
        64,
        "discard only",
        "RFC 6666",
    ),
    v6([0x0100, 0, 0, 1, 0, 0, 0, 0], 64, "dummy", "RFC 9780"),
    v6(
        [0x2001, 0, 0, 0, 0, 0, 0, 0],
        23,
        "IETF protocol assignments",
        "RFC 2928",
    ),
    v6(
        [0x2001, 0x0db8, 0, 0, 0, 0, 0, 0],
        32,
        "documentation",
        "RFC 3849",
    ),
    v6(
        [0x2620, 0x004f, 0x8000, 0, 0, 0, 0, 0],
        48,
        "direct delegation AS112",
        "RFC 7534",
    ),
    v6(
        [0x3fff, 0, 0, 0, 0, 0, 0, 0],
        20,
        "documentation",
        "RFC 9637",
    ),
    v6(
        [0x5f00, 0, 0, 0, 0, 0, 0, 0],
        16,
        "segment routing SIDs",
        "RFC 9602",
    ),
    local(v6(
        [0xfc00, 0, 0, 0, 0, 0, 0, 0],
        7,
        "unique local",
        "RFC 4193",
    )),
    local(v6(
        [0xfe80, 0, 0, 0, 0, 0, 0, 0],
        10,
        "link-local",
        "RFC 4291",
    )),
    v6(
        [0xfec0, 0, 0, 0, 0, 0, 0, 0],
        10,
        "site-local (deprecated)",
        "RFC 3879",
    ),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast", "RFC 4291"),
];

/// All special-purpose prefixes.
pub fn special_prefixes() -> impl Iterator<Item = Cidr> {
    SPECIAL_PURPOSE.iter().map(Special::cidr)
}

/// The prefixes of the host itself and of private networks.
pub(crate) fn local_prefixes() -> impl Iterator<Item = Cidr> {
    SPECIAL_PURPOSE
        .iter()
        .filter(|special| special.local)
        .map(Special::cidr)
}

/// Whether all of `cidr` lies inside special-purpose space.
pub fn is_special(cidr: Cidr) -> bool {
    special_prefixes().any(|special| special.covers(cidr))
}

/// Whether `address` is ordinary global unicast, of which sources may speak. What embeds IPv4 and is IPv6
/// all the same embeds a local address (see `address`), which is nobody's elsewhere to know.
pub fn is_public(address: ClientAddress) -> bool {
    let embeds_local = match address {
        ClientAddress::V4(_) => false,
        ClientAddress::V6(bits) => Embedding::of(bits).is_some(),
    };
    !embeds_local && !is_special(Cidr::host(address))
}

/// Whether `address` is the host itself or in a private network: loopback, private, link-local, unique
/// local, CGNAT.
pub fn is_local(address: ClientAddress) -> bool {
    local_prefixes().any(|local| local.contains(address))
}

const fn v4(octets: [u8; 4], len: u8, name: &'static str, source: &'static str) -> Special {
    let network = ClientAddress::V4(u32::from_be_bytes(octets));
    Special {
        network,
        len,
        name,
        source,
        local: false,
    }
}

const fn v6(groups: [u16; 8], len: u8, name: &'static str, source: &'static str) -> Special {
    let [a, b, c, d, e, f, g, h] = groups;
    let network = std::net::Ipv6Addr::new(a, b, c, d, e, f, g, h).to_bits();
    Special {
        network: ClientAddress::V6(network),
        len,
        name,
        source,
        local: false,
    }
}

const fn local(special: Special) -> Special {
    Special {
        local: true,
        ..special
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> ClientAddress {
        text.parse().unwrap()
    }

    #[test]
    fn special_space_is_not_public_and_its_neighbours_are() {
        for text in [
            "0.0.0.0",
            "10.255.255.255",
            "100.127.255.255",
            "127.0.0.1",
            "169.254.169.254",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.7",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "2001:db8::1",
            "3fff::1",
            "100::1",
            "2001:1::1",
            "fec0::1",
            "::ffff:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::a00:1",
            "2002:a00:1::1",
            "2002:c0a8:101:1::1",
            "2002:c000:201::1",
            "2001:0:4136:e378:8000:63bf:f5ff:fffe",
        ] {
            assert!(!is_public(address(text)), "{text}");
        }
        for text in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "198.17.0.1",
            "198.20.0.0",
            "223.255.255.255",
            "2001:200::1",
            "2606:4700::1111",
            "2a00::1",
            "4000::1",
            "::ffff:1.1.1.1",
            "2002:101:101::1",
        ] {
            assert!(is_public(address(text)), "{text}");
        }
    }

    #[test]
    fn local_space_is_near_and_documentation_is_not() {
        for text in [
            "10.0.0.1",
            "127.0.0.1",
            "100.64.0.1",
            "169.254.0.1",
            "::1",
            "fe80::1",
            "fd00::1",
        ] {
            assert!(is_local(address(text)), "{text}");
        }
        for text in [
            "0.0.0.0",
            "203.0.113.7",
            "224.0.0.1",
            "::",
            "ff02::1",
            "2001:db8::1",
            "1.1.1.1",
        ] {
            assert!(!is_local(address(text)), "{text}");
        }
    }

    #[test]
    fn a_prefix_is_special_only_as_a_whole() {
        let special = |text: &str| is_special(text.parse().unwrap());
        assert!(special("10.1.0.0/16") && special("fc00::/8") && special("224.0.0.0/4"));
        assert!(!special("10.0.0.0/7") && !special("0.0.0.0/0") && !special("::/0"));
    }

    #[test]
    fn every_prefix_is_canonical_and_none_is_inside_another() {
        let all: Vec<_> = special_prefixes().collect();
        for (at, cidr) in all.iter().enumerate() {
            assert_eq!(cidr.to_string().parse::<Cidr>().unwrap(), *cidr);
            assert_eq!(
                cidr.network(),
                SPECIAL_PURPOSE[at].network,
                "{cidr} has host bits"
            );
            assert!(
                !all.iter()
                    .enumerate()
                    .any(|(other, two)| other != at && two.covers(*cidr))
            );
        }
    }
}
