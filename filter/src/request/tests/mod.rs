//! A plugin between a host of the tests and images of the tests, driven as Envoy would.

mod acted;
mod any_input;
mod asked;
mod failures;
mod held;
mod listed;
mod paths;
mod shadow;

use reputation::manifest::{Askable, FORM, ImageRef, Manifest, SnapshotVersion};
use reputation::set::{Basis, Class, Decided, Image, ImageBuilder, Kind, Meta};
use reputation::wire::Wire;
use reputation::{Action, Band, DecisionId, Rank, RefusalReport, Shadow, UnixSeconds, Verdict};

use super::*;
use crate::allocations;
use crate::host::{AnswerSize, CallError, Property, Token};
use crate::logged::Logged;
use crate::metrics::Metrics;
use crate::snapshot::Incoming;
use crate::testing::{MockHost, clean_verdict, config, deny_verdict};
use crate::turn::{Random, Uptime};

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
const ENFORCE: &str = r#"{"mode":"enforce"}"#;
const HOLD: &str = r#"{"mode":"enforce","unknown":"hold","hold_ms":20}"#;

/// A plugin and its host, driven as Envoy would.
struct Stage {
    host: MockHost,
    metrics: Metrics,
    random: Random,
    logged: Logged,
    plugin: Plugin,
    now: UnixSeconds,
}

/// An entry of the snapshot: prefix, rank, what is done, and how long it holds.
type Entry = (&'static str, Rank, Basis, Option<u32>);

const BAN: Basis = Basis::Action(Action::Deny);
const LISTED: Basis = Basis::Band(Band::Malicious);
const DOUBTED: Basis = Basis::Band(Band::Suspicious);

impl Stage {
    fn new(json: &str) -> Self {
        let host = MockHost::default();
        host.micros.set(u64::from(NOW.0) * 1_000_000);
        let (mut metrics, mut random) = (Metrics::new(), Random::new(1));
        let mut turn = Turn {
            host: &host,
            metrics: &mut metrics,
            random: &mut random,
            logged: &mut Logged::default(),
            now: NOW,
            uptime: Uptime(NOW.0),
        };
        let plugin = Plugin::new(&mut turn, config(json), host.micros.get());
        Self {
            host,
            metrics,
            random,
            logged: Logged::default(),
            plugin,
            now: NOW,
        }
    }

    fn turn<R>(&mut self, work: impl FnOnce(&mut Turn<'_, MockHost>, &mut Plugin) -> R) -> R {
        let mut turn = Turn {
            host: &self.host,
            metrics: &mut self.metrics,
            random: &mut self.random,
            logged: &mut self.logged,
            now: self.now,
            uptime: Uptime(self.now.0),
        };
        work(&mut turn, &mut self.plugin)
    }

    fn load(&mut self, base: &[Entry], overlay: &[Entry], generation: u32, lookups: bool) {
        let askable = match lookups {
            true => Askable::Sources,
            false => Askable::Nobody,
        };
        self.load_with(base, overlay, generation, askable);
    }

    fn load_with(&mut self, base: &[Entry], overlay: &[Entry], generation: u32, askable: Askable) {
        let base = image(Kind::Base, base);
        let base_ref = ImageRef::of(&base);
        let kind = Kind::Overlay {
            base: base_ref.digest,
        };
        let overlay = image(kind, overlay);
        let manifest = Manifest {
            wire: FORM,
            version: VERSION,
            generation,
            base: base_ref,
            overlay: ImageRef::of(&overlay),
            built_at: NOW,
            valid_until: NOW.plus(100),
            lookups: askable == Askable::Sources,
            shadow_lookups: askable != Askable::Nobody,
            modes: Vec::new(),
        };
        let incoming = Incoming {
            base: Some(Image::open(base).unwrap()),
            overlay: Some(Image::open(overlay).unwrap()),
        };
        self.plugin.snapshot.activate(&manifest, incoming);
    }

    fn request(&mut self, address: &str) -> Flow {
        self.request_of(ContextId(1), address)
    }

    fn request_of(&mut self, context: ContextId, address: &str) -> Flow {
        let peer = match address.contains(':') {
            true => format!("[{address}]:0"),
            false => format!("{address}:0"),
        };
        self.host
            .set_property(Property::SourceAddress, peer.as_bytes());
        self.host.enter(context).unwrap();
        self.turn(|turn, plugin| on_request(turn, plugin, context))
    }

    fn answer(&mut self, token: Token, status: &str, body: &[u8]) {
        self.host.set_answer(status, body);
        let headers = if status.is_empty() { 0 } else { 3 };
        let size = AnswerSize {
            headers,
            body: body.len(),
        };
        let now = self.host.micros.get();
        self.turn(|turn, plugin| plugin.on_answer(turn, token, size, now));
    }

    fn answer_with(&mut self, token: Token, verdict: &Verdict) {
        self.answer(token, "200", &serde_json::to_vec(verdict).unwrap());
    }

    /// The token of the one look-up made since.
    fn asked(&self) -> Token {
        let calls = self.host.calls();
        assert_eq!(calls.len(), 1, "{calls:?}");
        calls[0].token
    }

    /// What the sidecar is told of refusals on the next tick.
    fn told(&mut self) -> RefusalReport {
        let now = self.host.micros.get();
        self.turn(|turn, plugin| plugin.on_tick(turn, now));
        let calls = self.host.calls();
        let report = calls.iter().find(|call| call.path == "/v1/refusals");
        RefusalReport::parse(report.unwrap().body.as_ref().unwrap()).unwrap()
    }

    fn status(&self) -> u16 {
        self.host.sent().pop().unwrap().status
    }

    fn count(&mut self, name: &str) -> u64 {
        self.metrics.flush(&self.host);
        self.host.metric(name)
    }
}

const VERSION: SnapshotVersion = SnapshotVersion {
    epoch: 1,
    version: 1,
};

fn image(kind: Kind, entries: &[Entry]) -> Vec<u8> {
    let meta = Meta {
        kind,
        version: VERSION,
        built_at: NOW,
        valid_until: NOW.plus(100),
    };
    let mut builder = ImageBuilder::new(meta);
    for (cidr, rank, basis, lives) in entries {
        let (band, score) = match basis {
            Basis::Action(Action::Allow) => (Band::Clean, 0),
            Basis::Band(Band::Suspicious) => (Band::Suspicious, 56),
            _ => (Band::Malicious, 100),
        };
        let class = builder.class(&Class {
            rank: *rank,
            basis: *basis,
            band,
            score,
            reason: "the list".to_owned(),
        });
        let decided = Decided {
            id: Some(DecisionId(7)),
            created: NOW,
            expires: lives.map(|seconds| NOW.plus(seconds)),
        };
        builder.decide(cidr.parse().unwrap(), class, decided);
    }
    builder.build().unwrap()
}
