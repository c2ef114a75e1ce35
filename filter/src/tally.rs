//! Who was refused or slowed down lately, or in monitor would have been: what the sidecar is told, since
//! it sees nothing of requests that a snapshot answers.
//!
//! Owns a table of fixed size and when it is sent. Clean requests never come here. In a flood of more
//! clients than have room, those with the most requests stay (as space-saving has it), and the others are
//! counted together. Nobody waits for what the sidecar says to a report, and what cannot be sent is
//! forgotten.

use reputation::mode::Mode;
use reputation::refusals::MAX_CLIENTS;
use reputation::{Action, ClientAddress, DecisionId, RefusalReport, Refused};

use crate::config::Sidecar;
use crate::host::{Call, Host};
use crate::turn::{Random, Uptime};

const PAUSE_MICROS: u64 = 10_000_000;
/// So that the VMs of a fleet under one attack do not all speak at once.
const JITTER_MICROS: u64 = 2_000_000;
const TIMEOUT_MS: u32 = 1_000;

/// One plugin's in one VM.
#[derive(Debug, Default)]
pub struct Tally {
    entries: Vec<Entry>,
    left_out: u64,
    not_before_micros: u64,
}

/// A request that was refused, or would have been.
#[derive(Debug, Clone, Copy)]
pub struct Hindered<'a> {
    pub client: ClientAddress,
    pub action: Action,
    pub mode: Mode,
    pub reason: &'a str,
    pub decision: DecisionId,
}

#[derive(Debug)]
struct Entry {
    client: ClientAddress,
    action: Action,
    mode: Mode,
    reason: String,
    decision: DecisionId,
    count: u64,
    /// What whoever had this place before had been counted: whoever comes new must not be the next to go.
    inherited: u64,
    first: Uptime,
    last: Uptime,
}

impl Tally {
    pub fn note(&mut self, request: &Hindered<'_>, now: Uptime) {
        let mut entries = self.entries.iter_mut();
        if let Some(entry) = entries.find(|entry| entry.is_of(request)) {
            entry.count = entry.count.saturating_add(1);
            entry.last = now;
            entry.explain(request);
        } else if self.entries.len() < MAX_CLIENTS {
            self.entries.push(Entry::new(request, now));
        } else if let Some(least) = self.entries.iter_mut().min_by_key(|entry| entry.weight()) {
            self.left_out = self.left_out.saturating_add(least.count);
            least.inherited = least.weight();
            least.follow(request, now);
        }
    }

    /// Sends what there is, if it is time to.
    pub fn on_tick<H: Host>(
        &mut self,
        host: &H,
        random: &mut Random,
        sidecar: &Sidecar,
        (now, uptime): (u64, Uptime),
    ) {
        if self.entries.is_empty() || now < self.not_before_micros {
            return;
        }
        let jitter = random.draw() % JITTER_MICROS;
        self.not_before_micros = now.saturating_add(PAUSE_MICROS + jitter);
        let report = RefusalReport {
            left_out: std::mem::take(&mut self.left_out),
            clients: self.entries.drain(..).map(|it| it.told(uptime)).collect(),
        };
        let Ok(body) = serde_json::to_vec(&report) else {
            return;
        };
        let call = Call {
            cluster: &sidecar.cluster,
            authority: &sidecar.authority,
            path: "/v1/refusals",
            body: Some(&body),
            request_id: None,
            traceparent: None,
            timeout_ms: TIMEOUT_MS,
        };
        if let Err(error) = host.call(&call) {
            log::debug!("a report of refusals on cluster {}: {error}", call.cluster);
        }
    }
}

impl Entry {
    fn new(request: &Hindered<'_>, now: Uptime) -> Self {
        Self {
            client: request.client,
            action: request.action,
            mode: request.mode,
            reason: request.reason.to_owned(),
            decision: request.decision,
            count: 1,
            inherited: 0,
            first: now,
            last: now,
        }
    }

    fn is_of(&self, request: &Hindered<'_>) -> bool {
        self.client == request.client && self.action == request.action && self.mode == request.mode
    }

    /// Is from now on about this request's client.
    fn follow(&mut self, request: &Hindered<'_>, now: Uptime) {
        self.client = request.client;
        self.action = request.action;
        self.mode = request.mode;
        self.count = 1;
        self.first = now;
        self.last = now;
        self.explain(request);
    }

    /// The newest reason counts. Its room is used again: a flood would otherwise allocate.
    fn explain(&mut self, request: &Hindered<'_>) {
        self.decision = request.decision;
        if self.reason != request.reason {
            self.reason.clear();
            self.reason.push_str(request.reason);
        }
    }

