//! Reports of proxies as an operator sees them later.

use reputation::Refused;

use super::*;
use crate::clock::ManualClock;

struct Desk {
    clock: Arc<ManualClock>,
    refusals: Refusals,
}

impl Desk {
    fn open() -> Self {
        let clock = Arc::new(ManualClock::at(UnixSeconds(1_800_000_030)));
        let refusals = Refusals::new(Arc::clone(&clock) as Arc<dyn Clock>);
        Self { clock, refusals }
    }

    fn report(&self, left_out: u64, clients: Vec<Refused>) {
        let report = RefusalReport { left_out, clients };
        let body = serde_json::to_vec(&report).unwrap();
        self.refusals.take(&body).unwrap();
    }

    fn blocked(&self) -> Blocked {
        self.refusals.blocked(MOST)
    }
}

fn refused(client: ClientAddress, count: u64) -> Refused {
    Refused {
        client,
        action: Action::Deny,
        mode: Mode::Enforce,
        reason: "ipsum".to_owned(),
        decision: DecisionId(7),
        count,
        first_s: 5,
        last_s: 0,
    }
}

fn ip(text: &str) -> ClientAddress {
    text.parse().unwrap()
}

#[test]
fn what_several_proxies_report_of_one_client_is_added_up() {
    let desk = Desk::open();
    let client = ip("203.0.113.7");
    desk.report(0, vec![refused(client, 3), refused(ip("2001:db8::7"), 9)]);
    desk.clock.advance(60);
    let newer = Refused {
        reason: "operator".to_owned(),
        decision: DecisionId(8),
        ..refused(client, 4)
    };
    let monitored = Refused {
        mode: Mode::Monitor,
        ..refused(client, 1)
    };
    desk.report(0, vec![newer, monitored]);
    let blocked = desk.blocked();
    let counts: Vec<_> = blocked
        .clients
        .iter()
        .map(|it| (it.client.to_string(), it.mode, it.last_5_minutes))
        .collect();
    assert_eq!(
        counts,
        [
            ("2001:db8::7".to_owned(), Mode::Enforce, 9),
            ("203.0.113.7".to_owned(), Mode::Enforce, 7),
            ("203.0.113.7".to_owned(), Mode::Monitor, 1),
        ]
    );
    let seven = &blocked.clients[1];
    assert_eq!(
        (seven.reason.as_str(), seven.decision),
        ("operator", DecisionId(8))
    );
    assert_eq!(seven.since, UnixSeconds(1_800_000_025));
    assert_eq!(seven.last, UnixSeconds(1_800_000_090));
    let minutes = desk.refusals.minutes_of(client).unwrap();
    assert_eq!((minutes.len(), &minutes[58..]), (60, &[3, 5][..]));
    assert_eq!(desk.refusals.minutes_of(ip("192.0.2.1")), None);
}

#[test]
fn who_is_blocked_now_comes_first_and_an_hour_later_nobody_knows_of_it() {
    let desk = Desk::open();
    desk.report(2, vec![refused(ip("192.0.2.1"), 100)]);
    desk.clock.advance(600);
    desk.report(0, vec![refused(ip("192.0.2.2"), 1)]);
    let blocked = desk.blocked();
    let order: Vec<_> = blocked.clients.iter().map(|it| it.last_hour).collect();
    assert_eq!((order, blocked.left_out), (vec![1, 100], 2));
    desk.clock.advance(3000);
    assert_eq!(desk.blocked().clients.len(), 1);
    desk.report(0, Vec::new());
    desk.clock.advance(3600);
    desk.report(0, Vec::new());
    let blocked = desk.blocked();
    assert_eq!((blocked.clients.len(), blocked.left_out), (0, 0));
    assert_eq!(blocked.reported_at, Some(desk.clock.now()));
}

#[test]
fn a_flood_of_addresses_leaves_the_busiest_and_counts_all() {
    let desk = Desk::open();
    let busy = ip("192.0.2.1");
    for report in 0..1000_u32 {
        let others =
            (0..63).map(|at| refused(ClientAddress::V4(0x0a00_0000 + report * 63 + at), 1));
        desk.report(5, others.chain([refused(busy, 2)]).collect());
    }
    let blocked = desk.blocked();
    assert!(blocked.clients.len() <= MOST && blocked.clients.len() >= MOST / 2);
    assert_eq!(
        (blocked.clients[0].client, blocked.clients[0].last_hour),
        (busy, 2000)
    );
    let named: u64 = blocked.clients.iter().map(|it| it.last_hour).sum();
    assert_eq!(named + blocked.left_out, 1000 * (63 + 2 + 5));
    let few = desk.refusals.blocked(10);
    assert_eq!(
        (few.clients.len(), few.more),
        (10, blocked.clients.len() - 10)
    );
}

#[test]
fn nonsense_is_refused_whole_and_what_was_known_stays() {
    let desk = Desk::open();
    desk.report(0, vec![refused(ip("192.0.2.1"), 1)]);
    let before = desk.blocked();
    let good = serde_json::to_value(refused(ip("192.0.2.2"), 1)).unwrap();
    let mut bad = good.clone();
    bad["client"] = "nobody".into();
    let half = serde_json::json!({"left_out": 1, "clients": [good, bad]}).to_string();
    for nonsense in [half.as_bytes(), b"", b"{}", b"\xff\xfe", &[b'['; 30_000]] {
        assert!(desk.refusals.take(nonsense).is_err());
    }
    assert_eq!(desk.blocked(), before);
}
