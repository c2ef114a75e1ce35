//! Manifests, parts and images that are not taken up; the last good one stays.

use super::*;

#[test]
fn a_sidecar_too_far_away_is_refused_by_name_and_what_was_loaded_stays() {
    let mut world = World::new();
    world
        .sidecar
        .publish(version(1), &[], &cidrs(&["192.0.2.1"]));
    let mut worker = world.worker(1);
    world.run(&mut [&mut worker], 10);
    *world.host.wire.borrow_mut() = Some(b"2".to_vec());
    world
        .sidecar
        .publish(version(2), &[], &cidrs(&["192.0.2.2"]));
    world.run(&mut [&mut worker], 10);
    assert!(world.refused("wire") > 0);
    assert!(worker.lists("192.0.2.1") && !worker.lists("192.0.2.2"));
    *world.host.wire.borrow_mut() = None;
    world.run(&mut [&mut worker], 100);
    assert!(worker.lists("192.0.2.2"));
}

#[test]
fn an_image_in_a_format_to_come_is_refused_by_name() {
    let mut world = World::new();
    let mut manifest = world
        .sidecar
        .publish(version(1), &[], &cidrs(&["192.0.2.1"]));
    let mut base = build(Kind::Base, version(0), &[]);
    base[8] = 2;
    manifest.base = ImageRef::of(&base);
    world.sidecar.keep(&base);
    world.sidecar.announce(&manifest);
    let mut worker = world.worker(1);
    world.run(&mut [&mut worker], 10);
    assert_eq!(world.refused("format"), 1);
    assert_eq!(worker.version(), None);
}

#[test]
fn corrupt_truncated_and_swapped_parts_are_refused_and_the_last_good_one_stays() {
    type Spoil = fn(&mut Vec<u8>);
    let spoils: [Spoil; 3] = [
        |part| part[7] ^= 1,
        |part| part.truncate(9),
        |part| part.push(0),
    ];
    for spoil in spoils {
        let mut world = World::new();
        world
            .sidecar
            .publish(version(1), &[], &cidrs(&["192.0.2.1"]));
        let mut a = world.worker(1);
        world.run(&mut [&mut a], 5);
        let good = world.sidecar.parts.clone();
        world
            .sidecar
            .publish(version(2), &[], &cidrs(&["192.0.2.2"]));
        for (digest, part) in &mut world.sidecar.parts {
            if !good.contains_key(digest) {
                spoil(part);
            }
        }
        world.run(&mut [&mut a], 20);
        assert_eq!(a.version(), Some(1));
        assert!(a.lists("192.0.2.1"));
        assert!(world.refused("digest") > 0);
    }
}

#[test]
fn faulty_manifests_are_refused_with_their_cause() {
    let spoiled = |cause: &str, spoil: &dyn Fn(&mut Manifest)| {
        let mut world = World::new();
        world
            .sidecar
            .publish(version(1), &[], &cidrs(&["192.0.2.1"]));
        let mut a = world.worker(1);
        world.run(&mut [&mut a], 5);
        let mut manifest = world.sidecar.publish(version(2), &[], &[]);
        spoil(&mut manifest);
        world.sidecar.announce(&manifest);
        world.run(&mut [&mut a], 5);
        assert_eq!(a.version(), Some(1), "{cause}");
        assert!(world.refused(cause) > 0, "{cause}");
    };
    spoiled("wire", &|manifest| manifest.wire = 9);
    spoiled("parts", &|manifest| manifest.base.length = 1 << 30);
    spoiled("digest", &|manifest| {
        manifest.overlay.digest = Digest::of(b"x")
    });
    spoiled("expired", &|manifest| manifest.valid_until = NOW);
    spoiled("malformed", &|manifest| manifest.version.epoch = u64::MAX);
    let mut world = World::new();
    world.sidecar.manifest = b"<html>\xff".to_vec();
    let mut a = world.worker(1);
    world.run(&mut [&mut a], 5);
    assert_eq!(a.version(), None);
    assert!(world.refused("malformed") > 0);
}