    fn weight(&self) -> u64 {
        self.count.saturating_add(self.inherited)
    }

    fn told(self, now: Uptime) -> Refused {
        let ago = |then: Uptime| now.0.saturating_sub(then.0);
        Refused {
            client: self.client,
            action: self.action,
            mode: self.mode,
            reason: self.reason,
            decision: self.decision,
            count: self.count,
            first_s: ago(self.first),
            last_s: ago(self.last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::CallError;
    use crate::testing::{MockHost, config, ip};

    const SECOND: u64 = 1_000_000;

    struct Bench {
        host: MockHost,
        tally: Tally,
        random: Random,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                host: MockHost::default(),
                tally: Tally::default(),
                random: Random::new(1),
            }
        }

        fn refuse(&mut self, client: ClientAddress, second: u32) {
            let request = Hindered {
                client,
                action: Action::Deny,
                mode: Mode::Enforce,
                reason: "ipsum",
                decision: DecisionId(7),
            };
            self.tally.note(&request, Uptime(second));
        }

        /// What a tick in this second sends.
        fn tick(&mut self, second: u32) -> Option<RefusalReport> {
            let sidecar = config("{}").sidecar;
            let now = (u64::from(second) * SECOND, Uptime(second));
            let (host, random) = (&self.host, &mut self.random);
            self.tally.on_tick(host, random, &sidecar, now);
            let made = self.host.calls().pop()?;
            assert_eq!(
                (made.cluster.as_str(), made.path.as_str()),
                ("portcullis", "/v1/refusals")
            );
            Some(RefusalReport::parse(&made.body.unwrap()).unwrap())
        }
    }

    #[test]
    fn a_refused_client_is_told_of_once_with_how_often_and_since_when() {
        let mut bench = Bench::new();
        assert_eq!(bench.tick(99), None, "there is nothing to say");
        bench.refuse(ip("192.0.2.7"), 100);
        bench.refuse(ip("2001:db8::7"), 101);
        bench.refuse(ip("192.0.2.7"), 103);
        let report = bench.tick(104).unwrap();
        let told: Vec<_> = report
            .clients
            .iter()
            .map(|it| (it.count, it.first_s, it.last_s))
            .collect();
        assert_eq!(told, [(2, 4, 1), (1, 3, 3)]);
        assert_eq!(
            (report.clients[0].reason.as_str(), report.left_out),
            ("ipsum", 0)
        );
        assert_eq!(bench.tick(200), None, "it is said");
    }

    #[test]
    fn a_report_is_sent_every_ten_seconds_at_most() {
        let mut bench = Bench::new();
        let mut sent = Vec::new();
        for second in 100..200 {
            bench.refuse(ip("192.0.2.7"), second);
            sent.extend(bench.tick(second).map(|_| second));
        }
        let pauses = sent.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(
            pauses.clone().all(|pause| (10..=12).contains(&pause)),
            "{sent:?}"
        );
        assert!(sent.len() >= 8 && sent[0] == 100, "{sent:?}");
    }

    #[test]
    fn in_a_flood_of_clients_the_busy_ones_stay_and_every_request_is_counted() {
        let mut bench = Bench::new();
        let busy = [ip("192.0.2.1"), ip("192.0.2.2")];
        for at in 0..10_000_u32 {
            bench.refuse(ClientAddress::V4(0x0a00_0000 + at), 100);
            if at % 4 == 0 {
                busy.into_iter()
                    .for_each(|client| bench.refuse(client, 100));
            }
        }
        let report = bench.tick(101).unwrap();
        assert_eq!(report.clients.len(), MAX_CLIENTS);
        for client in busy {
            let found = report.clients.iter().find(|it| it.client == client);
            assert_eq!(found.map(|it| it.count), Some(2_500), "{client}");
        }
        let named: u64 = report.clients.iter().map(|it| it.count).sum();
        assert_eq!(named + report.left_out, 15_000);
    }

    #[test]
    fn what_cannot_be_sent_is_forgotten() {
        let mut bench = Bench::new();
        bench.host.call_error.set(Some(CallError::Unavailable));
        bench.refuse(ip("192.0.2.7"), 100);
        assert_eq!(bench.tick(100), None);
        bench.host.call_error.set(None);
        bench.refuse(ip("192.0.2.7"), 120);
        let report = bench.tick(120).unwrap();
        assert_eq!((report.clients[0].count, report.clients[0].first_s), (1, 0));
    }
}
