//! Load by wrk, pinned to one core, and what it cost the Envoy that took it.

use std::process::Command;
use std::time::Duration;

use kit::Envoy;

use super::stage::CLIENT;
use crate::error::Error;
use crate::run;

/// Envoy has the first core, wrk the second.
pub const ENVOY_CORE: &str = "0";
const WRK_CORE: &str = "1";

pub struct Wrk;

/// What a load cost.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    nanos: u64,
    requests: u32,
}

impl Cost {
    /// Nanoseconds of CPU time.
    pub fn per_request(self) -> f64 {
        as_f64(self.nanos) / f64::from(self.requests)
    }
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, more: Self) {
        self.nanos += more.nanos;
        self.requests += more.requests;
    }
}

impl Wrk {
    /// Makes sure that wrk and taskset are there.
    pub fn ensure() -> Result<Self, Error> {
        for tool in ["wrk", "taskset"] {
            let package = if tool == "wrk" { "wrk" } else { "util-linux" };
            let there = || run::capture(Command::new(tool).arg("--version")).is_ok();
            let installed = there() || (run::apt_install(&[package]) && there());
            if !installed {
                return Err(Error::Missing {
                    tool: tool.to_owned(),
                    remedy: format!("run `apt-get install {package}`"),
                });
            }
        }
        Ok(Self)
    }

    /// Loads Envoy for a while.
    pub fn cost(&self, envoy: &Envoy, length: Duration) -> Result<Cost, Error> {
        let before = envoy.cpu_nanos();
        let mut command = Command::new("taskset");
        command
            .args(["-c", WRK_CORE, "wrk", "-t1", "-c32"])
            .arg(format!("-d{}s", length.as_secs()))
            .args(["-H", &format!("x-forwarded-for: {CLIENT}")])
            .arg(format!("http://{}/", envoy.edge()));
        let output = run::capture(&mut command)?;
        let spent = envoy.cpu_nanos().saturating_sub(before);
        let text = String::from_utf8_lossy(&output.stdout);
        if text.contains("Non-2xx") || text.contains("Socket errors") {
            return Err(Error::Said(format!(
                "not every request was answered well:\n{text}"
            )));
        }
        let requests = requests(&text)
            .ok_or_else(|| Error::Said(format!("wrk said nothing of use:\n{text}")))?;
        Ok(Cost {
            nanos: spent,
            requests,
        })
    }
}

/// From the line `123456 requests in 2.00s, 20.1MB read`.
fn requests(text: &str) -> Option<u32> {
    let line = text.lines().find(|line| line.contains(" requests in "))?;
    line.split_whitespace()
        .next()?
        .parse()
        .ok()
        .filter(|&count| count > 0)
}

/// A run lasts seconds, which are far from the limit of exact whole numbers in a float.
#[expect(clippy::cast_precision_loss, reason = "under 2^53")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_of_requests_is_read_from_wrks_report() {
        let report = "Running 2s test\n  49876 requests in 2.00s, 9.1MB read\nRequests/sec: 1\n";
        assert_eq!(requests(report), Some(49876));
        assert_eq!(requests("unable to connect\n"), None);
    }
}
