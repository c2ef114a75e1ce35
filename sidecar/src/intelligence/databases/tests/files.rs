//! What is read from a file, and what is no database.

use super::*;

#[test]
fn the_flags_of_an_address_are_those_of_its_smallest_network() {
    for size in [RecordSize::Bits24, RecordSize::Bits28, RecordSize::Bits32] {
        let volume = open("", anonymous().record_size(size).bytes()).unwrap();
        let (found, network) = volume.find(address("45.1.2.3")).unwrap();
        assert_eq!(found.flags, [Flag::Anonymous, Flag::Tor].into(), "{size:?}");
        assert_eq!(network, cidr("45.1.2.3/32"));
        let hosting = facts(&volume, "45.1.255.255").flags;
        assert_eq!(hosting, [Flag::Anonymous, Flag::Hosting].into());
        assert_eq!(volume.find(address("45.2.0.0")), None);
        let vpn = facts(&volume, "2a00:1:2:3:8000::1").flags;
        assert_eq!(vpn, [Flag::Anonymous, Flag::Vpn].into());
        assert!(volume.splits(cidr("2a00:1:2:3::/64")));
        assert!(!volume.splits(cidr("2a00:ffff::/64")));
    }
}

#[test]
fn a_system_and_a_country_are_read_from_each_makers_fields() {
    let volume = open("", asn().bytes()).unwrap();
    let found = facts(&volume, "45.1.9.9");
    assert_eq!(
        (found.asn, found.organisation.as_deref()),
        (Some(Asn(64500)), Some("Example Net"))
    );
    // What moves the cursor of a terminal or turns the direction of writing is replaced.
    let named = facts(&volume, "2a00:1::1").organisation;
    assert_eq!(named.as_deref(), Some("Six\u{fffd}[31m\u{fffd}ten"));

    let cities = Mmdb::new("GeoLite2-City")
        .tree(Tree::V4)
        .record(cidr("45.1.0.0/16"), &place("country", "DE"))
        .record(cidr("45.2.0.0/16"), &place("registered_country", "FR"));
    let volume = open("", cities.bytes()).unwrap();
    assert_eq!(facts(&volume, "45.1.0.1").country, Country::parse("DE"));
    assert_eq!(facts(&volume, "45.2.0.1").country, Country::parse("FR"));
    let six = address("2a00:1::1");
    assert!(!volume.covers(six) && volume.find(six).is_none());

    let lite = Value::Map(vec![
        ("asn", Value::text("AS64500")),
        ("as_name", Value::text("Example Net")),
        ("country", Value::text("Germany")),
        ("country_code", Value::text("DE")),
        ("vpn", Value::text("true")),
        ("tor", Value::text("")),
        ("hosting", Value::Flag(true)),
    ]);
    let lite = Mmdb::new("ipinfo lite").record(cidr("45.1.0.0/16"), &lite);
    let found = facts(&open("", lite.bytes()).unwrap(), "45.1.0.1");
    assert_eq!(
        (found.asn, found.country),
        (Some(Asn(64500)), Country::parse("DE"))
    );
    assert_eq!(found.flags, [Flag::Vpn, Flag::Hosting].into());
}

#[test]
fn what_is_no_database_or_another_one_is_refused_and_why() {
    let city = Mmdb::new("GeoLite2-City").record(cidr("45.1.0.0/16"), &place("country", "DE"));
    let odd = Mmdb::new("Ours").record(cidr("45.1.0.0/16"), &system(1, "a"));
    let later = asn().built(u64::from(NOW.0) + 2 * 86_400);
    let empty = Mmdb::new("GeoLite2-ASN");
    let text = Mmdb::new("GeoLite2-ASN").record(cidr("45.1.0.0/16"), &Value::text("AS1"));
    for (lines, bytes, why) in [
        (
            "",
            b"<html>maintenance</html>".to_vec(),
            "no whole database",
        ),
        ("", Vec::new(), "no whole database"),
        ("", odd.bytes(), "say so with kind"),
        ("kind = \"asn\"", city.bytes(), "not what kind \"asn\" has"),
        ("", empty.bytes(), "not what kind \"asn\" has"),
        ("", text.bytes(), "not what kind \"asn\" has"),
        ("", later.bytes(), "still to come"),
    ] {
        let told = refusal(lines, bytes);
        assert!(told.contains(why) && told.contains("db.mmdb"), "{told}");
    }
    assert!(open("kind = \"asn\"", odd.bytes()).is_ok());
}

#[test]
fn no_part_of_a_database_is_taken_for_the_whole() {
    let whole = anonymous().bytes();
    for end in 0..whole.len() {
        assert!(
            open("", whole[..end].to_vec()).is_err(),
            "{end} of {}",
            whole.len()
        );
    }
}

/// Each of 96 nodes leads to the next by both of its sides: more ways than there are atoms.
#[test]
fn a_tree_that_leads_to_the_same_place_again_and_again_is_given_up() {
    let mut bytes = anonymous().record_size(RecordSize::Bits32).bytes();
    let chain = Mmdb::new("GeoIP2-Anonymous-IP")
        .record_size(RecordSize::Bits32)
        .record(cidr("0.0.0.0/32"), &set(&["is_anonymous"]));
    assert!(open("", chain.bytes()).is_ok());
    for bomb in [&mut chain.bytes(), &mut bytes] {
        for node in 0..96 {
            let left = bomb[node * 8..node * 8 + 4].to_vec();
            bomb[node * 8 + 4..node * 8 + 8].copy_from_slice(&left);
        }
        let begun = Instant::now();
        assert!(refusal("", bomb.clone()).contains("no end"));
        assert!(begun.elapsed().as_secs() < 10);
    }
}

proptest! {
    #[test]
    fn mangled_bytes_neither_end_nor_stop_us(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        asked in any::<u128>(),
    ) {
        let mut bytes = anonymous().bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(volume) = open("", bytes) {
            for address in [ClientAddress::from_v6_bits(asked), address("45.1.2.3")] {
                let _any = volume.find(address);
                volume.splits(Cidr::host(address));
            }
        }
    }
}
