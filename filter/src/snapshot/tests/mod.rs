//! Fetching and loading together, between a sidecar of the tests and several VMs that share one memory.

mod fetched;
mod refused;
mod takeover;

use std::cell::{Cell, RefCell};
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
    /// How many questions for a part another one answers, which has none.
    strayed: Cell<usize>,
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
            let strayed = self.strayed.get();
            self.strayed.set(strayed.saturating_sub(1));
            return match self.parts.get(digest) {
                Some(part) if strayed == 0 => ("200", part.clone()),
                _ => ("404", Vec::new()),
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
