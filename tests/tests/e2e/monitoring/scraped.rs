//! At work: real Envoys and a real sidecar under scripted traffic, scraped by a real Prometheus with the shipped
//! configuration, which tells a real Alertmanager. All parts are started once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kit::abuseipdb::{AbuseIpDb, KEY};
use kit::prometheus_server::{Series, Targets};
use kit::raw_sidecar::Behaviour;
use kit::serve::Answer;
use kit::{Alertmanager, PrometheusServer, eventually_async};
use serde_json::{Value, json};

use super::canary::watch;
use super::documents::{documented_labels, panels};
use crate::common::{CANARY, Edge, LIMIT, RawEdge, sidecar_that_blocks};

const MALICIOUS: &str = "8.8.4.4";
const DAILY_CALLS: usize = 10_000;
/// Of each network some clients are asked about and some left out, at any time of the day: as shipped, a small
/// plan is spent before the first scrape just after midnight.
const BUDGET: &str = "[budget]\nnetwork_percent = 1\nburst_percent = 100\n";
const FEED: &str =
    "[[feed]]\nname = \"gone\"\npath = \"/nowhere\"\nformat = \"plain\"\nblock = true\n";

struct Stage {
    edge: Edge,
    /// Its labels stand in the names, and its sidecar fails in every way.
    bare: RawEdge,
    prometheus: PrometheusServer,
    alertmanager: Alertmanager,
    /// Ends with this value.
    abuseipdb: AbuseIpDb,
}

impl Stage {
    async fn start() -> Self {
        let abuseipdb = AbuseIpDb::start().await.unwrap();
        abuseipdb.knows(MALICIOUS, 100);
        let sidecar = sidecar_that_blocks(&["198.51.100.0/24"]);
        abuseipdb.grants(DAILY_CALLS);
        let quota = format!("daily_quota = {DAILY_CALLS}\nweight");
        let provider = abuseipdb.toml().replace("weight", &quota);
        let sidecar = sidecar.toml(&provider).toml(BUDGET).toml(FEED);
        let edge = Edge::start(sidecar.env("ABUSEIPDB_KEY", KEY)).await;
        watch(&edge);
        assert!(edge.until_canary("refused", LIMIT).await);
        let bare = without_stats_tags().await;
        let alertmanager = Alertmanager::start().await.unwrap();
        let targets = Targets {
            envoys: vec![edge.envoy.stats_address(), bare.envoy.stats_address()],
            sidecars: vec![edge.sidecar.metrics()],
            alertmanager: Some(alertmanager.address()),
        };
        Self {
            prometheus: PrometheusServer::start(&targets).await.unwrap(),
            edge,
            bare,
            alertmanager,
            abuseipdb,
        }
    }

