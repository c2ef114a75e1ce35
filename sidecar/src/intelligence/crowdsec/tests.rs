//! From what a Local API sends to what is known.

use reputation::{ClientAddress, Decision, DecisionKind, UnixSeconds};

use super::batch::{Batch, Gatherer};
use super::bouncer::Caller;
use super::lapi::Question;
use super::stream::Taken;
use super::*;
use crate::clock::ManualClock;
use crate::config::crowdsec::Remediation;
use crate::config::{Config, Guard};

const START: UnixSeconds = UnixSeconds(1_795_000_000);

struct Rig {
    stream: Stream,
    guard: Guard,
    phrasebook: Arc<Phrasebook>,
    clock: Arc<ManualClock>,
}

impl Rig {
    fn new() -> Self {
        let toml = "[[feed]]\nname = \"crowdsec\"\nformat = \"crowdsec\"\n\
                    url = \"http://127.0.0.1:8080\"\nkey = \"secret:key\"\n\
                    [secret.key]\nfrom = \"env\"\nname = \"KEY\"\n";
        let config = Config::parse(toml, std::iter::empty()).unwrap();
        let config = config.crowdsec.into_iter().next().unwrap();
        let guard = Guard {
            permit_special: true,
            ..Guard::default()
        };
        Self {
            stream: Stream::new(config, Arc::default(), CancellationToken::new()),
            guard,
            phrasebook: Arc::default(),
            clock: Arc::new(ManualClock::at(START)),
        }
    }

    fn batch(&self, answer: &str) -> Batch {
        let mut gatherer = Gatherer::new(
            &self.stream.config,
            self.guard.clone(),
            Arc::clone(&self.phrasebook),
            Arc::clone(&self.clock) as Arc<dyn Clock>,
        );
        wire::read(answer.as_bytes(), &mut gatherer).unwrap();
        gatherer.finish()
    }

    fn take(&self, question: Question, answer: &str) -> Taken {
        let (batch, shrink) = (self.batch(answer), self.guard.max_shrink);
        self.stream.take(question, batch, self.clock.now(), shrink)
    }

    /// What would be asked for as whom was told everything up to now.
    fn question(&self) -> Question {
        let caller = Caller::Key("key".into());
        self.stream.told_to(&caller);
        self.stream.question(&caller, self.clock.now())
    }

    fn words(&self) -> Words {
        Words::new(self.stream.entries(), &self.phrasebook)
    }

    fn on(&self, address: &str) -> Vec<Decision> {
        let address: ClientAddress = address.parse().unwrap();
        self.words().on(address, self.clock.now())
    }
}

fn row(id: u32, kind: &str, scope: &str, value: &str, duration: &str) -> String {
    format!(
        "{{\"id\":{id},\"origin\":\"cscli\",\"type\":\"{kind}\",\"scope\":\"{scope}\",\
         \"value\":\"{value}\",\"duration\":\"{duration}\",\"scenario\":\"ssh\"}}"
    )
}

fn new(rows: &[String]) -> String {
    format!("{{\"new\":[{}],\"deleted\":null}}", rows.join(","))
}

fn deleted(rows: &[String]) -> String {
    format!("{{\"new\":null,\"deleted\":[{}]}}", rows.join(","))
}

#[test]
fn addresses_ranges_and_types_become_words_and_the_rest_is_counted() {
    let rig = Rig::new();
    let rows = [
        row(1, "ban", "Ip", "192.0.2.1", "4h"),
        row(2, "captcha", "range", "198.51.100.0/24", "3h59m59.5s"),
        row(3, "BAN", "ip", "192.0.2.9/32", "1h"),
        row(4, "ban", "Range", "2001:db8:40::/48", "1h"),
        row(5, "mfa", "Ip", "192.0.2.2", "1h"),
        row(6, "ban", "Country", "FR", "1h"),
        row(7, "ban", "AS", "64500", "1h"),
        row(8, "ban", "Ip", "not an address", "1h"),
        row(9, "ban", "Ip", "192.0.2.3", "soon"),
        row(10, "ban", "Range", "8.0.0.0/7", "1h"),
        "{\"id\":11,\"type\":\"ban\",\"scope\":\"Ip\",\"value\":\"192.0.2.4\",\"duration\":\"1h\",\
         \"simulated\":true}"
            .to_owned(),
    ];
    assert_eq!(rig.take(Question::Everything, &new(&rows)), Taken::Changed);
    assert_eq!(rig.stream.entries().len(), 5);
    let inside = rig.on("2001:db8:40:1::7");
    assert_eq!(inside[0].cidr.to_string(), "2001:db8:40::/48");
    assert_eq!(rig.on("198.51.100.9")[0].kind, DecisionKind::Throttle);
    assert_eq!(rig.on("192.0.2.2")[0].kind, DecisionKind::Ban);
    assert_eq!(rig.on("192.0.2.1")[0].expires, Some(START.plus(4 * 3600)));
    let status = rig.stream.status(START);
    assert_eq!(
        (status.entries, status.skipped, status.dropped.too_wide),
        (5, 2, 1)
    );
    let left_out: Vec<_> = status.left_out.into_iter().collect();
    let count = |cause: &str| (cause.to_owned(), 1);
    assert_eq!(
        left_out,
        [
            count("scope AS"),
            count("scope Country"),
            count("simulated")
        ]
    );
}

