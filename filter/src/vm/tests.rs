use super::*;
use crate::host::CallError;
use crate::testing::{Made, MockHost, clean_verdict};

/// A VM and its host.
struct Process {
    host: MockHost,
    vm: Vm,
}

impl Process {
    fn new() -> Self {
        let host = MockHost::default();
        host.micros.set(1_800_000_000_000_000);
        let mut vm = Vm::new(5);
        assert!(vm.on_start(&host));
        Self { host, vm }
    }

    fn configure(&mut self, root: u32, name: &str, json: &str) -> bool {
        self.host
            .set_property(Property::PluginName, name.as_bytes());
        *self.host.configuration.borrow_mut() = json.as_bytes().to_vec();
        self.vm.on_configure(&self.host, ContextId(root))
    }

    fn tick(&mut self, root: u32) -> Vec<Made> {
        self.host.micros.set(self.host.micros.get() + 100_000);
        self.vm.on_tick(&self.host, ContextId(root));
        self.host.calls()
    }

    fn request(&mut self, plugin: &str) -> Vec<Made> {
        self.host
            .set_property(Property::PluginName, plugin.as_bytes());
        self.host
            .set_property(Property::SourceAddress, b"8.8.8.8:1");
        assert_eq!(
            self.vm.on_request(&self.host, ContextId(99)),
            Flow::Continue
        );
        self.host.calls()
    }
}

fn with_cluster(cluster: &str) -> String {
    format!(
        r#"{{"mode":"enforce","sidecar":{{"cluster":"{cluster}","poll_cluster":"{cluster}_poll"}}}}"#
    )
}

