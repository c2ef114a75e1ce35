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

#[test]
fn a_snapshot_is_on_trial_until_it_has_decided_a_request() {
    let mut stage = Stage::new(r#"{"mode":"enforce","allow":["192.0.2.9"]}"#);
    stage.load(
        &[("192.0.2.1", Rank::HardSource, LISTED, None)],
        &[],
        1,
        false,
    );
    stage.request("192.0.2.9");
    assert!(
        stage.plugin.snapshot.on_trial().is_some(),
        "not asked for a client that is allowed"
    );
    stage.request("192.0.2.1");
    assert_eq!(stage.host.sent().len(), 1);
    assert_eq!(stage.plugin.snapshot.on_trial(), None);
}

#[test]
fn a_listed_address_is_refused_and_its_neighbour_passes() {
    let mut stage = Stage::new(ENFORCE);
    stage.load(
        &[("192.0.2.1", Rank::HardSource, LISTED, None)],
        &[],
        1,
        false,
    );
    assert_eq!(stage.request("192.0.2.1"), Flow::Pause);
    assert_eq!(stage.status(), 403);
    assert_eq!(stage.request("192.0.2.2"), Flow::Continue);
    assert!(stage.host.sent().is_empty());
    assert!(stage.host.header("x-portcullis-action").is_none());
    let denied = "portcullis_verdicts_total.action.deny.source.snapshot.mode.enforce";
    assert_eq!(stage.count(denied), 1);
    let clean = "portcullis_verdicts_total.action.allow.source.unlisted.mode.enforce";
    assert_eq!(stage.count(clean), 1);
}

#[test]
fn who_is_hindered_is_told_to_the_sidecar_and_who_passes_is_not() {
    let base = [
        ("192.0.2.1", Rank::HardSource, LISTED, None),
        (
            "192.0.2.2",
            Rank::OperatorBan,
            Basis::Action(Action::Throttle),
            None,
        ),
        ("192.0.2.3", Rank::Score, DOUBTED, None),
    ];
    for (mode, would) in [("enforce", Mode::Enforce), ("monitor", Mode::Monitor)] {
        let mut stage = Stage::new(&format!(r#"{{"mode":"{mode}","allow":["192.0.2.9"]}}"#));
        stage.load(&base, &[], 1, false);
        for address in [
            "192.0.2.1",
            "192.0.2.2",
            "192.0.2.3",
            "192.0.2.9",
            "8.8.8.8",
        ] {
            stage.request(address);
        }
        stage
            .host
            .put_header(":path", b"/.well-known/acme-challenge/x");
        stage.request("192.0.2.1");
        let told = stage.told();
        let clients = told.clients.iter();
        let clients: Vec<_> = clients
            .map(|it| (it.client.to_string(), it.action, it.mode, it.count))
            .collect();
        let expected = [
            ("192.0.2.1".to_owned(), Action::Deny, would, 1),
            ("192.0.2.2".to_owned(), Action::Throttle, would, 1),
        ];
        assert_eq!(clients, expected);
        assert_eq!(
            (told.clients[0].reason.as_str(), told.clients[0].decision),
            ("the list", DecisionId(7))
        );
    }
}

#[test]
fn a_known_address_costs_one_host_call_that_returns_bytes_and_no_clock() {
    let mut stage = Stage::new(ENFORCE);
    stage.load(&[], &[], 1, false);
    stage.request("8.8.8.8");
    assert_eq!(stage.host.property_reads(), 1);
    assert!(stage.host.calls().is_empty());
}

#[test]
fn a_known_clean_client_costs_no_allocation_and_one_host_call() {
    let mut unlisted = Stage::new(ENFORCE);
    unlisted.load(&[], &[], 1, false);
    let mut cached = Stage::new(ENFORCE);
    cached.load(&[], &[], 1, true);
    cached.request("8.8.8.8");
    let token = cached.asked();
    cached.answer_with(token, &clean_verdict("8.8.8.8/32"));
    let mut allowed = Stage::new(r#"{"mode":"enforce","allow":["8.0.0.0/8"]}"#);
    allowed.host.put_header(":path", b"/");
    let mut routed = Stage::new(r#"{"mode":"enforce","routes":{"shop*":{"mode":"monitor"}}}"#);
    routed.load(&[], &[], 1, false);
    routed.host.set_property(Property::RouteName, b"shop-eu");
    for (stage, host_calls, what) in [
        (&mut unlisted, 1, "unlisted"),
        (&mut cached, 1, "cached"),
        (&mut allowed, 1, "allowed"),
        (&mut routed, 2, "with routes"),
    ] {
        stage.request("8.8.8.8");
        let before = stage.host.property_reads();
        let taken = allocations::during(|| {
            let flow = stage.turn(|turn, plugin| on_request(turn, plugin, ContextId(1)));
            assert_eq!(flow, Flow::Continue);
        });
        assert_eq!(taken, 0, "{what}");
        assert_eq!(stage.host.property_reads() - before, host_calls, "{what}");
        assert!(stage.host.calls().is_empty(), "{what}");
    }
}

#[test]
fn the_local_allow_list_wins_over_everything() {
    let mut stage = Stage::new(r#"{"mode":"enforce","allow":["192.0.2.0/24"]}"#);
    stage.load(
        &[],
        &[("192.0.2.1", Rank::OperatorBan, BAN, None)],
        1,
        false,
    );
    assert_eq!(stage.request("192.0.2.1"), Flow::Continue);
    let local = "portcullis_verdicts_total.action.allow.source.local.mode.enforce";
    assert_eq!(stage.count(local), 1);
}

#[test]
fn overlay_and_base_are_both_read_and_the_higher_rank_wins() {
    let allow = Basis::Action(Action::Allow);
    let mut stage = Stage::new(ENFORCE);
    let base = [("192.0.2.1/32", Rank::OperatorAllow, allow, None)];
    stage.load(
        &base,
        &[("192.0.0.0/16", Rank::SourceDecision, BAN, None)],
        1,
        false,
    );
    assert_eq!(stage.request("192.0.2.1"), Flow::Continue);
    assert_eq!(stage.request("192.0.2.2"), Flow::Pause);
}

#[test]
fn a_ban_expires_without_anybodys_help() {
    let mut stage = Stage::new(ENFORCE);
    stage.load(
        &[],
        &[("192.0.2.1", Rank::OperatorBan, BAN, Some(10))],
        1,
        false,
    );
    assert_eq!(stage.request("192.0.2.1"), Flow::Pause);
    stage.now = NOW.plus(10);
    assert_eq!(stage.request("192.0.2.1"), Flow::Continue);
}

#[test]
fn bands_follow_the_configured_actions_and_explicit_words_do_not() {
    let lenient = r#"{"mode":"enforce","actions":{"malicious":"tag"}}"#;
    let mut stage = Stage::new(lenient);
    let base = [
        ("192.0.2.1", Rank::HardSource, LISTED, None),
        ("192.0.2.2", Rank::OperatorBan, BAN, None),
    ];
    stage.load(&base, &[], 1, false);
    assert_eq!(stage.request("192.0.2.1"), Flow::Continue);
    assert_eq!(
        stage.host.header("x-portcullis-action").as_deref(),
        Some("tag")
    );
    assert_eq!(
        stage.host.header("x-portcullis-band").as_deref(),
        Some("malicious")
    );
    assert_eq!(
        stage.host.header("x-portcullis-score").as_deref(),
        Some("100")
    );
    assert_eq!(
        stage.host.header("x-portcullis-reason").as_deref(),
        Some("the list")
    );
    assert_eq!(stage.request("192.0.2.2"), Flow::Pause);
}

#[test]
fn throttling_is_marked_in_enforce_only_and_headers_can_be_switched_off() {
    let throttle = [(
        "192.0.2.1",
        Rank::OperatorBan,
        Basis::Action(Action::Throttle),
        None,
    )];
    let marked = |json: &str| {
        let mut stage = Stage::new(json);
        stage.load(&throttle, &[], 1, false);
        assert_eq!(stage.request("192.0.2.1"), Flow::Continue);
        let header = |name: &str| stage.host.header(name).is_some();
        (
            header("x-portcullis-throttle"),
            header("x-portcullis-action"),
        )
    };
    assert_eq!(marked(ENFORCE), (true, true));
    assert_eq!(marked(r#"{"mode":"monitor"}"#), (false, false));
    let none = r#"{"mode":"enforce","upstream_headers":"none"}"#;
    assert_eq!(marked(none), (true, false));
}

#[test]
fn monitor_counts_and_tells_the_log_and_passes() {
    let mut stage = Stage::new("{}");
    stage.load(
        &[("192.0.2.1", Rank::OperatorBan, BAN, None)],
        &[],
        1,
        false,
    );
    assert_eq!(stage.request("192.0.2.1"), Flow::Continue);
    assert!(stage.host.sent().is_empty());
    let state = |name: &str| stage.host.state(name).unwrap();
    assert_eq!(state("portcullis_verdict"), "would_deny");
    assert_eq!(state("portcullis_reason"), "the list");
    assert_eq!(state("portcullis_score"), "100");
    assert_eq!(state("portcullis_decision"), "0000000000000007");
    assert_eq!(state("portcullis_source"), "snapshot");
    assert_eq!(state("portcullis_client"), "192.0.2.1");
    let counted = "portcullis_verdicts_total.action.deny.source.snapshot.mode.monitor";
    assert_eq!(stage.count(counted), 1);
}

#[test]
fn a_flood_of_refusals_is_logged_in_part_and_counted_whole() {
    let mut stage = Stage::new(r#"{"mode":"enforce","limits":{"logged":2}}"#);
    let banned = [("192.0.2.1", Rank::OperatorBan, BAN, None)];
    stage.load(&banned, &[], 1, false);
    let refused = |stage: &mut Stage| {
        stage.host.clear_headers();
        assert_eq!(stage.request("192.0.2.1"), Flow::Pause);
        stage.host.header("x-portcullis-unlogged").is_some()
    };
    let unlogged: Vec<_> = (0..5).map(|_| refused(&mut stage)).collect();
    assert_eq!(unlogged, [false, false, true, true, true]);
    assert_eq!(stage.host.state("portcullis_left_out"), None);
    stage.now = stage.now.plus(1);
    assert!(!refused(&mut stage));
    let left_out = stage.host.state("portcullis_left_out");
    assert_eq!(left_out.as_deref(), Some("3"));
    assert_eq!(stage.host.sent().len(), 6);
    let counted = "portcullis_verdicts_total.action.deny.source.snapshot.mode.enforce";
    assert_eq!(stage.count(counted), 6);
}

#[test]
fn a_flood_that_passes_is_logged_in_part_too_and_acted_on_whole() {
    for (mode, action, counted) in [
        ("monitor", "deny", "deny.source.snapshot.mode.monitor"),
        (
            "enforce",
            "throttle",
            "throttle.source.snapshot.mode.enforce",
        ),
        ("enforce", "tag", "tag.source.snapshot.mode.enforce"),
    ] {
        let mut stage = Stage::new(&format!(
            r#"{{"mode":"{mode}","limits":{{"logged":2}},"actions":{{"malicious":"{action}"}}}}"#
        ));
        let listed = [("192.0.2.1", Rank::HardSource, LISTED, None)];
        stage.load(&listed, &[], 1, false);
        let passes = |stage: &mut Stage| {
            stage.host.clear_headers();
            assert_eq!(stage.request("192.0.2.1"), Flow::Continue);
            let throttled = stage.host.header("x-portcullis-throttle").is_some();
            assert_eq!(throttled, action == "throttle");
            stage.host.header("x-portcullis-unlogged").is_some()
        };
        let unlogged: Vec<_> = (0..5).map(|_| passes(&mut stage)).collect();
        assert_eq!(unlogged, [false, false, true, true, true], "{action}");
        stage.now = stage.now.plus(1);
        assert!(!passes(&mut stage));
        let left_out = stage.host.state("portcullis_left_out");
        assert_eq!(left_out.as_deref(), Some("3"));
        let counted = format!("portcullis_verdicts_total.action.{counted}");
        assert_eq!(stage.count(&counted), 6);
    }
}

#[test]
fn who_is_merely_tagged_is_not_named_in_the_log() {
    let mut stage = Stage::new(r#"{"mode":"enforce","actions":{"malicious":"tag"}}"#);
    let listed = [("192.0.2.1", Rank::HardSource, LISTED, None)];
    stage.load(&listed, &[], 1, false);
    assert_eq!(stage.request("192.0.2.1"), Flow::Continue);
    assert_eq!(
        stage.host.state("portcullis_verdict").as_deref(),
        Some("tag")
    );
    assert_eq!(stage.host.state("portcullis_client"), None);
}

#[test]
fn off_does_nothing_at_all() {
    let mut stage = Stage::new(r#"{"mode":"off"}"#);
    stage.load(&[("192.0.2.1", Rank::OperatorBan, BAN, None)], &[], 1, true);
    assert_eq!(stage.request("192.0.2.1"), Flow::Continue);
    assert_eq!(stage.request("8.8.8.8"), Flow::Continue);
    assert!(stage.host.calls().is_empty());
    assert!(stage.host.state("portcullis_verdict").is_none());
    assert_eq!(
        stage.count("portcullis_client_addresses_total.kind.public"),
        0
    );
}

#[test]
fn a_look_up_belongs_to_the_trace_of_its_request_if_that_is_one() {
    let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let forged = good.replace('a', "\n");
    for (given, sent) in [(good, Some(good)), (forged.as_str(), None), ("00", None)] {
        let mut stage = Stage::new(ENFORCE);
        stage.host.put_header("traceparent", given.as_bytes());
        stage.request("8.8.8.8");
        let calls = stage.host.calls();
        assert_eq!(calls[0].traceparent.as_deref(), sent, "{given:?}");
    }
}

#[test]
fn an_unknown_address_is_asked_about_once_and_known_the_next_time() {
    let mut stage = Stage::new(ENFORCE);
    stage.host.put_header("x-request-id", b"r-1");
    assert_eq!(stage.request("8.8.8.8"), Flow::Continue);
    assert_eq!(stage.request("8.8.8.8"), Flow::Continue);
    let calls = stage.host.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].cluster, "portcullis");
    assert_eq!(calls[0].path, "/v1/verdict/8.8.8.8?wait_ms=150&prefix=64");
    assert_eq!(calls[0].request_id.as_deref(), Some("r-1"));
    assert_eq!(calls[0].traceparent, None);
    stage.answer_with(calls[0].token, &deny_verdict("8.8.8.8/32"));
    assert_eq!(stage.request("8.8.8.8"), Flow::Pause);
    assert!(stage.host.calls().is_empty());
    assert_eq!(
        stage.host.state("portcullis_source").as_deref(),
        Some("cache")
    );
    assert_eq!(stage.count("portcullis_lookups_total.outcome.ok"), 1);
}

/// Where lists alone make 192.0.2.1 suspicious, and the sidecar can be asked.
fn doubting(json: &str) -> Stage {
    let mut stage = Stage::new(json);
    stage.load(&[("192.0.2.1", Rank::Score, DOUBTED, None)], &[], 1, true);
    stage
}

#[test]
fn what_lists_alone_make_suspicious_is_tagged_at_once_and_refused_when_all_words_say_so() {
    let mut stage = doubting(HOLD);
    assert_eq!(stage.request("192.0.2.1"), Flow::Continue, "never held");
    let score = |stage: &Stage| stage.host.header("x-portcullis-score");
    assert_eq!(score(&stage).as_deref(), Some("56"));
    let token = stage.asked();
    assert_eq!(stage.request("192.0.2.1"), Flow::Continue);
    assert!(stage.host.calls().is_empty(), "asked about once");
    stage.answer_with(token, &deny_verdict("192.0.2.1/32"));
    assert_eq!(stage.request("192.0.2.1"), Flow::Pause);
    assert_eq!(stage.status(), 403);
    let counted = "portcullis_verdicts_total.action.deny.source.cache.mode.enforce";
    assert_eq!(stage.count(counted), 1);
}

#[test]
fn who_is_vouched_for_passes_although_lists_alone_make_him_suspicious() {
    let mut stage = doubting(ENFORCE);
    stage.request("192.0.2.1");
    let token = stage.asked();
    let vouched = Verdict {
        score: 20,
        rank: Some(Rank::Score),
        ..clean_verdict("192.0.2.1/32")
    };
    stage.answer_with(token, &vouched);
    stage.host.clear_headers();
    assert_eq!(stage.request("192.0.2.1"), Flow::Continue);
    assert_eq!(stage.host.header("x-portcullis-action"), None);
}

#[test]
fn a_clean_word_of_before_the_list_does_not_outweigh_it_and_is_not_asked_for_again() {
    let mut stage = Stage::new(ENFORCE);
    stage.load(&[], &[], 1, true);
    stage.request("192.0.2.1");
    let token = stage.asked();
    stage.answer_with(token, &clean_verdict("192.0.2.1/32"));
    stage.load(&[("192.0.2.1", Rank::Score, DOUBTED, None)], &[], 1, true);
    assert_eq!(stage.request("192.0.2.1"), Flow::Continue);
    let action = stage.host.header("x-portcullis-action");
    assert_eq!(action.as_deref(), Some("tag"));
    assert!(stage.host.calls().is_empty());
}

#[test]
fn the_lists_word_stands_when_the_sidecar_cannot_be_asked() {
    let closed = r#"{"mode":"enforce","failure":"closed","unknown":"hold"}"#;
    let mut stage = doubting(closed);
    let tagged = |stage: &mut Stage| {
        stage.host.clear_headers();
        assert_eq!(stage.request("192.0.2.1"), Flow::Continue);
        assert!(stage.host.sent().is_empty());
        let action = stage.host.header("x-portcullis-action");
        assert_eq!(action.as_deref(), Some("tag"));
    };
    tagged(&mut stage);
    let token = stage.asked();
    stage.answer(token, "", b"");
    tagged(&mut stage);
    assert!(stage.host.calls().is_empty(), "known as failed");
    stage.host.call_error.set(Some(CallError::Cluster));
    for _ in 0..8 {
        stage.now = stage.now.plus(3);
        tagged(&mut stage);
    }
    stage.host.call_error.set(None);
    tagged(&mut stage);
    assert!(stage.host.calls().is_empty(), "the breaker is open");
    for cause in ["unavailable", "breaker"] {
        let failed = format!("portcullis_failures_total.policy.closed.cause.{cause}");
        assert_eq!(stage.count(&failed), 0);
    }
}

#[test]
fn nothing_is_asked_about_who_is_malicious_by_lists_alone_or_where_nobody_can_be_asked() {
    let mut stage = Stage::new(ENFORCE);
    let listed = [("192.0.2.1", Rank::Score, LISTED, None)];
    stage.load(&listed, &[], 1, true);
    assert_eq!(stage.request("192.0.2.1"), Flow::Pause);
    let doubted = [("192.0.2.1", Rank::Score, DOUBTED, None)];
    stage.load(&doubted, &[], 1, false);
    assert_eq!(stage.request("192.0.2.1"), Flow::Continue);
    assert!(stage.host.calls().is_empty());
}

#[test]
fn where_only_the_shadow_is_asked_a_dead_sidecar_hinders_and_delays_nobody() {
    let strict = r#"{"mode":"enforce","unknown":"hold","failure":"closed"}"#;
    let mut stage = Stage::new(strict);
    stage.load_with(&[], &[], 1, Askable::Shadow);
    for n in 1..=5 {
        let address = format!("8.8.8.{n}");
        assert_eq!(stage.request(&address), Flow::Continue, "nothing is held");
        let token = stage.asked();
        stage.answer(token, "", b"");
        assert_eq!(stage.request(&address), Flow::Continue, "known as failed");
        assert!(stage.host.calls().is_empty());
    }
    assert_eq!(stage.request("8.8.8.6"), Flow::Continue, "breaker open");
    assert!(stage.host.calls().is_empty());
    stage.host.micros.set(stage.host.micros.get() + 1_600_000);
    stage.host.call_error.set(Some(CallError::Cluster));
    assert_eq!(stage.request("8.8.8.7"), Flow::Continue, "no call at all");
    assert!(stage.host.sent().is_empty() && stage.host.resumed().is_empty());
    let unlisted = "portcullis_verdicts_total.action.allow.source.unlisted.mode.enforce";
    assert_eq!(stage.count(unlisted), 12);
    for cause in ["unavailable", "breaker"] {
        let failed = format!("portcullis_failures_total.policy.closed.cause.{cause}");
        assert_eq!(stage.count(&failed), 0);
    }
    // The same under a snapshot by which somebody has a say.
    stage.load_with(&[], &[], 2, Askable::Sources);
    assert_eq!(stage.request("8.8.8.8"), Flow::Pause);
    assert_eq!(stage.status(), 503);
}

#[test]
fn where_only_the_shadow_is_asked_its_answer_is_kept_and_counted() {
    let mut stage = Stage::new(HOLD);
    stage.load_with(&[], &[], 1, Askable::Shadow);
    assert_eq!(stage.request("8.8.8.8"), Flow::Continue);
    let token = stage.asked();
    let shadow = Some(Shadow {
        action: Action::Deny,
        band: Band::Malicious,
        reason: "new".to_owned(),
    });
    let clean = clean_verdict("8.8.8.8/32");
    stage.answer_with(token, &Verdict { shadow, ..clean });
    for _ in 0..3 {
        assert_eq!(stage.request("8.8.8.8"), Flow::Continue);
    }
    assert!(stage.host.calls().is_empty());
    let would = "portcullis_verdicts_total.action.deny.source.cache.mode.shadow";
    assert_eq!(stage.count(would), 3);
}

#[test]
fn what_a_source_in_shadow_would_do_is_counted_per_request_and_not_done() {
    let shadow = |band: Band| Verdict {
        shadow: Some(Shadow {
            action: band.default_action(),
            band,
            reason: "new".to_owned(),
        }),
        ..clean_verdict("8.8.8.8/32")
    };
    let mut stage = Stage::new(ENFORCE);
    stage.request("8.8.8.8");
    let token = stage.asked();
    stage.answer_with(token, &shadow(Band::Malicious));
    for _ in 0..3 {
        assert_eq!(stage.request("8.8.8.8"), Flow::Continue);
    }
    let counted = |stage: &mut Stage, action: &str, mode: &str| {
        stage.count(&format!(
            "portcullis_verdicts_total.action.{action}.source.cache.mode.{mode}"
        ))
    };
    assert_eq!(counted(&mut stage, "deny", "shadow"), 3);
    assert_eq!(counted(&mut stage, "allow", "enforce"), 3);
    assert_eq!(counted(&mut stage, "deny", "enforce"), 0);
    assert_eq!(stage.host.state("portcullis_verdict"), None);
    // The filter's own `actions` decide what a band leads to, in shadow too.
    let mut stage = Stage::new(r#"{"mode": "enforce", "actions": {"malicious": "throttle"}}"#);
    stage.request("8.8.8.8");
    let token = stage.asked();
    stage.answer_with(token, &shadow(Band::Malicious));
    stage.request("8.8.8.8");
    assert_eq!(counted(&mut stage, "throttle", "shadow"), 1);
}

#[test]
fn a_new_generation_asks_again_and_an_answer_to_the_old_one_is_not_kept() {
    let mut stage = Stage::new(ENFORCE);
    stage.load(&[], &[], 1, true);
    stage.request("8.8.8.8");
    let before = stage.asked();
    stage.load(&[], &[], 2, true);
    stage.answer_with(before, &deny_verdict("8.8.8.8/32"));
    assert_eq!(stage.request("8.8.8.8"), Flow::Continue);
    let token = stage.asked();
    stage.answer_with(token, &clean_verdict("8.8.8.8/32"));
    assert_eq!(stage.request("8.8.8.8"), Flow::Continue);
    assert!(stage.host.calls().is_empty());
}

#[test]
fn held_requests_share_one_lookup_and_all_go_on() {
    let mut stage = Stage::new(HOLD);
    for context in 1..=200 {
        assert_eq!(stage.request_of(ContextId(context), "8.8.8.8"), Flow::Pause);
    }
    let calls = stage.host.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(
        (calls[0].timeout_ms, calls[0].path.contains("wait_ms=16")),
        (22, true)
    );
    stage.host.end_stream(ContextId(7));
    stage.answer_with(calls[0].token, &clean_verdict("8.8.8.8/32"));
    let resumed = stage.host.resumed();
    assert_eq!(resumed.len(), 199, "one client is gone");
    assert!(!resumed.contains(&ContextId(7)));
}

#[test]
fn held_requests_of_a_bad_address_are_refused() {
    let mut stage = Stage::new(HOLD);
    stage.request_of(ContextId(1), "8.8.8.8");
    stage.request_of(ContextId(2), "8.8.8.8");
    let token = stage.asked();
    stage.answer_with(token, &deny_verdict("8.8.8.8/32"));
    let sent = stage.host.sent();
    assert_eq!(
        sent.iter()
            .map(|s| (s.context, s.status))
            .collect::<Vec<_>>(),
        [(Some(ContextId(1)), 403), (Some(ContextId(2)), 403)]
    );
    assert!(
        stage.host.resumed().is_empty(),
        "a refused stream is not touched again"
    );
    let denied = "portcullis_verdicts_total.action.deny.source.lookup.mode.enforce";
    assert_eq!(stage.count(denied), 2);
}

#[test]
fn one_visitor_never_decides_for_his_neighbours() {
    let mut stage = Stage::new(HOLD);
    stage.request_of(ContextId(1), "2001:db8::1");
    stage.request_of(ContextId(2), "2001:db8::2");
    let token = stage.asked();
    stage.answer_with(token, &deny_verdict("2001:db8::1/128"));
    assert_eq!(stage.host.sent().len(), 1);
    assert_eq!(stage.host.resumed(), [ContextId(2)]);
    assert_eq!(stage.request_of(ContextId(3), "2001:db8::1"), Flow::Pause);
    assert_eq!(stage.status(), 403);
    stage.request_of(ContextId(4), "2001:db8::2");
    stage.asked();
}

#[test]
fn every_bad_answer_is_a_failure_with_its_cause() {
    for (status, body, cause) in [
        ("", &b""[..], "unavailable"),
        ("503", b"upstream connect error", "unavailable"),
        ("504", b"upstream request timeout", "timeout"),
        ("404", b"{}", "rubbish"),
        ("200", b"<html>", "rubbish"),
        ("200", b"", "rubbish"),
        ("200", b"\xff\xfe", "rubbish"),
    ] {
        let mut stage = Stage::new(HOLD);
        assert_eq!(stage.request("8.8.8.8"), Flow::Pause);
        let token = stage.asked();
        stage.answer(token, status, body);
        assert_eq!(stage.host.resumed().len(), 1, "{cause}");
        let failed = format!("portcullis_failures_total.policy.open.cause.{cause}");
        assert_eq!(stage.count(&failed), 1, "{status}");
        stage.request("8.8.8.8");
        assert!(
            stage.host.calls().is_empty(),
            "not asked again at once: {cause}"
        );
    }
}

#[test]
fn a_sidecar_too_far_away_is_refused_by_name_whatever_it_says() {
    for (wire, status, expected) in [
        (None, "200", "ok"),
        (Some("0"), "200", "ok"),
        (Some(Wire::OURS_TEXT), "200", "ok"),
        (Some("2"), "200", "wire"),
        (Some("one"), "200", "wire"),
        (Some("2"), "400", "wire"),
        (None, "503", "unavailable"),
    ] {
        let mut stage = Stage::new(ENFORCE);
        *stage.host.wire.borrow_mut() = wire.map(|wire| wire.as_bytes().to_vec());
        stage.request("8.8.8.8");
        let token = stage.asked();
        let verdict = serde_json::to_vec(&deny_verdict("8.8.8.8/32")).unwrap();
        stage.answer(token, status, &verdict);
        let outcome = format!("portcullis_lookups_total.outcome.{expected}");
        assert_eq!(stage.count(&outcome), 1, "{wire:?} {status}");
        stage.request("8.8.8.8");
        let refused = stage.host.sent().iter().any(|sent| sent.status == 403);
        assert_eq!(refused, expected == "ok", "{wire:?} {status}");
    }
}

#[test]
fn an_answer_about_somebody_else_is_rubbish() {
    let mut stage = Stage::new(HOLD);
    stage.request("8.8.8.8");
    let token = stage.asked();
    stage.answer_with(token, &deny_verdict("9.9.9.9/32"));
    assert_eq!(stage.host.resumed().len(), 1);
    assert_eq!(stage.count("portcullis_lookups_total.outcome.rubbish"), 1);
}

#[test]
fn closed_answers_503_in_enforce_and_never_as_a_denial() {
    let mut stage = Stage::new(r#"{"mode":"enforce","failure":"closed","unknown":"hold"}"#);
    stage.request("8.8.8.8");
    let token = stage.asked();
    stage.answer(token, "504", b"");
    let sent = stage.host.sent().pop().unwrap();
    assert_eq!(
        (sent.status, sent.header("x-portcullis-decision")),
        (503, None)
    );
    assert_eq!(
        stage.count("portcullis_failures_total.policy.closed.cause.timeout"),
        1
    );
    assert_eq!(
        stage.host.state("portcullis_verdict").as_deref(),
        Some("unavailable")
    );
    let mut stage = Stage::new(r#"{"mode":"monitor","failure":"closed","unknown":"hold"}"#);
    stage.request("8.8.8.8");
    let token = stage.asked();
    stage.answer(token, "504", b"");
    assert_eq!(stage.host.resumed().len(), 1);
}

#[test]
fn a_client_without_an_address_follows_failure_under_its_own_cause() {
    for (failure, expected) in [("open", Flow::Continue), ("closed", Flow::Pause)] {
        let mut stage = Stage::new(&format!(r#"{{"mode":"enforce","failure":"{failure}"}}"#));
        stage
            .host
            .set_property(Property::SourceAddress, b"/run/edge.sock");
        let flow = stage.turn(|turn, plugin| on_request(turn, plugin, ContextId(1)));
        assert_eq!(flow, expected);
        let name = format!("portcullis_failures_total.policy.{failure}.cause.address");
        assert_eq!(stage.count(&name), 1);
        assert_eq!(
            stage.count("portcullis_client_addresses_total.kind.missing"),
            1
        );
    }
}

#[test]
fn after_five_failures_nothing_is_asked_and_nothing_held() {
    let mut stage = Stage::new(HOLD);
    for n in 1..=5 {
        assert_eq!(stage.request(&format!("8.8.8.{n}")), Flow::Pause);
        let token = stage.asked();
        stage.answer(token, "504", b"");
    }
    assert_eq!(stage.request("8.8.8.6"), Flow::Continue);
    assert!(stage.host.calls().is_empty());
    assert_eq!(
        stage.count("portcullis_failures_total.policy.open.cause.breaker"),
        1
    );
    stage.host.micros.set(stage.host.micros.get() + 1_600_000);
    assert_eq!(stage.request("8.8.8.7"), Flow::Pause);
    assert_eq!(stage.request("8.8.8.8"), Flow::Continue, "one probe");
    let token = stage.asked();
    stage.answer_with(token, &clean_verdict("8.8.8.7/32"));
    assert_eq!(stage.request("8.8.8.9"), Flow::Pause);
}

#[test]
fn a_cluster_that_cannot_be_called_is_a_failure_at_once() {
    let mut stage = Stage::new(HOLD);
    stage.host.call_error.set(Some(CallError::Cluster));
    assert_eq!(stage.request("8.8.8.8"), Flow::Continue);
    stage.host.call_error.set(None);
    assert_eq!(stage.request("8.8.8.8"), Flow::Continue);
    assert!(stage.host.calls().is_empty(), "remembered for a moment");
    assert_eq!(
        stage.count("portcullis_failures_total.policy.open.cause.unavailable"),
        2
    );
}

#[test]
fn beyond_the_limits_requests_pass_and_are_counted() {
    let limits =
        r#"{"mode":"enforce","unknown":"hold","failure":"closed","limits":{"lookups":2,"held":1}}"#;
    let mut stage = Stage::new(limits);
    assert_eq!(stage.request_of(ContextId(1), "8.8.8.1"), Flow::Pause);
    assert_eq!(
        stage.request_of(ContextId(2), "8.8.8.1"),
        Flow::Continue,
        "one may be held"
    );
    assert_eq!(stage.request_of(ContextId(3), "8.8.8.2"), Flow::Continue);
    assert_eq!(stage.request_of(ContextId(4), "8.8.8.3"), Flow::Continue);
    assert_eq!(stage.host.calls().len(), 2);
    assert_eq!(stage.count("portcullis_lookups_total.outcome.unheld"), 3);
    assert_eq!(stage.count("portcullis_lookups_total.outcome.limited"), 1);
    assert!(stage.host.sent().is_empty());
}

#[test]
fn a_hold_does_not_wait_for_a_slower_lookup() {
    let routed = r#"{"mode":"enforce","routes":{"hold":{"unknown":"hold","hold_ms":10}}}"#;
    let mut stage = Stage::new(routed);
    stage.host.set_property(Property::RouteName, b"pass");
    assert_eq!(stage.request_of(ContextId(1), "8.8.8.8"), Flow::Continue);
    stage.host.set_property(Property::RouteName, b"hold");
    assert_eq!(stage.request_of(ContextId(2), "8.8.8.8"), Flow::Pause);
    let calls = stage.host.calls();
    let timeouts: Vec<_> = calls.iter().map(|call| call.timeout_ms).collect();
    assert_eq!(timeouts, [250, 12]);
    stage.answer_with(calls[0].token, &clean_verdict("8.8.8.8/32"));
    assert_eq!(stage.host.resumed(), [ContextId(2)], "any answer is good");
    stage.answer_with(calls[1].token, &clean_verdict("8.8.8.8/32"));
    assert!(stage.host.resumed().is_empty());
}

#[test]
fn a_lookup_that_was_lost_with_its_root_releases_who_waits() {
    let mut stage = Stage::new(HOLD);
    assert_eq!(stage.request("8.8.8.8"), Flow::Pause);
    let later = stage.host.micros.get() + 2_000_000;
    stage.turn(|turn, plugin| plugin.on_tick(turn, later));
    assert_eq!(stage.host.resumed(), [ContextId(1)]);
}

#[test]
fn forged_headers_are_stripped_before_the_route_is_read() {
    let mut stage = Stage::new(r#"{"mode":"enforce","strip":"filter"}"#);
    stage.load(&[], &[], 1, false);
    for name in ["x-portcullis-band", "x-portcullis-anything", "x-other"] {
        stage.host.put_header(name, b"\xff");
    }
    stage.request("8.8.8.8");
    assert!(stage.host.header("x-portcullis-band").is_none());
    assert!(stage.host.header("x-portcullis-anything").is_none());
    assert!(stage.host.header("x-other").is_some());
}

const ACME: &[u8] = b"/.well-known/acme-challenge/token";

fn exempted(stage: &mut Stage, mode: &str) -> u64 {
    let name = format!("portcullis_verdicts_total.action.allow.source.exempt.mode.{mode}");
    stage.count(&name)
}

#[test]
fn a_banned_client_may_ask_for_an_exempt_path_and_for_nothing_else() {
    let mut stage = Stage::new(ENFORCE);
    stage.load(
        &[("8.8.8.8/32", Rank::OperatorBan, BAN, None)],
        &[],
        1,
        false,
    );
    stage.host.put_header(":path", ACME);
    assert_eq!(stage.request("8.8.8.8"), Flow::Continue);
    assert_eq!(stage.host.state("portcullis_verdict"), None);
    assert_eq!(exempted(&mut stage, "enforce"), 1);
    for path in ["/", "/.well-known/acme-challenge/../admin"] {
        stage.host.put_header(":path", path.as_bytes());
        assert_eq!(stage.request("8.8.8.8"), Flow::Pause, "{path}");
    }
    assert_eq!(exempted(&mut stage, "enforce"), 1);
}

#[test]
fn nobody_is_throttled_or_refused_or_held_or_counted_as_such_on_an_exempt_path() {
    let throttle = r#"{"mode":"enforce","actions":{"malicious":"throttle"}}"#;
    let monitor = r#"{"mode":"monitor"}"#;
    for (json, mode) in [(throttle, "enforce"), (monitor, "monitor")] {
        let mut stage = Stage::new(json);
        stage.load(
            &[("8.8.8.8/32", Rank::HardSource, LISTED, None)],
            &[],
            1,
            false,
        );
        stage.host.put_header(":path", ACME);
        assert_eq!(stage.request("8.8.8.8"), Flow::Continue);
        assert!(stage.host.header("x-portcullis-throttle").is_none());
        assert_eq!(exempted(&mut stage, mode), 1, "{json}");
    }
    let mut stage = Stage::new(HOLD);
    stage.load(&[], &[], 1, true);
    stage.host.put_header(":path", ACME);
    assert_eq!(stage.request("8.8.8.8"), Flow::Continue);
    assert!(stage.host.calls().is_empty(), "nobody need be asked");
    let mut stage = Stage::new(ENFORCE);
    stage.load(&[], &[], 1, true);
    stage.host.put_header(":path", ACME);
    assert_eq!(stage.request("8.8.8.8"), Flow::Continue);
    assert_eq!(stage.host.calls().len(), 1, "nothing hinders it");
    assert_eq!(exempted(&mut stage, "enforce"), 0);
    let mut stage = Stage::new(r#"{"mode":"enforce","failure":"closed"}"#);
    stage.host.put_header(":path", ACME);
    stage
        .host
        .set_property(Property::SourceAddress, b"/run/socket");
    let flow = stage.turn(|turn, plugin| on_request(turn, plugin, ContextId(1)));
    assert_eq!((flow, exempted(&mut stage, "enforce")), (Flow::Continue, 1));
}

#[test]
fn a_route_may_exempt_nothing() {
    let json = r#"{"mode":"enforce","routes":{"shop":{"exempt_paths":[]}}}"#;
    let mut stage = Stage::new(json);
    stage.load(
        &[("8.8.8.8/32", Rank::OperatorBan, BAN, None)],
        &[],
        1,
        false,
    );
    stage.host.put_header(":path", ACME);
    stage.host.set_property(Property::RouteName, b"shop");
    assert_eq!(stage.request("8.8.8.8"), Flow::Pause);
    stage.host.set_property(Property::RouteName, b"blog");
    assert_eq!(stage.request("8.8.8.8"), Flow::Continue);
}

#[test]
fn only_local_and_allowed_clients_see_the_readiness_path() {
    let mut stage = Stage::new(r#"{"mode":"off","allow":["198.51.100.0/24"]}"#);
    stage.host.put_header(":path", b"/.portcullis/ready");
    assert_eq!(stage.request("8.8.8.8"), Flow::Continue);
    for probe in ["127.0.0.1", "10.0.0.1", "198.51.100.4"] {
        assert_eq!(stage.request(probe), Flow::Pause, "{probe}");
        assert_eq!(stage.status(), 503);
    }
    stage.load(&[], &[], 1, false);
    assert_eq!(stage.request("::1"), Flow::Pause);
    assert_eq!(stage.status(), 200);
}

proptest::proptest! {
    #[test]
    fn no_answer_and_no_peer_traps(
        status in "[0-9]{0,3}",
        body in proptest::collection::vec(0_u8..=255, 0..200),
        peer in proptest::collection::vec(0_u8..=255, 0..40),
        header in proptest::collection::vec(0_u8..=255, 0..40),
    ) {
        let mut stage = Stage::new(HOLD);
        stage.request("8.8.8.8");
        let token = stage.asked();
        stage.answer(token, &status, &body);
        for name in ["accept", "content-type", ":path", "x-request-id", "upgrade"] {
            stage.host.put_header(name, &header);
        }
        stage.load(&[("0.0.0.0/1", Rank::OperatorBan, BAN, None)], &[], 1, true);
        stage.host.set_property(Property::SourceAddress, &peer);
        stage.turn(|turn, plugin| on_request(turn, plugin, ContextId(2)));
        stage.request("8.8.8.9");
    }

    #[test]
    fn a_verdict_of_any_values_is_acted_on(
        reason in ".{0,100}",
        ttl_s: u32,
        score: u8,
        provisional: bool,
    ) {
        let mut stage = Stage::new(HOLD);
        stage.request("8.8.8.8");
        let token = stage.asked();
        let verdict = Verdict { reason, ttl_s, score, provisional, ..deny_verdict("8.8.8.8/32") };
        stage.answer_with(token, &verdict);
        let ended = stage.host.sent().len() + stage.host.resumed().len();
        proptest::prop_assert_eq!(ended, 1);
    }
}
