//! Rate limits of the shipped configuration: who is limited, by which figure, and by which key.

mod evasion;
mod everyone;
mod eviction;
mod throttled;

use std::time::Instant;

use kit::config::EdgeConfig;
use kit::envoy::EnvoyBuilder;
use kit::{Connection, Envoy, KitError, Request, Response};
use serde_json::{Value, json};

use crate::common::{Edge, sidecar_that_blocks};

/// As shipped, for clients whose verdict is `throttle`.
const BURST: usize = 60;
/// Lists that make a client suspicious; the edge throttles those.
const SUSPICIOUS: &str = "198.51.100.0/24\n11.0.0.0/8\n2001:db8:7::/48\n";
const CLIENT: &str = "198.51.100.7";
const CLEAN: &str = "203.0.113.80";

/// An edge with one worker that throttles suspicious clients.
async fn edge() -> Edge {
    edge_with(|envoy| envoy).await
}

async fn edge_with(change: impl FnOnce(EnvoyBuilder) -> EnvoyBuilder) -> Edge {
    let sidecar = sidecar_that_blocks(&[]);
    let sidecar = sidecar.list("suspicious", "score = 90", "plain", SUSPICIOUS);
    let throttle = json!({"actions": {"suspicious": "throttle"}});
    Edge::start_with(sidecar.unwrap(), |envoy| {
        change(envoy.plugin(throttle).unwrap())
    })
    .await
}

/// What a number of requests came to.
#[derive(Debug)]
struct Spent {
    passed: usize,
    refused: usize,
    /// Tokens that came back meanwhile, at most; one a second where nothing else is said.
    refilled: usize,
}

impl Spent {
    /// Exactly so many got through, but for what was refilled.
    fn is_limited_to(&self, tokens: usize) -> bool {
        self.refused > 0 && (tokens..=tokens + self.refilled).contains(&self.passed)
    }
}

/// Sends `requests` one after the other, each answered before the next; only 200 and 429 may come.
async fn spend(connection: &mut Connection, requests: impl Iterator<Item = Request>) -> Spent {
    let begun = Instant::now();
    let (mut passed, mut refused) = (0, 0);
    for request in requests {
        match connection.send(&request).await.unwrap().status {
            200 => passed += 1,
            429 => refused += 1,
            other => panic!("{other} for {request:?}"),
        }
    }
    Spent {
        passed,
        refused,
        refilled: refilled(begun),
    }
}

/// How many tokens a throttled client's bucket can have got since then.
fn refilled(since: Instant) -> usize {
    usize::try_from(since.elapsed().as_secs() + 1).unwrap()
}

/// Sends `count` requests as one client, on one connection.
async fn spend_as(envoy: &Envoy, client: &str, count: usize) -> Spent {
    let mut connection = envoy.connect().await.unwrap();
    let request = Request::get("/").from_client(client);
    spend(&mut connection, std::iter::repeat_n(request, count)).await
}

/// Repeats a request until it is refused for its rate.
async fn refusal(envoy: &Envoy, request: &Request) -> Response {
    let mut connection = envoy.connect().await.unwrap();
    for _ in 0..10 * BURST {
        let response = connection.send(request).await.unwrap();
        if response.status == 429 || response.header("grpc-status").is_some() {
            return response;
        }
    }
    panic!("{request:?} is never refused");
}

/// This client finds the bucket that another has emptied since then, not one of its own.
async fn finds_it_empty(envoy: &Envoy, client: &str, since: Instant) -> bool {
    let spent = spend_as(envoy, client, BURST / 2).await;
    spent.passed <= refilled(since) && spent.refused > 0
}

async fn ask_as(envoy: &Envoy, client: &str) -> Response {
    let request = Request::get("/").from_client(client);
    envoy.send(&request).await.unwrap()
}

/// The settings of one of the edge's rate limits.
fn limit<'a>(config: &'a mut EdgeConfig, name: &str) -> Result<&'a mut Value, KitError> {
    let filters = config.hcm()?["http_filters"].as_array_mut();
    let found = filters.and_then(|filters| filters.iter_mut().find(|one| one["name"] == name));
    let settings =
        found.and_then(|one| one.pointer_mut("/typed_config/extension_config/typed_config"));
    settings.ok_or_else(|| KitError::Config(format!("rate limit {name}")))
}

/// What a rate limit has counted: `enabled`, `ok`, `rate_limited`, `enforced`.
async fn counted(envoy: &Envoy, limit: &str, what: &str) -> u64 {
    envoy
        .stat(&format!("{limit}.http_local_rate_limit.{what}"))
        .await
}

fn has_no_limit_headers(response: &Response) -> bool {
    [
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "retry-after",
    ]
    .iter()
    .all(|name| response.header(name).is_none())
}
