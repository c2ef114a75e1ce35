//! The readiness path: tells a platform's probe whether this worker knows enough to decide.

use crate::config::Failure;
use crate::host::{Host, Reply};

/// How long a worker without a snapshot asks the platform to wait. With `failure: closed` it asks for
/// ever, because it would refuse what it is given.
const GRACE_MICROS: u64 = 10_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    Starting,
    /// Without a snapshot for longer than the grace: serving, everything unknown.
    Degraded,
}

impl Readiness {
    pub fn of(has_snapshot: bool, failure: Failure, micros_since_start: u64) -> Self {
        if has_snapshot {
            Self::Ready
        } else if failure == Failure::Closed || micros_since_start < GRACE_MICROS {
            Self::Starting
        } else {
            Self::Degraded
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::Degraded => "degraded",
        }
    }

    fn status(self) -> u16 {
        match self {
            Self::Starting => 503,
            Self::Ready | Self::Degraded => 200,
        }
    }
}

/// Whether the current request asks for the readiness path.
pub fn is_asked<H: Host>(host: &H, ready_path: &str) -> bool {
    let is_it = |asked: &[u8]| {
        let rest = asked.strip_prefix(ready_path.as_bytes());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"?"))
    };
    host.request_header(":path", is_it).unwrap_or(false)
}

pub fn answer<H: Host>(host: &H, readiness: Readiness, snapshot: Option<String>) {
    let snapshot = snapshot.map_or("null".to_owned(), |version| format!("\"{version}\""));
    let name = readiness.name();
    let body = format!("{{\"status\":\"{name}\",\"snapshot\":{snapshot}}}\n");
    host.send_reply(&Reply {
        status: readiness.status(),
        details: "portcullis_ready",
        headers: &[
            ("content-type", "application/json"),
            ("cache-control", "no-store"),
        ],
        body: body.as_bytes(),
        grpc_status: None,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MockHost;

    #[test]
    fn it_waits_ten_seconds_for_the_first_snapshot_and_for_ever_when_closed() {
        let of = Readiness::of;
        assert_eq!(of(false, Failure::Open, 0), Readiness::Starting);
        assert_eq!(of(false, Failure::Open, GRACE_MICROS), Readiness::Degraded);
        assert_eq!(of(false, Failure::Closed, u64::MAX), Readiness::Starting);
        assert_eq!(of(true, Failure::Closed, 0), Readiness::Ready);
    }

    #[test]
    fn only_the_path_itself_counts() {
        let host = MockHost::default();
        for (path, expected) in [
            ("/.portcullis/ready", true),
            ("/.portcullis/ready?x", true),
            ("/.portcullis/readyz", false),
            ("/", false),
        ] {
            host.put_header(":path", path.as_bytes());
            assert_eq!(is_asked(&host, "/.portcullis/ready"), expected, "{path}");
        }
    }

    #[test]
    fn the_answer_says_what_is_there() {
        let host = MockHost::default();
        answer(&host, Readiness::Starting, None);
        answer(&host, Readiness::Ready, Some("1.2".to_owned()));
        let sent = host.sent();
        assert_eq!((sent[0].status, sent[1].status), (503, 200));
        assert_eq!(
            sent[0].body,
            "{\"status\":\"starting\",\"snapshot\":null}\n"
        );
        assert_eq!(
            sent[1].body,
            "{\"status\":\"ready\",\"snapshot\":\"1.2\"}\n"
        );
    }
}
