//! What one VM fetches and all load, and in what order.

use super::*;

#[test]
fn one_vm_fetches_and_all_load() {
    let mut world = World::new();
    world
        .sidecar
        .publish(version(1), &many(1 << 24), &cidrs(&["192.0.2.1"]));
    let (mut a, mut b) = (world.worker(1), world.worker(2));
    world.run(&mut [&mut a, &mut b], 30);
    for worker in [&a, &b] {
        assert_eq!(worker.version(), Some(1));
        assert!(worker.lists("192.0.2.1"));
        assert!(worker.lists("1.0.0.0"));
        assert!(!worker.lists("192.0.2.2"));
    }
    let asked = world.sidecar.asked.take();
    let parts = asked.iter().filter(|path| path.contains("/parts/"));
    assert_eq!(parts.count(), world.sidecar.parts.len(), "each part once");
    assert!(world.sidecar.parts.len() > 2);
}

#[test]
fn a_ban_fetches_and_loads_the_overlay_alone() {
    let mut world = World::new();
    world.sidecar.publish(version(1), &many(1 << 24), &[]);
    let mut a = world.worker(1);
    world.run(&mut [&mut a], 30);
    world.sidecar.asked.take();
    world
        .sidecar
        .publish(version(2), &many(1 << 24), &cidrs(&["192.0.2.1"]));
    world.run(&mut [&mut a], 2);
    assert_eq!(a.version(), Some(2));
    assert!(a.lists("192.0.2.1") && a.lists("1.0.0.0"));
    let asked = world.sidecar.asked.take();
    let parts = asked.iter().filter(|path| path.contains("/parts/"));
    assert_eq!(parts.count(), 1);
}

#[test]
fn parts_that_another_sidecar_is_asked_for_are_asked_for_again_at_once() {
    let mut world = World::new();
    let mut a = world.worker(1);
    world.sidecar.publish(version(1), &[], &[]);
    world.run(&mut [&mut a], 5);
    // Of two sidecars the other one is asked.
    for v in 2..=9 {
        world
            .sidecar
            .publish(version(v), &[], &cidrs(&["192.0.2.1"]));
        world.sidecar.strayed.set(1);
        world.run(&mut [&mut a], 2);
        assert_eq!(a.version(), Some(v));
    }
}

#[test]
fn a_snapshot_whose_parts_are_nowhere_is_polled_for_anew_promptly_and_then_more_and_more_seldom() {
    let mut world = World::new();
    let mut a = world.worker(1);
    world.sidecar.publish(version(1), &[], &[]);
    world.run(&mut [&mut a], 5);
    world.sidecar.publish(version(2), &[], &[]);
    world.sidecar.strayed.set(20);
    world.run(&mut [&mut a], 15);
    assert_eq!(a.version(), Some(2), "a second and a half later");

    world.sidecar.publish(version(3), &[], &[]);
    world.sidecar.strayed.set(usize::MAX);
    world.sidecar.asked.take();
    world.run(&mut [&mut a], 600);
    let asked = world.sidecar.asked.take();
    let polls = asked.iter().filter(|path| path.contains("/manifest"));
    let polls = polls.count();
    assert!((10..40).contains(&polls), "{polls} polls in a minute");
    assert!(asked.len() <= 5 * polls, "{} questions", asked.len());
    world.sidecar.strayed.set(0);
    world.run(&mut [&mut a], 60);
    assert_eq!(a.version(), Some(3));
}

#[test]
fn shared_memory_does_not_grow_with_the_number_of_snapshots() {
    let mut world = World::new();
    let mut a = world.worker(1);
    let mut sizes = Vec::new();
    for v in 1..=12 {
        let first = u32::try_from(v % 3).unwrap() + (1 << 24);
        world
            .sidecar
            .publish(version(v), &many(first), &cidrs(&["192.0.2.1"]));
        world.run(&mut [&mut a], 20);
        assert_eq!(a.version(), Some(v));
        sizes.push(world.host.shared_keys().len());
    }
    assert_eq!(sizes[3], sizes[11]);
}

#[test]
fn an_older_snapshot_never_replaces_a_newer_one() {
    let mut world = World::new();
    world
        .sidecar
        .publish(version(5), &[], &cidrs(&["192.0.2.1"]));
    let mut a = world.worker(1);
    world.run(&mut [&mut a], 5);
    // A sidecar that answers with something older in spite of `after`.
    let older = world.sidecar.publish(version(4), &[], &[]);
    let record = record::Record {
        manifest: older,
        base: keys::Slot::B,
        overlay: keys::Slot::B,
    };
    record::write(&world.host, &world.keys().current, &record);
    record::announce(&world.host, &world.keys(), &mut Random::new(9));
    world.run(&mut [&mut a], 5);
    assert_eq!(a.version(), Some(5));
    assert!(a.lists("192.0.2.1"));
    assert_eq!(world.refused("older"), 1, "said once");
}

#[test]
fn a_higher_epoch_replaces_a_higher_version() {
    let mut world = World::new();
    world.sidecar.publish(version(9), &[], &[]);
    let mut a = world.worker(1);
    world.run(&mut [&mut a], 5);
    let next = SnapshotVersion {
        epoch: 2,
        version: 1,
    };
    world.sidecar.publish(next, &[], &[]);
    world.run(&mut [&mut a], 5);
    assert_eq!(a.plugin.snapshot.version(), Some(next));
}

#[test]
fn the_operators_modes_hold_at_once_even_if_the_snapshot_does_not() {
    let mut world = World::new();
    world.sidecar.publish(version(1), &[], &[]);
    let (mut a, mut b) = (world.worker(1), world.worker(2));
    world.run(&mut [&mut a, &mut b], 5);
    let mut manifest = world
        .sidecar
        .publish(version(2), &[], &cidrs(&["192.0.2.2"]));
    manifest.modes = vec![ModeOverride {
        mode: Mode::Off,
        route: None,
        until: None,
    }];
    world.sidecar.announce(&manifest);
    world.sidecar.parts.clear();
    world.run(&mut [&mut a, &mut b], 5);
    for worker in [&a, &b] {
        assert_eq!(worker.version(), Some(1));
        let plugin = &worker.plugin;
        let policy = plugin.modes.policy(&world.host, &plugin.config, NOW);
        assert_eq!(policy.mode, Mode::Off);
    }
}

#[test]
fn the_gauges_say_what_the_slowest_vm_has() {
    let mut world = World::new();
    world.sidecar.publish(version(1), &[], &[]);
    let (mut a, mut b) = (world.worker(1), world.worker(2));
    world.run(&mut [&mut a, &mut b], 30);
    let gauge = |name: &str| world.host.metric(name);
    assert_eq!(gauge("portcullis_vms"), 2);
    assert_eq!(gauge("portcullis_snapshot_version_min"), 1);
    let built = u64::from(NOW.0);
    assert_eq!(gauge("portcullis_snapshot_built_timestamp_seconds"), built);
}