    /// What operators do, and clients of all kinds until this is dropped.
    async fn traffic(&self) {
        self.edge.cli(&["ban", "203.0.113.5", "--for", "1h"]).await;
        self.edge
            .cli(&["mode", "monitor", "--route", "nowhere", "--for", "1h"])
            .await;
        for round in 0_u32.. {
            let stranger = format!("8.8.{}.{}", round / 250 % 250, round % 250);
            for client in [
                CANARY,
                "198.51.100.7",
                "10.0.0.1",
                "8.8.8.8",
                MALICIOUS,
                &stranger,
            ] {
                self.edge.envoy.status_for(client).await;
            }
            self.bare.envoy.status_for(&stranger).await;
            // A proxy asks once and keeps the answer; this asks the sidecar anew.
            if round % 25 == 24 {
                self.edge.cli(&["check", MALICIOUS]).await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn query(&self, expression: &str) -> Vec<Series> {
        let answer = self.prometheus.query(expression).await;
        answer.unwrap_or_else(|error| panic!("{expression}: {error:?}"))
    }

    /// Waits until an expression has a series, and returns all.
    async fn until_some(&self, expression: &str) -> Vec<Series> {
        let there = || async { !self.query(expression).await.is_empty() };
        assert!(
            eventually_async(LIMIT, there).await,
            "nothing: {expression}"
        );
        self.query(expression).await
    }

    /// Our metrics of one instance, each with the names of its labels.
    async fn scraped(&self, instance: impl ToString) -> BTreeMap<String, BTreeSet<String>> {
        let instance = instance.to_string();
        let expression = format!("{{__name__=~\"portcullis_.+\", instance=\"{instance}\"}}");
        let mut found = BTreeMap::<String, BTreeSet<String>>::new();
        for series in self.query(&expression).await {
            let name = series.label("__name__");
            let histogram = ["_bucket", "_sum", "_count"];
            let family = histogram.iter().find_map(|end| name.strip_suffix(end));
            let labels = found.entry(family.unwrap_or(name).to_owned()).or_default();
            let added = ["__name__", "instance", "job", "le"];
            let ours = series
                .labels
                .keys()
                .filter(|label| !added.contains(&label.as_str()));
            labels.extend(ours.cloned());
        }
        found
    }
}

#[tokio::test]
async fn prometheus_scrapes_what_is_documented_fills_every_panel_and_warns() {
    let stage = Stage::start().await;
    let checks = async {
        each_panel_has_a_series(&stage).await;
        what_is_scraped_is_documented(&stage).await;
        labels_leave_the_names(&stage).await;
        a_firing_alert_reaches_people(&stage).await;
    };
    tokio::select! {
        () = checks => {}
        () = stage.traffic() => {}
    }
    assert!(!stage.abuseipdb.asked().is_empty());
}

async fn each_panel_has_a_series(stage: &Stage) {
    // A faulty file, so that there is an alert to show.
    let sidecar = &stage.edge.sidecar;
    let faulty = format!("{}\nnonsense = 1\n", sidecar.config());
    sidecar.rewrite(&faulty).unwrap();
    for panel in panels() {
        assert!(
            !panel.title.is_empty() && !panel.description.is_empty(),
            "{panel:?}"
        );
        assert!(!panel.expressions.is_empty(), "{panel:?}");
        for expression in &panel.expressions {
            stage.until_some(expression).await;
        }
    }
}

/// From the sidecar, from an Envoy with `stats_tags`, and from one without by the shipped relabelling.
async fn what_is_scraped_is_documented(stage: &Stage) {
    let documented = documented_labels();
    let tagged = stage.scraped(stage.edge.envoy.stats_address()).await;
    let bare = stage.scraped(stage.bare.envoy.stats_address()).await;
    let sidecar = stage.scraped(stage.edge.sidecar.metrics()).await;
    let of_filter: BTreeSet<_> = tagged.keys().chain(bare.keys()).cloned().collect();
    assert_eq!(of_filter, documented.filter.keys().cloned().collect());
    for (scraped, documented) in [
        (&tagged, &documented.filter),
        (&bare, &documented.filter),
        (&sidecar, &documented.sidecar),
    ] {
        for (metric, labels) in scraped {
            assert_eq!(documented.get(metric), Some(labels), "{metric}");
        }
    }
    assert!(sidecar.len() > 20, "{sidecar:?}");
}

async fn labels_leave_the_names(stage: &Stage) {
    let address = stage.bare.envoy.stats_address();
    let text = stage.bare.envoy.metrics().await;
    assert!(text.contains("portcullis_verdicts_total_action_"), "{text}");
    for (metric, labels) in [
        (
            "portcullis_verdicts_total",
            "action=\"allow\", source=\"unknown\", mode=\"enforce\"",
        ),
        (
            "portcullis_failures_total",
            "policy=\"open\", cause=\"breaker\"",
        ),
        ("portcullis_lookups_total", "outcome=\"unavailable\""),
        ("portcullis_snapshot_refused_total", "cause=\"malformed\""),
        ("portcullis_client_addresses_total", "kind=\"public\""),
    ] {
        let expression = format!("{metric}{{instance=\"{address}\", {labels}}}");
        assert_eq!(stage.until_some(&expression).await.len(), 1, "{expression}");
    }
    let stray = stage.query("{__name__=~\"portcullis_.+_total_.+\"}").await;
    assert!(stray.is_empty(), "{stray:?}");
}

async fn a_firing_alert_reaches_people(stage: &Stage) {
    let name = "PortcullisConfigRefused";
    let told = || async { !stage.alertmanager.told(name).is_empty() };
    assert!(eventually_async(LIMIT, told).await);
    let alert = stage.alertmanager.told(name).remove(0);
    assert_eq!(alert["labels"]["severity"], "warning");
    assert_eq!(
        alert["labels"]["instance"],
        stage.edge.sidecar.metrics().to_string()
    );
    let link = "docs/runbook.md#portcullisconfigrefused";
    assert_eq!(alert["annotations"]["runbook_url"], link);
    let said = alert["annotations"]["description"].as_str().unwrap();
    assert!(said.contains("refused its configuration file"), "{said}");
}

/// An Envoy that was given no `stats_tags`, with a sidecar that answers nothing as it should.
async fn without_stats_tags() -> RawEdge {
    let edge = RawEdge::start_with(|envoy| {
        let changed = envoy.change(|config| {
            *config.at("/stats_config/stats_tags")? = Value::Array(Vec::new());
            Ok(())
        });
        changed.unwrap()
    })
    .await;
    edge.sidecar
        .on_verdicts(Behaviour::Always(Answer::status(503)));
    let nonsense = Answer::json(&json!({"nonsense": true}));
    edge.sidecar.on_manifest(Behaviour::Always(nonsense));
    edge
}