#[test]
fn a_type_that_is_not_known_is_treated_as_configured() {
    for (fallback, kind) in [
        (Remediation::Ban, Some(DecisionKind::Ban)),
        (Remediation::Throttle, Some(DecisionKind::Throttle)),
        (Remediation::Ignore, None),
    ] {
        let mut rig = Rig::new();
        let config = CrowdSec {
            fallback,
            ..rig.stream.config.as_ref().clone()
        };
        rig.stream = Stream::new(config, Arc::default(), CancellationToken::new());
        rig.take(
            Question::Everything,
            &new(&[row(1, "mfa", "Ip", "192.0.2.1", "1h")]),
        );
        assert_eq!(rig.on("192.0.2.1").first().map(|word| word.kind), kind);
    }
}

#[test]
fn what_lies_beneath_a_deleted_decision_shows_again() {
    let rig = Rig::new();
    let (ban, captcha) = (
        row(1, "ban", "Ip", "192.0.2.1", "4h"),
        row(2, "captcha", "Ip", "192.0.2.1", "24h"),
    );
    rig.take(Question::Everything, &new(&[ban.clone(), captcha]));
    assert_eq!(rig.on("192.0.2.1").len(), 2);
    let gone = rig.take(Question::Changes, &deleted(std::slice::from_ref(&ban)));
    assert_eq!(gone, Taken::Changed);
    let left = rig.on("192.0.2.1");
    assert_eq!((left.len(), left[0].kind), (1, DecisionKind::Throttle));
    // Each answer reaches two seconds back, so what is deleted is told again.
    assert_eq!(
        rig.take(Question::Changes, &deleted(&[ban])),
        Taken::Unchanged
    );
}

#[test]
fn the_same_decision_told_again_is_no_change_and_an_extended_one_is() {
    let rig = Rig::new();
    let told = |duration| new(&[row(1, "ban", "Ip", "192.0.2.1", duration)]);
    rig.take(Question::Everything, &told("1h0m0s"));
    rig.clock.advance(60);
    assert_eq!(
        rig.take(Question::Everything, &told("58m59s")),
        Taken::Unchanged
    );
    assert_eq!(
        rig.take(Question::Changes, &told("59m1s")),
        Taken::Unchanged
    );
    assert_eq!(rig.take(Question::Changes, &told("4h")), Taken::Changed);
    let word = rig.on("192.0.2.1").remove(0);
    assert_eq!((word.created, rig.stream.entries().len()), (START, 1));
}

#[test]
fn what_lapsed_goes_by_itself_while_the_api_is_away() {
    let rig = Rig::new();
    rig.take(
        Question::Everything,
        &new(&[
            row(1, "ban", "Ip", "192.0.2.1", "1m"),
            row(2, "ban", "Ip", "192.0.2.2", "1h"),
        ]),
    );
    rig.stream.fail("away".to_owned());
    assert!(!rig.stream.drop_lapsed(rig.clock.now()));
    rig.clock.advance(61);
    assert!(rig.on("192.0.2.1").is_empty());
    assert!(rig.stream.drop_lapsed(rig.clock.now()));
    assert_eq!(rig.stream.entries().len(), 1);
}

#[test]
fn after_a_failure_and_now_and_then_everything_is_asked_for() {
    let rig = Rig::new();
    let question = || rig.question();
    assert_eq!(question(), Question::Everything);
    rig.take(Question::Everything, &new(&[]));
    assert_eq!(question(), Question::Changes);
    rig.stream.fail("away".to_owned());
    assert_eq!(question(), Question::Everything);
    rig.take(Question::Everything, &new(&[]));
    rig.clock.advance(3600);
    assert_eq!(question(), Question::Everything);
}

#[test]
fn to_another_key_everything_is_told_anew() {
    let rig = Rig::new();
    rig.take(Question::Everything, &new(&[]));
    assert_eq!(rig.question(), Question::Changes);
    for other in [Caller::Key("other".into()), Caller::Certificate(1)] {
        let question = rig.stream.question(&other, rig.clock.now());
        assert_eq!(question, Question::Everything, "{other:?}");
    }
}

#[test]
fn after_an_import_everything_is_asked_for_once() {
    let rig = Rig::new();
    let question = || rig.question();
    rig.take(Question::Everything, &new(&[]));
    let rows: Vec<_> = (0..100)
        .map(|at| row(at + 1, "ban", "Ip", &format!("192.0.2.{at}"), "1h"))
        .collect();
    rig.take(Question::Changes, &new(&rows[..10]));
    rig.clock.advance(10);
    assert_eq!(question(), Question::Changes);
    rig.take(Question::Changes, &new(&rows));
    assert_eq!(question(), Question::Changes);
    rig.clock.advance(10);
    assert_eq!(question(), Question::Everything);
    rig.take(Question::Everything, &new(&rows));
    assert_eq!(question(), Question::Changes);
}

#[test]
fn an_api_that_has_lost_most_of_its_decisions_is_asked_again_before_it_is_believed() {
    let rig = Rig::new();
    let rows: Vec<_> = (0..100)
        .map(|at| row(at + 1, "ban", "Ip", &format!("192.0.2.{at}"), "1h"))
        .collect();
    rig.take(Question::Everything, &new(&rows));
    let few = new(&rows[..3]);
    let doubted = Taken::Doubted {
        before: 100,
        now: 3,
    };
    assert_eq!(rig.take(Question::Everything, &few), doubted);
    assert_eq!(rig.stream.entries().len(), 100);
    assert_eq!(rig.question(), Question::Everything);
    assert_eq!(rig.take(Question::Everything, &few), Taken::Changed);
    assert_eq!(rig.stream.entries().len(), 3);
}
