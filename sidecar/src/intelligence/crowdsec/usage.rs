//! What a Local API is told about its decisions: how many of them are in force here, by origin and address family.
//!
//! Requests are not counted: they pass Envoy and not the sidecar, and its look-ups are only those about addresses
//! that no proxy knows.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::body::Bytes;
use reputation::{ClientAddress, UnixSeconds};
use serde::Serialize;

use super::Streams;
use super::bouncer::NAME;
use super::lapi::{self, LapiError};
use super::stream::Stream;
use crate::intelligence::words::Words;
use crate::telemetry::chain;

/// After the start, and as long as there was no answer yet.
const FIRST: Duration = Duration::from_secs(2);

#[derive(Serialize)]
struct Body<'b> {
    remediation_components: [Component<'b>; 1],
}

#[derive(Serialize)]
struct Component<'b> {
    name: &'b str,
    #[serde(rename = "type")]
    kind: &'static str,
    version: &'static str,
    feature_flags: [&'static str; 0],
    utc_startup_timestamp: UnixSeconds,
    metrics: [Metrics; 1],
}

#[derive(Serialize)]
struct Metrics {
    meta: Meta,
    items: Vec<Item>,
}

#[derive(Serialize)]
struct Meta {
    window_size_seconds: u32,
    utc_now_timestamp: UnixSeconds,
}

#[derive(Serialize)]
struct Item {
    name: &'static str,
    value: usize,
    unit: &'static str,
    labels: BTreeMap<&'static str, String>,
}

impl Streams {
    /// Tells the usage from time to time, until the Local API says that it does not know such a thing.
    pub(super) async fn tell_usage(&self, stream: &Stream) {
        let Some(interval) = stream.config.usage_metrics else {
            return;
        };
        let name = &stream.config.name;
        let started = self.clock.now();
        let (mut told, mut failures) = (started, 0_u32);
        tokio::time::sleep(FIRST).await;
        loop {
            if !stream.is_answered() {
                tokio::time::sleep(FIRST).await;
                continue;
            }
            let now = self.clock.now();
            match self.tell(stream, started, told.until(now)).await {
                Ok(()) => (told, failures) = (now, 0),
                Err(LapiError::NotThere) => {
                    tracing::info!(
                        feed = name,
                        "this Local API takes no usage metrics: none are sent"
                    );
                    return;
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    if failures == 1 {
                        let error = chain(&error);
                        tracing::warn!(feed = name, error, "the usage metrics cannot be sent");
                    }
                }
            }
            tokio::time::sleep(interval).await;
        }
    }

    async fn tell(
        &self,
        stream: &Stream,
        started: UnixSeconds,
        window: u32,
    ) -> Result<(), LapiError> {
        let setup = self.sources.view();
        let words = Words::new(stream.entries(), &self.phrasebook);
        let body = body(
            &stream.config.name,
            &words,
            started,
            window,
            self.clock.now(),
        );
        let tell = |pass| {
            let body = body.clone();
            async move { lapi::tell(&pass, &stream.config, body).await }
        };
        let (bouncer, secrets) = (&stream.bouncer, &setup.setup.secrets);
        bouncer.let_in(&self.http, secrets, tell).await
    }
}

fn body(name: &str, words: &Words, started: UnixSeconds, window: u32, now: UnixSeconds) -> Bytes {
    let component = Component {
        name,
        kind: NAME,
        version: concat!("v", env!("CARGO_PKG_VERSION")),
        feature_flags: [],
        utc_startup_timestamp: started,
        metrics: [Metrics {
            meta: Meta {
                window_size_seconds: window,
                utc_now_timestamp: now,
            },
            items: active(words, now),
        }],
    };
    let body = Body {
        remediation_components: [component],
    };
    // Numbers and texts cannot fail to be written.
    serde_json::to_vec(&body).unwrap_or_default().into()
}

/// A range counts as one.
fn active(words: &Words, now: UnixSeconds) -> Vec<Item> {
    let mut counts = BTreeMap::<(&str, &str), usize>::new();
    let in_force = words.entries.iter().filter(|(_, word)| word.in_force(now));
    for (cidr, word) in in_force {
        let family = match cidr.network() {
            ClientAddress::V4(_) => "ipv4",
            ClientAddress::V6(_) => "ipv6",
        };
        let origin = words.phrase(&word).map_or("", |phrase| &phrase.author);
        *counts.entry((origin, family)).or_default() += 1;
    }
    let item = |((origin, family), value): ((&str, &str), usize)| Item {
        name: "active_decisions",
        value,
        unit: "ip",
        labels: BTreeMap::from([
            ("origin", origin.to_owned()),
            ("ip_type", family.to_owned()),
        ]),
    };
    counts.into_iter().map(item).collect()
}
