//! VMs that start, die, reload and take over, beside those of the build before.

use super::*;

#[test]
fn what_vms_of_the_build_before_left_in_shared_memory_is_taken_up_and_left_alike() {
    let mut world = World::new();
    let manifest = world
        .sidecar
        .publish(version(1), &[], &cidrs(&["192.0.2.1"]));
    let record = record::Record {
        manifest: manifest.clone(),
        base: keys::Slot::A,
        overlay: keys::Slot::B,
    };
    record::write(&world.host, "record", &record);
    let manifest: serde_json::Value = serde_json::to_value(manifest).unwrap();
    let before = serde_json::json!({"manifest": manifest, "base": "a", "overlay": "b"});
    let (written, _) = world.host.shared("record").unwrap();
    let written: serde_json::Value = serde_json::from_slice(&written).unwrap();
    assert_eq!(written, before);
    assert_eq!(record::read(&world.host, "record"), Some(record));
}

#[test]
fn another_vm_takes_the_fetch_over_when_the_fetcher_dies() {
    let mut world = World::new();
    world.sidecar.publish(version(1), &[], &[]);
    let (mut a, mut b) = (world.worker(1), world.worker(2));
    world.run(&mut [&mut a, &mut b], 5);
    world.sidecar.publish(version(2), &[], &[]);
    // `a` held the lease and has died.
    world.run(&mut [&mut b], 29);
    assert_eq!(b.version(), Some(1));
    world.run(&mut [&mut b], 20);
    assert_eq!(b.version(), Some(2));
}

#[test]
fn a_vm_that_starts_beside_older_ones_has_snapshot_and_modes_in_its_first_request() {
    let mut world = World::new();
    let listed = cidrs(&["192.0.2.1"]);
    let mut manifest = world.sidecar.publish(version(1), &many(1 << 24), &listed);
    manifest.modes = vec![ModeOverride {
        mode: Mode::Off,
        route: None,
        until: None,
    }];
    world.sidecar.announce(&manifest);
    let mut a = world.worker(1);
    world.run(&mut [&mut a], 30);
    let mut b = world.worker(2);
    assert_eq!(b.version(), None, "not while it is configured");
    b.turn(&world.host, |turn, plugin| plugin.catch_up(turn));
    let notes = world.host.shared(&world.keys().trying);
    assert_eq!(notes.unwrap().0, b"", "written and taken away");
    assert_eq!(b.version(), Some(1));
    assert!(b.lists("192.0.2.1") && b.lists("1.0.0.0"));
    let policy = (b.plugin.modes).policy(&world.host, &b.plugin.config, NOW);
    assert_eq!(policy.mode, Mode::Off);
    world.sidecar.publish(version(2), &many(1 << 24), &[]);
    world.run(&mut [&mut a], 5);
    b.turn(&world.host, |turn, plugin| plugin.catch_up(turn));
    assert_eq!(b.version(), Some(1), "later ones are for the ticks");
}

#[test]
fn a_vm_that_starts_when_the_sidecar_is_long_away_has_what_its_neighbours_enforce() {
    let mut world = World::new();
    let manifest = world.sidecar.publish(version(1), &many(1 << 24), &[]);
    let mut a = world.worker(1);
    world.run(&mut [&mut a], 30);
    let late = u64::from(manifest.valid_until.plus(1).0) * SECOND;
    world.host.micros.set(late);
    let mut b = world.worker(2);
    b.turn(&world.host, |turn, plugin| plugin.catch_up(turn));
    assert_eq!((a.version(), b.version()), (Some(1), Some(1)));
    assert!(b.lists("1.0.0.0"));
    assert_eq!(world.refused("expired"), 0);
}

#[test]
fn what_would_hold_a_request_up_for_long_is_left_to_the_ticks() {
    let mut world = World::new();
    world.sidecar.publish(version(1), &many(1 << 24), &[]);
    let mut a = world.worker(1);
    world.run(&mut [&mut a], 30);
    let mut b = world.worker(2);
    world.host.micros_per_look.set(30_000);
    b.turn(&world.host, |turn, plugin| plugin.catch_up(turn));
    world.host.micros_per_look.set(0);
    assert_eq!(b.version(), None);
    world.run(&mut [&mut b], 30);
    assert_eq!(b.version(), Some(1));
}

#[test]
fn a_reloaded_vm_leaves_a_snapshot_alone_that_ended_three_and_takes_the_one_before() {
    let mut world = World::new();
    world
        .sidecar
        .publish(version(1), &[], &cidrs(&["192.0.2.1"]));
    let mut a = world.worker(1);
    world.run(&mut [&mut a], 10);
    world
        .sidecar
        .publish(version(2), &[], &cidrs(&["192.0.2.2"]));
    world.run(&mut [&mut a], 3);
    for seed in 2..=4 {
        let mut b = world.next_worker(seed);
        world.run(&mut [&mut a, &mut b], 3);
        assert_eq!((a.version(), b.version()), (Some(2), Some(2)));
        // `b` traps on its first request; `a` goes on. A new VM takes the place of `b`.
        b.plugin.trial_begins(&world.host);
    }
    let mut c = world.next_worker(5);
    world.run(&mut [&mut a, &mut c], 100);
    assert_eq!(c.version(), Some(1), "the one before");
    assert!(c.lists("192.0.2.1"));
    assert_eq!(world.refused("poison"), 1);
    world.run(&mut [&mut a, &mut c], 510);
    assert_eq!(c.version(), Some(2), "a minute later it is tried again");
    world.sidecar.publish(version(3), &[], &[]);
    world.run(&mut [&mut a, &mut c], 5);
    assert_eq!(c.version(), Some(3));
}

#[test]
fn a_note_stands_only_while_the_first_request_is_decided() {
    let mut world = World::new();
    world.sidecar.publish(version(1), &[], &[]);
    let mut a = world.worker(1);
    world.run(&mut [&mut a], 5);
    let key = world.keys().trying;
    let notes = || world.host.shared(&key).map_or(0, |(notes, _)| notes.len());
    assert_eq!(
        (a.plugin.snapshot.on_trial(), notes()),
        (Some(version(1)), 0)
    );
    a.plugin.trial_begins(&world.host);
    assert!(notes() > 0);
    a.plugin.trial_ends(&world.host);
    assert_eq!((a.plugin.snapshot.on_trial(), notes()), (None, 0));
    world
        .sidecar
        .publish(version(2), &[], &cidrs(&["192.0.2.2"]));
    world.run(&mut [&mut a], 5);
    assert_eq!(a.plugin.snapshot.on_trial(), Some(version(2)));
}

#[test]
fn a_dead_sidecar_is_asked_less_and_less_often() {
    let mut world = World::new();
    world.sidecar.manifest = b"x".to_vec();
    let mut a = world.worker(1);
    world.run(&mut [&mut a], 100);
    let early = world.sidecar.asked.take().len();
    world.run(&mut [&mut a], 100);
    let late = world.sidecar.asked.take().len();
    assert!((4..12).contains(&early), "{early}");
    assert!((1..6).contains(&late), "{late}");
}
