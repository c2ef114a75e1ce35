//! Who the client is, and whether the filter's own allow list knows it. Envoy decides which address that
//! is; `x-forwarded-for` is never read here.

use reputation::special::is_public;
use reputation::{Cidr, ClientAddress};

use crate::config::ClientIp;
use crate::host::{Host, Property};

/// For the metric that shows a wrong hop count: many private addresses mean a proxy is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressKind {
    Public,
    /// Private, loopback, link-local and other special-purpose space.
    Private,
    Missing,
}

/// The addresses that always pass, as disjoint sorted ranges.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AllowList {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

/// The client's address, if Envoy has one: a Unix socket's peer has none.
pub fn address<H: Host>(host: &H, from: ClientIp) -> Option<ClientAddress> {
    let parse = ClientAddress::parse_peer;
    match from {
        ClientIp::SourceAddress => host.property(Property::SourceAddress, parse),
        ClientIp::ExternalAddressHeader => host.request_header("x-envoy-external-address", parse),
    }
    .flatten()
}

impl AddressKind {
    pub const ALL: [Self; 3] = [Self::Public, Self::Private, Self::Missing];

    pub fn of(address: Option<ClientAddress>) -> Self {
        match address {
            None => Self::Missing,
            Some(address) if is_public(address) => Self::Public,
            Some(_) => Self::Private,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::Missing => "missing",
        }
    }
}

impl AllowList {
    pub fn new(cidrs: &[Cidr]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for cidr in cidrs {
            match (cidr.network(), cidr.last()) {
                (ClientAddress::V4(first), ClientAddress::V4(last)) => {
                    v4.push((first.into(), last.into()));
                }
                (ClientAddress::V6(first), ClientAddress::V6(last)) => v6.push((first, last)),
                _ => {}
            }
        }
        merge(&mut v4);
        merge(&mut v6);
        let short = |bits| u32::try_from(bits).unwrap_or(u32::MAX);
        let v4 = v4
            .into_iter()
            .map(|(first, last)| (short(first), short(last)));
        Self {
            v4: v4.collect(),
            v6,
        }
    }

    pub fn contains(&self, address: ClientAddress) -> bool {
        match address {
            ClientAddress::V4(bits) => covers(&self.v4, bits),
            ClientAddress::V6(bits) => covers(&self.v6, bits),
        }
    }
}

fn covers<T: PartialOrd + Copy>(ranges: &[(T, T)], bits: T) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= bits);
    let before = after.checked_sub(1).and_then(|index| ranges.get(index));
    before.is_some_and(|(_, last)| bits <= *last)
}

/// For both families in the width of the wider one: a second sort would be a fiftieth of the module.
fn merge(ranges: &mut Vec<(u128, u128)>) {
    ranges.sort_unstable();
    ranges.dedup_by(|next, kept| {
        let overlaps = next.0 <= kept.1;
        if overlaps {
            kept.1 = kept.1.max(next.1);
        }
        overlaps
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MockHost;

    fn ip(text: &str) -> ClientAddress {
        text.parse().unwrap()
    }

    fn list(cidrs: &[&str]) -> AllowList {
        let cidrs: Vec<Cidr> = cidrs.iter().map(|text| text.parse().unwrap()).collect();
        AllowList::new(&cidrs)
    }

    #[test]
    fn the_allow_list_holds_what_its_prefixes_hold_and_nothing_else() {
        let list = list(&[
            "10.0.0.0/8",
            "10.1.0.0/16",
            "192.0.2.7",
            "2001:db8::/64",
            "::ffff:198.51.100.1",
        ]);
        for inside in [
            "10.0.0.0",
            "10.255.255.255",
            "192.0.2.7",
            "2001:db8::5",
            "198.51.100.1",
        ] {
            assert!(list.contains(ip(inside)), "{inside}");
        }
        for outside in [
            "9.255.255.255",
            "11.0.0.0",
            "192.0.2.8",
            "2001:db8:0:1::",
            "198.51.100.2",
        ] {
            assert!(!list.contains(ip(outside)), "{outside}");
        }
        assert!(!AllowList::default().contains(ip("127.0.0.1")));
    }

    #[test]
    fn the_address_is_envoys_and_a_socket_path_is_none() {
        let host = MockHost::default();
        host.set_property(Property::SourceAddress, b"203.0.113.9:4711");
        host.put_header("x-envoy-external-address", b"198.51.100.4");
        host.put_header("x-forwarded-for", b"192.0.2.1");
        assert_eq!(
            address(&host, ClientIp::SourceAddress),
            Some(ip("203.0.113.9"))
        );
        assert_eq!(
            address(&host, ClientIp::ExternalAddressHeader),
            Some(ip("198.51.100.4"))
        );
        host.set_property(Property::SourceAddress, b"/run/envoy.sock");
        host.put_header("x-envoy-external-address", b"\xff\xfe");
        assert_eq!(address(&host, ClientIp::SourceAddress), None);
        assert_eq!(address(&host, ClientIp::ExternalAddressHeader), None);
    }

    #[test]
    fn kinds_tell_public_private_and_missing_apart() {
        assert_eq!(AddressKind::of(Some(ip("8.8.8.8"))), AddressKind::Public);
        assert_eq!(AddressKind::of(Some(ip("10.0.0.1"))), AddressKind::Private);
        assert_eq!(AddressKind::of(None), AddressKind::Missing);
    }
}
