//! Load by wrk, pinned to one core, and what it cost whoever took it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use kit::Envoy;

use super::contest::{Cost, SLICE};
use super::stage::CLIENT;
use crate::error::Error;
use crate::run;

/// What is measured has the first core, what loads it and what answers to it the second.
pub const MEASURED_CORE: &str = "0";
pub const LOAD_CORE: &str = "1";

pub struct Wrk;

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

    /// CPU time of Envoy under requests of one client.
    pub fn envoy(&self, envoy: &Envoy) -> Result<Cost, Error> {
        let before = envoy.cpu_nanos();
        let client = format!("x-forwarded-for: {CLIENT}");
        let requests = self.load(&format!("http://{}/", envoy.edge()), &["-H", &client])?;
        let nanos = envoy.cpu_nanos().saturating_sub(before);
        Ok(Cost { nanos, requests })
    }

    /// Time on the clock under as many requests as the server can take.
    pub fn throughput(&self, url: &str) -> Result<Cost, Error> {
        let requests = self.load(url, &[])?;
        let nanos = u64::try_from(SLICE.as_nanos()).unwrap_or(u64::MAX);
        Ok(Cost { nanos, requests })
    }

    /// As many requests as `to` can take in a slice, each as `script` says; returns how many there were.
    pub fn scripted(&self, to: SocketAddr, script: &Path) -> Result<u32, Error> {
        self.load(&format!("http://{to}/"), &["-s", &script.to_string_lossy()])
    }

    /// Loads `url` for a slice; returns how many requests were answered, all of them well.
    fn load(&self, url: &str, more: &[&str]) -> Result<u32, Error> {
        let mut command = Command::new("taskset");
        command
            .args(["-c", LOAD_CORE, "wrk", "-t1", "-c32"])
            .arg(format!("-d{}s", SLICE.as_secs()))
            .args(more)
            .arg(url);
        let output = run::capture(&mut command)?;
        let text = String::from_utf8_lossy(&output.stdout);
        if text.contains("Non-2xx") || text.contains("Socket errors") {
            return Err(Error::Said(format!(
                "not every request was answered well:\n{text}"
            )));
        }
        requests(&text).ok_or_else(|| Error::Said(format!("wrk said nothing of use:\n{text}")))
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
