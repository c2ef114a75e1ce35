//! Databases of the tests, made by the kit.

mod at_work;
mod files;

use std::time::Instant;

use hyper::body::Bytes;
use kit::mmdb::{Mmdb, RecordSize, Tree, Value};
use proptest::prelude::*;
use reputation::manifest::Askable;
use reputation::{Band, Cidr, ClientAddress, UnixSeconds};

use super::Databases;
use super::record::Facts;
use super::volume::{Refusal, Volume};
use crate::config::{Asn, Config, Country, Database, Flag};
use crate::intelligence::testing::{Harness, PATIENCE, StandIn, until};
use crate::intelligence::{DatabaseStatus, Explanation};
use crate::telemetry::chain;

const NOW: UnixSeconds = UnixSeconds(1_795_000_000);

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

fn address(text: &str) -> ClientAddress {
    text.parse().unwrap()
}

/// One `[[database]]` with these lines more.
fn toml(lines: &str) -> String {
    format!("[[database]]\nname = \"db\"\npath = \"{{dir}}/db.mmdb\"\nrefresh = \"1s\"\n{lines}\n")
}

fn config(lines: &str) -> Database {
    let mut config = Config::parse(&toml(lines), std::iter::empty()).unwrap();
    config.databases.remove(0)
}

fn open(lines: &str, bytes: Vec<u8>) -> Result<Volume, Refusal> {
    Volume::open(&config(lines), Bytes::from(bytes), NOW)
}

fn refusal(lines: &str, bytes: Vec<u8>) -> String {
    let refused = open(lines, bytes);
    chain(&refused.err().unwrap())
}

fn set(flags: &[&'static str]) -> Value {
    Value::Map(
        flags
            .iter()
            .map(|flag| (*flag, Value::Flag(true)))
            .collect(),
    )
}

fn system(number: u32, name: &str) -> Value {
    Value::Map(vec![
        ("autonomous_system_number", Value::Number(number)),
        ("autonomous_system_organization", Value::text(name)),
    ])
}

fn place(key: &'static str, code: &str) -> Value {
    Value::Map(vec![(
        key,
        Value::Map(vec![("iso_code", Value::text(code))]),
    )])
}

fn asn() -> Mmdb {
    Mmdb::new("GeoLite2-ASN")
        .record(cidr("45.1.0.0/16"), &system(64500, "Example Net"))
        .record(
            cidr("2a00:1::/32"),
            &system(64501, "Six\u{1b}[31m\u{202e}ten"),
        )
}

fn anonymous() -> Mmdb {
    Mmdb::new("GeoIP2-Anonymous-IP")
        .record(
            cidr("45.1.0.0/16"),
            &set(&["is_anonymous", "is_hosting_provider"]),
        )
        .record(
            cidr("45.1.2.3/32"),
            &set(&["is_anonymous", "is_tor_exit_node"]),
        )
        .record(
            cidr("2a00:1:2:3:8000::/65"),
            &set(&["is_anonymous", "is_anonymous_vpn"]),
        )
}

fn facts(volume: &Volume, text: &str) -> Facts {
    volume.find(address(text)).unwrap().0
}
