//! Fetching and loading together, between a sidecar of the tests and several VMs that share one memory.

use std::cell::RefCell;
use std::collections::HashMap;

use reputation::digest::Digest;
use reputation::manifest::{FORM, ImageRef, MAX_PART_BYTES};
use reputation::mode::{Mode, ModeOverride};
use reputation::set::{Basis, Class, ImageBuilder, Meta};
use reputation::{Band, Cidr, Rank};

use super::*;
use crate::host::{AnswerSize, Host};
use crate::logged::Logged;
use crate::metrics::Metrics;
use crate::plugin::Plugin;
use crate::testing::{Made, MockHost, config, ip};
use crate::turn::{Random, Turn, Uptime};

const START: u64 = 1_800_000_000_000_000;
const TICK: u64 = 100_000;
const SECOND: u64 = 1_000_000;
const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

/// The sidecar: a manifest and the parts it speaks of.
#[derive(Default)]
struct Sidecar {
    manifest: Vec<u8>,
    parts: HashMap<String, Vec<u8>>,
    asked: RefCell<Vec<String>>,
}

/// One VM with one plugin.
struct Worker {
    plugin: Plugin,
    metrics: Metrics,
    random: Random,
}

struct World {
    host: MockHost,
    sidecar: Sidecar,
}

fn version(version: u64) -> SnapshotVersion {
    SnapshotVersion { epoch: 1, version }
}

fn meta(kind: Kind, version: SnapshotVersion) -> Meta {
    Meta {
        kind,
        version,
        built_at: NOW,
        valid_until: NOW.plus(1_000),
    }
}

fn build(kind: Kind, v: SnapshotVersion, listed: &[Cidr]) -> Vec<u8> {
    let mut builder = ImageBuilder::new(meta(kind, v));
    let class = builder.class(&Class {
        rank: Rank::HardSource,
        basis: Basis::Band(Band::Malicious),
        band: Band::Malicious,
        score: 100,
        reason: "list".to_owned(),
    });
    listed.iter().for_each(|cidr| builder.list(*cidr, class));
    builder.build().unwrap()
}

/// A base of many addresses, so that it has several parts.
fn many(first: u32) -> Vec<Cidr> {
    let addresses = (0..100_000).map(|n| reputation::ClientAddress::V4(first + n * 977));
    addresses.map(Cidr::host).collect()
}

impl Sidecar {
    fn publish(&mut self, v: SnapshotVersion, base: &[Cidr], overlay: &[Cidr]) -> Manifest {
        // A base keeps its version until it is built anew, so that its digest stays.
        let base = build(Kind::Base, version(0), base);
        let base_ref = ImageRef::of(&base);
        let kind = Kind::Overlay {
            base: base_ref.digest,
        };
        let overlay = build(kind, v, overlay);
        let manifest = Manifest {
            wire: FORM,
            version: v,
            generation: 1,
            base: base_ref,
            overlay: ImageRef::of(&overlay),
            built_at: NOW,
            valid_until: NOW.plus(1_000),
            lookups: false,
            shadow_lookups: false,
            modes: Vec::new(),
        };
        self.keep(&base);
        self.keep(&overlay);
        self.announce(&manifest);
        manifest
    }

    fn keep(&mut self, image: &[u8]) {
        for part in image.chunks(MAX_PART_BYTES) {
            self.parts
                .insert(Digest::of(part).to_string(), part.to_vec());
        }
    }

    fn announce(&mut self, manifest: &Manifest) {
        self.manifest = serde_json::to_vec(manifest).unwrap();
    }

    fn answer(&self, path: &str) -> (&'static str, Vec<u8>) {
        self.asked.borrow_mut().push(path.to_owned());
        if let Some(digest) = path.strip_prefix("/v1/parts/") {
            return match self.parts.get(digest) {
                Some(part) => ("200", part.clone()),
                None => ("404", Vec::new()),
            };
        }
        let after = path.split(['=', '&']).nth(1).unwrap();
        let after: SnapshotVersion = after.parse().unwrap();
        match Manifest::parse(&self.manifest) {
            Ok(manifest) if manifest.version <= after => ("304", Vec::new()),
            _ => ("200", self.manifest.clone()),
        }
    }
}

impl World {
    fn new() -> Self {
        let host = MockHost::default();
        host.micros.set(START);
        Self {
            host,
            sidecar: Sidecar::default(),
        }
    }

    fn worker(&self, seed: u64) -> Worker {
        let (mut metrics, mut random) = (Metrics::new(), Random::new(seed * 2 + 1));
        let now = self.host.micros.get();
        let mut turn = Turn {
            host: &self.host,
            metrics: &mut metrics,
            random: &mut random,
            logged: &mut Logged::default(),
            now: UnixSeconds::from_secs(now / SECOND),
            uptime: Uptime::of_micros(now),
        };
        let plugin = Plugin::new(&mut turn, config(r#"{"mode":"enforce"}"#), now);
        Worker {
            plugin,
            metrics,
            random,
        }
    }

    /// A VM that starts after all that was written so far.
    fn next_worker(&self, seed: u64) -> Worker {
        self.host.micros.set(self.host.micros.get() + 1);
        self.worker(seed)
    }

    /// Lets `ticks` go by for all, and the sidecar answer what is asked.
    fn run(&self, workers: &mut [&mut Worker], ticks: usize) {
        for _ in 0..ticks {
            self.host.micros.set(self.host.micros.get() + TICK);
            for worker in workers.iter_mut() {
                self.tick(worker);
            }
        }
    }

    fn tick(&self, worker: &mut Worker) {
        let now = self.host.micros.get();
        worker.turn(&self.host, |turn, plugin| plugin.on_tick(turn, now));
        loop {
            let calls = self.host.calls();
            let Some(call) = calls.first() else { break };
            self.answer(worker, call);
        }
        worker.metrics.flush(&self.host);
    }

    fn answer(&self, worker: &mut Worker, call: &Made) {
        let (status, body) = self.sidecar.answer(&call.path);
        self.host.set_answer(status, &body);
        let size = AnswerSize {
            headers: 3,
            body: body.len(),
        };
        let now = self.host.micros.get();
        worker.turn(&self.host, |turn, plugin| {
            plugin.on_answer(turn, call.token, size, now);
        });
    }

    fn refused(&self, cause: &str) -> u64 {
        let name = format!("portcullis_snapshot_refused_total.cause.{cause}");
        self.host.metric(&name)
    }

    fn keys(&self) -> keys::Keys {
        keys::Keys::new(&config("{}").sidecar)
    }
}

impl Worker {
    fn turn<R>(
        &mut self,
        host: &MockHost,
        work: impl FnOnce(&mut Turn<'_, MockHost>, &mut Plugin) -> R,
    ) -> R {
        let mut turn = Turn {
            host,
            metrics: &mut self.metrics,
            random: &mut self.random,
            logged: &mut Logged::default(),
            now: host.unix_now(),
            uptime: Uptime::of_micros(host.now_micros()),
        };
        work(&mut turn, &mut self.plugin)
    }

    fn version(&self) -> Option<u64> {
        let version = self.plugin.snapshot.version();
        version.map(|version| version.version)
    }

    fn lists(&self, address: &str) -> bool {
        let snapshot = &self.plugin.snapshot;
        let now = NOW;
        reputation::lookup::find(snapshot.base(), snapshot.overlay(), ip(address), now).is_some()
    }
}

fn cidrs(texts: &[&str]) -> Vec<Cidr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

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
