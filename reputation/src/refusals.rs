//! What a proxy tells the sidecar of those it refuses: who, how often, why. Snapshots answer for the
//! sidecar, which would learn of none of them otherwise.
//!
//! Sent as JSON to `POST /v1/refusals` of the edge API:
//!
//! ```json
//! {"left_out":0,"clients":[{"client":"203.0.113.7","action":"deny","mode":"enforce","reason":"ipsum",
//!  "decision":"00000000000000ab","count":12,"first_s":9,"last_s":0}]}
//! ```

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::address::ClientAddress;
use crate::decision::DecisionId;
use crate::mode::Mode;
use crate::policy::Action;

/// The most clients in one report.
pub const MAX_CLIENTS: usize = 64;
/// The longest reason, in bytes.
pub const MAX_REASON: usize = 64;
/// The largest report in bytes: `MAX_CLIENTS` of the longest, and room for what later versions add.
pub const MAX_REPORT_BYTES: usize = 32 * 1024;
/// How far a report may look back: its sender sends one every few seconds.
const MAX_AGE_S: u32 = 3600;
/// More than a worker refuses within a report's time.
const MAX_COUNT: u64 = 1 << 32;

/// What one VM refused since its last report.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RefusalReport {
    /// Refused requests of clients that are not named, because the sender's table was full.
    pub left_out: u64,
    pub clients: Vec<Refused>,
}

/// One client and what was done with its requests, or in monitor would have been.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    pub client: ClientAddress,
    /// `deny` or `throttle`.
    pub action: Action,
    /// `enforce` or `monitor`.
    pub mode: Mode,
    /// The source or rule that weighed most, the last time.
    pub reason: String,
    /// As a refused client sees it.
    pub decision: DecisionId,
    /// Requests.
    pub count: u64,
    /// How many seconds ago the first and the last of them came: clocks differ, spans do not.
    pub first_s: u32,
    pub last_s: u32,
}

/// Why a report is refused, whole.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReportError {
    #[error("it is not a report: {0}")]
    Malformed(String),
    #[error("it names {0} clients, at most {MAX_CLIENTS} are taken")]
    Clients(usize),
    #[error("{client}: {fault}")]
    Client {
        client: ClientAddress,
        fault: &'static str,
    },
    #[error("left_out: more than can have been refused")]
    LeftOut,
}

impl RefusalReport {
    pub fn parse(bytes: &[u8]) -> Result<Self, ReportError> {
        let report: Self = serde_json::from_slice(bytes)
            .map_err(|error| ReportError::Malformed(error.to_string()))?;
        if report.clients.len() > MAX_CLIENTS {
            return Err(ReportError::Clients(report.clients.len()));
        }
        if report.left_out > MAX_COUNT {
            return Err(ReportError::LeftOut);
        }
        report.clients.iter().try_for_each(Refused::check)?;
        Ok(report)
    }
}

impl Refused {
    fn check(&self) -> Result<(), ReportError> {
        let plain = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
        let fault = if !matches!(self.action, Action::Deny | Action::Throttle) {
            "only deny and throttle are refusals"
        } else if self.mode == Mode::Off {
            "nothing is refused in mode off"
        } else if self.reason.len() > MAX_REASON || !self.reason.bytes().all(plain) {
            "a reason is at most 64 bytes of visible ASCII"
        } else if self.count == 0 || self.count > MAX_COUNT {
            "the count is none that can be"
        } else if self.first_s < self.last_s || self.first_s > MAX_AGE_S {
            "first_s must be from last_s to 3600"
        } else {
            return Ok(());
        };
        let client = self.client;
        Err(ReportError::Client { client, fault })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Refused {
        Refused {
            client: "2001:db8::7".parse().unwrap(),
            action: Action::Deny,
            mode: Mode::Monitor,
            reason: "ipsum".to_owned(),
            decision: DecisionId(7),
            count: 12,
            first_s: 9,
            last_s: 0,
        }
    }

    fn parse(clients: Vec<Refused>) -> Result<RefusalReport, ReportError> {
        let report = RefusalReport {
            left_out: 3,
            clients,
        };
        RefusalReport::parse(&serde_json::to_vec(&report).unwrap())
    }

    #[test]
    fn a_report_survives_its_json_and_the_largest_fits() {
        let longest = Refused {
            client: "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap(),
            action: Action::Throttle,
            reason: "\"".repeat(MAX_REASON),
            decision: DecisionId(u64::MAX),
            count: MAX_COUNT,
            first_s: MAX_AGE_S,
            last_s: MAX_AGE_S,
            ..refused()
        };
        let report = parse(vec![longest; MAX_CLIENTS]).unwrap();
        assert_eq!((report.left_out, report.clients.len()), (3, MAX_CLIENTS));
        assert!(serde_json::to_vec(&report).unwrap().len() < MAX_REPORT_BYTES);
    }

    #[test]
    fn what_cannot_be_is_refused_whole() {
        type Change = fn(&mut Refused);
        let faults: [Change; 8] = [
            |it| it.action = Action::Allow,
            |it| it.mode = Mode::Off,
            |it| it.reason = "a\nb".to_owned(),
            |it| it.reason = "x".repeat(65),
            |it| it.count = 0,
            |it| it.count = u64::MAX,
            |it| it.last_s = 10,
            |it| it.first_s = 4000,
        ];
        for (at, fault) in faults.into_iter().enumerate() {
            let mut faulty = refused();
            fault(&mut faulty);
            assert!(parse(vec![refused(), faulty]).is_err(), "fault {at}");
        }
        let many = parse(vec![refused(); MAX_CLIENTS + 1]);
        assert_eq!(many, Err(ReportError::Clients(MAX_CLIENTS + 1)));
        for rubbish in ["", "[]", "null", r#"{"left_out":-1,"clients":[]}"#] {
            let parsed = RefusalReport::parse(rubbish.as_bytes());
            assert!(matches!(parsed, Err(ReportError::Malformed(_))));
        }
    }
}