#[test]
fn what_others_write_into_shared_memory_costs_neither_memory_nor_the_snapshot() {
    let mut world = World::new();
    let manifest = world
        .sidecar
        .publish(version(1), &[], &cidrs(&["192.0.2.1"]));
    let mut a = world.worker(1);
    world.run(&mut [&mut a], 5);
    let keys = world.keys();
    let mut huge = record::Record {
        manifest,
        base: keys::Slot::B,
        overlay: keys::Slot::B,
    };
    huge.manifest.version = version(u64::MAX);
    huge.manifest.base.length = usize::MAX;
    huge.manifest.base.digest = Digest::of(b"another");
    for key in [&keys.current, &keys.previous] {
        record::write(&world.host, key, &huge);
    }
    for key in [&keys.modes, &keys.lease, &keys.trying, &keys.fleet] {
        world.host.set_shared(key, &[0xff; 999], None).unwrap();
    }
    world.host.set_shared(&keys.signal, b"?", None).unwrap();
    world.run(&mut [&mut a], 5);
    assert_eq!(a.version(), Some(1));
    assert!(a.lists("192.0.2.1"));
    world
        .sidecar
        .publish(version(2), &[], &cidrs(&["192.0.2.2"]));
    world.run(&mut [&mut a], 50);
    assert_eq!(a.version(), Some(2), "the fetch goes on");
}

#[test]
fn what_is_not_an_image_is_refused_though_its_digests_hold() {
    let refused = |cause: &str, base: &[u8], overlay: &[u8]| {
        let mut world = World::new();
        let mut manifest = world
            .sidecar
            .publish(version(1), &[], &cidrs(&["192.0.2.1"]));
        let mut a = world.worker(1);
        world.run(&mut [&mut a], 5);
        manifest.version = version(2);
        for (image, place) in [(base, &mut manifest.base), (overlay, &mut manifest.overlay)] {
            if !image.is_empty() {
                *place = ImageRef::of(image);
                world.sidecar.keep(image);
            }
        }
        world.sidecar.announce(&manifest);
        world.run(&mut [&mut a], 10);
        assert_eq!(a.version(), Some(1), "{cause}");
        assert!(a.lists("192.0.2.1"), "{cause}");
        assert_eq!(world.refused(cause), 1, "{cause}: said once");
    };
    refused("image", b"not an image", b"");
    let mut spoilt = build(Kind::Base, version(2), &many(5));
    let middle = spoilt.len() / 2;
    spoilt[middle..middle + 4000].fill(0xa5);
    refused("image", &spoilt, b"");
    let other = build(Kind::Base, version(2), &cidrs(&["192.0.2.9"]));
    refused("base", &other, b"");
    refused("image", b"", &other);
}

#[test]
fn a_part_written_over_while_it_is_read_means_that_there_is_something_newer() {
    let mut world = World::new();
    world.sidecar.publish(version(1), &many(1 << 24), &[]);
    let (mut a, mut b) = (world.worker(1), world.worker(2));
    world.run(&mut [&mut b, &mut a], 1);
    world.host.micros.set(world.host.micros.get() + TICK);
    world.tick(&mut b);
    assert_eq!(b.version(), None);
    // While `b` copies, `a` brings two more snapshots, the second into the place that `b` reads.
    for v in 2..=3 {
        world.sidecar.publish(
            version(v),
            &many((1 << 24) + u32::try_from(v).unwrap()),
            &[],
        );
        world.run(&mut [&mut a], 20);
    }
    world.run(&mut [&mut b], 20);
    assert_eq!(b.version(), Some(3));
    assert_eq!(world.refused("digest"), 0);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn no_snapshot_traps(
        spoilt in proptest::collection::vec((0_usize..4_000, 0_u8..=255), 0..8),
        address: u32,
    ) {
        let mut world = World::new();
        let listed: Vec<_> = many(1 << 24).into_iter().take(500).collect();
        let mut manifest = world.sidecar.publish(version(1), &listed, &[]);
        let mut base = build(Kind::Base, version(0), &listed);
        for (at, byte) in spoilt {
            let at = at % base.len();
            base[at] = byte;
        }
        manifest.base = ImageRef::of(&base);
        let digest = manifest.base.digest;
        let overlay = build(Kind::Overlay { base: digest }, version(1), &[]);
        manifest.overlay = ImageRef::of(&overlay);
        world.sidecar.keep(&base);
        world.sidecar.keep(&overlay);
        world.sidecar.announce(&manifest);
        let mut a = world.worker(1);
        world.run(&mut [&mut a], 8);
        a.lists(&reputation::ClientAddress::V4(address).to_string());
    }
}