#[test]
fn a_faulty_configuration_refuses_the_plugin_and_changes_nothing() {
    let mut process = Process::new();
    assert!(process.configure(1, "a", "{}"));
    assert!(!process.configure(2, "a", r#"{"mode":"maybe"}"#));
    assert!(!process.tick(1).is_empty(), "the old root still drives");
}

#[test]
fn two_plugins_with_different_sidecars_do_not_see_each_others_data() {
    let mut process = Process::new();
    process.configure(1, "a", &with_cluster("one"));
    process.configure(2, "b", &with_cluster("two"));
    assert_eq!(process.tick(1)[0].cluster, "one_poll");
    assert_eq!(process.tick(2)[0].cluster, "two_poll");
    assert_eq!(process.request("a")[0].cluster, "one");
    assert_eq!(process.request("b")[0].cluster, "two");
    assert!(process.request("unknown").is_empty());
    let keys = process.host.shared_keys();
    let of = |cluster: &str| {
        let prefix = format!("portcullis/{cluster}/");
        keys.iter().filter(|key| key.starts_with(&prefix)).count()
    };
    assert!(of("one") > 0 && of("one") == of("two"));
    assert_eq!(of("one") + of("two"), keys.len());
}

#[test]
fn plugins_of_one_name_are_told_apart_by_their_root_id() {
    let mut process = Process::new();
    for (root, id, cluster) in [(1, b"x", "one"), (2, b"y", "two")] {
        process.host.set_property(Property::PluginRootId, id);
        process.configure(root, "same", &with_cluster(cluster));
    }
    process.host.set_property(Property::PluginRootId, b"x");
    assert_eq!(process.request("same")[0].cluster, "one");
    process.host.set_property(Property::PluginRootId, b"y");
    assert_eq!(process.request("same")[0].cluster, "two");
}

#[test]
fn a_new_configuration_takes_over_from_the_old_root() {
    let mut process = Process::new();
    process.configure(1, "a", r#"{"mode":"enforce"}"#);
    assert_eq!(process.request("a").len(), 1);
    process.configure(2, "a", r#"{"mode":"enforce","hold_ms":30}"#);
    assert!(
        process.request("a").is_empty(),
        "the look-up under way is still known"
    );
    assert!(
        process.tick(1).is_empty(),
        "the old root's ticks are ignored"
    );
    assert_eq!(process.tick(2).len(), 1);
    assert_eq!(
        process.host.tick_ms.get(),
        20,
        "the first snapshot is expected"
    );
}

#[test]
fn a_plugin_ticks_at_once_and_looks_at_nothing_while_it_is_configured() {
    let mut process = Process::new();
    process.configure(1, "a", "{}");
    assert_eq!(process.host.tick_ms.get(), 1);
    assert!(process.host.shared_keys().is_empty());
    process.tick(1);
    assert_eq!(process.host.tick_ms.get(), 20);
}

#[test]
fn another_sidecar_starts_anew_and_releases_who_was_held() {
    let mut process = Process::new();
    let hold = r#"{"mode":"enforce","unknown":"hold"}"#;
    process.configure(1, "a", hold);
    process
        .host
        .set_property(Property::SourceAddress, b"8.8.8.8:1");
    process.host.enter(ContextId(7)).unwrap();
    assert_eq!(
        process.vm.on_request(&process.host, ContextId(7)),
        Flow::Pause
    );
    process.host.calls();
    process.configure(2, "a", &with_cluster("other"));
    assert_eq!(process.host.resumed(), [ContextId(7)]);
    assert_eq!(process.request("a")[0].cluster, "other");
}

#[test]
fn when_an_update_is_withdrawn_the_old_configuration_is_in_force_again() {
    let mut process = Process::new();
    process.configure(1, "a", &with_cluster("old"));
    process.configure(2, "a", &with_cluster("new"));
    process.tick(2);
    let mut calls = Vec::new();
    for _ in 0..TICKS_TO_WITHDRAWN {
        calls.extend(process.tick(1));
    }
    assert_eq!(
        calls.first().map(|call| call.cluster.as_str()),
        Some("old_poll")
    );
    assert_eq!(process.request("a")[0].cluster, "old");
}

#[test]
fn a_plugin_whose_roots_are_gone_is_dropped() {
    let mut process = Process::new();
    process.configure(1, "a", &with_cluster("one"));
    process.configure(2, "b", &with_cluster("two"));
    process.tick(2);
    (0..TICKS_TO_GONE).for_each(|_| {
        process.tick(1);
    });
    assert_eq!(process.vm.seats.len(), 1);
    let before = process.host.property_reads();
    process.request("a");
    assert_eq!(
        process.host.property_reads(),
        before + 1,
        "and costs nothing any more"
    );
}

#[test]
fn a_clock_set_back_or_forward_by_a_day_changes_no_time_to_live_and_stops_no_poll() {
    for jump in [-86_400, 86_400] {
        let mut process = Process::new();
        process.configure(1, "a", r#"{"mode":"enforce"}"#);
        process.host.call_error.set(Some(CallError::Unavailable));
        process.tick(1);
        for _ in 0..5 {
            process.request("a");
            process
                .host
                .micros
                .set(process.host.micros.get() + 2_000_000);
            process.tick(1);
        }
        process.host.set_clock.set(jump);
        process.host.call_error.set(None);
        process
            .host
            .micros
            .set(process.host.micros.get() + 6_000_000);
        assert!(!process.tick(1).is_empty(), "{jump}: it polls");
        let asked = process.request("a");
        assert_eq!(asked.len(), 1, "{jump}: the breaker lets a probe through");
        let verdict = serde_json::to_vec(&clean_verdict("8.8.8.8/32")).unwrap();
        process.host.set_answer("200", &verdict);
        let size = AnswerSize {
            headers: 1,
            body: verdict.len(),
        };
        process.vm.on_answer(&process.host, asked[0].token, size);
        process.host.set_clock.set(-jump);
        process.tick(1);
        assert!(process.request("a").is_empty(), "{jump}: it is still known");
        let ttl = 601_000_000;
        process.host.micros.set(process.host.micros.get() + ttl);
        process.tick(1);
        assert_eq!(process.request("a").len(), 1, "{jump}: its time is over");
    }
}

#[test]
fn an_answer_that_nobody_asked_for_is_ignored() {
    let mut process = Process::new();
    process.configure(1, "a", "{}");
    let size = AnswerSize {
        headers: 0,
        body: 0,
    };
    process.vm.on_answer(&process.host, Token(4_711), size);
}
