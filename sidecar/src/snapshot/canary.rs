//! Addresses that are refused so that somebody can see that refusing works: from `portcullis doctor` to
//! the edge and back. No client of the world has them, so nobody else is hit.
//!
//! They stand with the rank of an operator's ban: as members of special-purpose space they would be
//! trusted otherwise. An operator's allow and a proxy's own allow list still win, as over any ban.

use std::net::{IpAddr, Ipv4Addr};

use reputation::set::{Basis, Class};
use reputation::{Action, Band, Cidr, ClientAddress, Rank};

/// The name under which it is explained, counted and logged.
pub const REASON: &str = "canary";
/// Documentation space: named in `x-forwarded-for`, where a proxy trusts who connects to it.
pub const NAMED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 88);
/// Loopback: connected from, where a proxy on the same machine trusts nobody.
pub const LOCAL: Ipv4Addr = Ipv4Addr::new(127, 88, 88, 88);

/// Both, as entries of an image.
pub fn entries() -> impl Iterator<Item = Cidr> {
    addresses().map(Cidr::host)
}

pub fn addresses() -> impl Iterator<Item = ClientAddress> {
    [NAMED, LOCAL]
        .into_iter()
        .map(|address| IpAddr::V4(address).into())
}

pub fn class() -> Class {
    Class {
        rank: Rank::OperatorBan,
        basis: Basis::Action(Action::Deny),
        band: Band::Malicious,
        score: 100,
        reason: REASON.to_owned(),
    }
}
