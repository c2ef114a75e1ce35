//! `cargo xtask bench --failure-policy`: what Envoy does with everybody else's requests when some
//! requests trap the plugin's VM, under each failure policy that it has. docs/failure-policy.md shows
//! the result, and envoy.yaml follows it.

use std::time::Duration;

use kit::config::{EdgeConfig, insert};
use kit::snapshot::{Draft, Line};
use kit::{Connection, Envoy, KitError, RawSidecar, Request, eventually_async};
use serde_json::{Value, json};
use tokio::time::{Instant, interval};

use super::stage::answer_directly;
use crate::error::Error;
use crate::workspace::Workspace;
use crate::{envoy, filter, say};

const LISTED: &str = "192.0.2.1";
const GOOD: &str = "9.9.9.9";
const LIMIT: Duration = Duration::from_secs(30);
/// How long each policy is watched at each rate.
const WATCH: Duration = Duration::from_secs(10);
const POISON_PER_SECOND: [u64; 3] = [1, 5, 20];
const GOOD_PER_SECOND: u64 = 100;

/// How many of a client's requests were answered with 200, with 403 and otherwise.
#[derive(Debug, Clone, Copy, Default)]
struct Answers {
    passed: u32,
    refused: u32,
    failed: u32,
}

pub fn run(workspace: &Workspace, version: &str) -> Result<(), Error> {
    let wasm = filter::build(workspace, filter::Variant::Trap)?;
    let binary = envoy::ensure(workspace, version)?;
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Error::Said(format!("cannot start the runtime: {error}")))?;
    say::line(
        "| policy | poison requests/s | poison answered 503 | good requests failed | listed requests let through | listed requests failed |",
    );
    say::line("| --- | --- | --- | --- | --- | --- |");
    for (name, policy) in policies() {
        for rate in POISON_PER_SECOND {
            let mut config = base(&policy)?;
            config.set_wasm(&wasm)?;
            let [poison, good, listed] = runtime.block_on(watch(config, &binary, rate))?;
            say::line(format_args!(
                "| {name} | {rate} | {} | {} | {} | {} |",
                poison.share(poison.failed),
                good.share(good.failed),
                listed.share(listed.passed),
                listed.share(listed.failed),
            ));
        }
    }
    Ok(())
}

fn policies() -> [(&'static str, Value); 5] {
    let reload = |back_off: &str| {
        json!({
            "failure_policy": "FAIL_RELOAD",
            "reload_config": {"backoff": {"base_interval": back_off}},
        })
    };
    [
        ("`FAIL_RELOAD`, 2 ms", reload("0.002s")),
        ("`FAIL_RELOAD`, 1 s (Envoy's default)", reload("1s")),
        ("`FAIL_OPEN`", json!({"failure_policy": "FAIL_OPEN"})),
        ("`fail_open: true` (deprecated)", json!({"fail_open": true})),
        ("`FAIL_CLOSED`", json!({"failure_policy": "FAIL_CLOSED"})),
    ]
}

/// The shipped configuration under another policy, with a plugin that traps at the header `x-trap`.
fn base(policy: &Value) -> Result<EdgeConfig, KitError> {
    let mut config = EdgeConfig::shipped()?;
    config.set_mode("enforce")?;
    config.set_hops(1)?;
    config.on_any_port()?;
    answer_directly(&mut config)?;
    insert(config.plugin_settings()?, "trap", json!("request_headers"));
    let plugin = config.plugin_at("")?;
    if let Some(members) = plugin.as_object_mut() {
        members.remove("failure_policy");
        members.remove("reload_config");
        members.extend(policy.as_object().cloned().unwrap_or_default());
    }
    Ok(config)
}

/// Answers to poison, good and listed requests.
async fn watch(
    mut config: EdgeConfig,
    binary: &std::path::Path,
    rate: u64,
) -> Result<[Answers; 3], Error> {
    let sidecar = RawSidecar::start().await?;
    sidecar.publish(Draft::version(1).base(Line::listed(LISTED)?).build()?);
    config.set_sidecar(&sidecar.addresses())?;
    let envoy = Envoy::with(config, binary).start().await?;
    if !envoy.until_snapshot(LIMIT).await? || !settled(&envoy).await {
        return Err(Error::Said("Envoy has no snapshot".to_owned()));
    }
    let poison = Request::get("/").from_client(GOOD).header("x-trap", "1");
    let (good, listed) = (
        Request::get("/").from_client(GOOD),
        Request::get("/").from_client(LISTED),
    );
    let (poison, good, listed) = tokio::join!(
        stream(&envoy, &poison, rate),
        stream(&envoy, &good, GOOD_PER_SECOND),
        stream(&envoy, &listed, GOOD_PER_SECOND / 5),
    );
    Ok([poison, good, listed])
}

/// The worker serves by its snapshot.
async fn settled(envoy: &Envoy) -> bool {
    let served = eventually_async(LIMIT, || async {
        envoy.status_for(LISTED).await;
        envoy
            .metric("portcullis_verdicts_total", &["action=\"deny\""])
            .await
            >= 2.0
    });
    served.await
}

async fn stream(envoy: &Envoy, request: &Request, per_second: u64) -> Answers {
    let mut answers = Answers::default();
    let mut ticks = interval(Duration::from_micros(1_000_000 / per_second));
    let end = Instant::now() + WATCH;
    let mut connection = None;
    while Instant::now() < end {
        ticks.tick().await;
        let status = send(envoy, &mut connection, request).await;
        match status {
            Some(200) => answers.passed += 1,
            Some(403) => answers.refused += 1,
            _ => answers.failed += 1,
        }
    }
    answers
}

/// Keeps the connection as long as Envoy does.
async fn send(envoy: &Envoy, kept: &mut Option<Connection>, request: &Request) -> Option<u16> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => envoy.connect().await.ok()?,
    };
    let response = connection.send(request).await.ok()?;
    if response.header("connection").as_deref() != Some("close") {
        *kept = Some(connection);
    }
    Some(response.status)
}

impl Answers {
    fn share(self, part: u32) -> String {
        let all = self.passed + self.refused + self.failed;
        format!("{:.1} %", 100.0 * f64::from(part) / f64::from(all.max(1)))
    }
}
