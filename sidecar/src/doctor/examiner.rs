//! Gathers what the sidecar knows of itself, and has every check look at it.

use std::sync::Arc;

use jiff::tz::TimeZone;
use reputation::UnixSeconds;
use reputation::manifest::SnapshotVersion;
use reputation::mode::ModeOverride;
use serde::{Deserialize, Serialize};
use tracing::level_filters::LevelFilter;

use super::listeners::ListenerFacts;
use super::operator::SnapshotFacts;
use super::providers::CacheFacts;
use super::secrets::{FileFacts, SecretFacts, TokenFacts};
use super::watching::{ConfigFacts, LogFacts, Tracking};
use super::{
    Finding, databases, feeds, guide, history, listeners, operator, providers, secrets, store,
    watching, wire,
};
use crate::api::token;
use crate::clock::Clock;
use crate::config::Config;
use crate::intelligence::Intelligence;
use crate::reload::Watch;
use crate::snapshot::canary;
use crate::store::Store;
use crate::telemetry::Metrics;

/// `GET /v1/doctor`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Examination {
    /// The sidecar's own.
    pub version: String,
    /// What is published: proxies should have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotVersion>,
    pub modes: Vec<ModeOverride>,
    pub findings: Vec<Finding>,
}

/// What is looked at.
pub struct Examined {
    pub intelligence: Arc<Intelligence>,
    pub metrics: Arc<Metrics>,
    pub watch: Arc<Watch>,
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
}

pub struct Examiner {
    examined: Examined,
    /// Where we really listen, and where the token came from: both as of the start.
    listeners: Vec<ListenerFacts>,
    started_with: Arc<Config>,
}

impl Examiner {
    pub fn new(examined: Examined) -> Self {
        let started_with = examined.watch.started();
        Self {
            listeners: listeners::facts(&started_with.listen),
            started_with,
            examined,
        }
    }

    pub async fn examine(&self) -> Examination {
        let intelligence = &self.examined.intelligence;
        let published = intelligence.snapshots().borrow().clone();
        let snapshot = published.map(|published| SnapshotFacts {
            version: published.manifest.version,
            built_at: published.manifest.built_at,
        });
        let mut findings = Vec::from(self.secrets());
        findings.extend(self.sidecar());
        findings.extend(self.store().await);
        findings.extend(self.sources());
        findings.extend([
            operator::modes(&intelligence.modes()),
            operator::decisions(&intelligence.decisions()),
            operator::published(snapshot, self.examined.clock.now()),
            self.canary().await,
        ]);
        Examination {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            snapshot: snapshot.map(|snapshot| snapshot.version),
            modes: intelligence.modes(),
            findings,
        }
    }

    fn secrets(&self) -> [Finding; 4] {
        let config = self.examined.watch.config();
        let statuses = self.examined.intelligence.secrets().statuses().into_iter();
        let facts = statuses.filter_map(|status| {
            let (name, secret) = config.secrets.get_key_value(&status.name)?;
            Some(SecretFacts::of(name, secret, status))
        });
        let facts: Vec<_> = facts.collect();
        let token = match &self.started_with.listen.admin_token {
            Some(name) if token::is_guessable(name, &self.examined.intelligence.secrets()) => {
                TokenFacts::Guessable(name.clone())
            }
            Some(name) => TokenFacts::Configured(name.clone()),
            None => {
                let path = self.started_with.store.path.join(token::FILE_NAME);
                let file = FileFacts::of(&path);
                TokenFacts::Made { path, file }
            }
        };
        [
            secrets::readable(&facts),
            secrets::private(&facts),
            secrets::token(&token),
            secrets::expiry(&facts, date(self.examined.clock.now())),
        ]
    }

    fn sidecar(&self) -> [Finding; 9] {
        let Examined {
            watch,
            metrics,
            intelligence,
            ..
        } = &self.examined;
        let status = watch.status();
        let config = ConfigFacts {
            path: status.path.display().to_string(),
            fault: status.fault,
            needs_restart: status.needs_restart,
        };
        let log = LogFacts {
            level: LevelFilter::current(),
            errors: metrics.errors_logged(),
            tracking: match self.started_with.sentry.is_configured() {
                true => Tracking::Sentry,
                false => Tracking::Nobody,
            },
        };
        [
            watching::config(&config),
            listeners::listeners(&self.listeners),
            guide::guard(watch.config().guard.permit_special),
            guide::outgoing(&intelligence.outgoing()),
            watching::scraped(metrics.fetched_ago()),
            watching::canary(watch.config().canary.edge.is_some(), metrics.canary_state()),
            watching::errors(log),
            history::recorded(intelligence.history().health().as_ref()),
            wire::wire(metrics.askers_seen()),
        ]
    }

    async fn store(&self) -> [Finding; 2] {
        let health = self.examined.store.health().await;
        [store::reachable(&health), store::durable(&health)]
    }

    fn sources(&self) -> [Finding; 11] {
        let Examined {
            intelligence,
            metrics,
            ..
        } = &self.examined;
        let (lists, asked) = (intelligence.feeds(), intelligence.providers());
        let files = intelligence.databases();
        let (questions, found) = metrics.cache_totals();
        let cache = CacheFacts {
            asked: questions,
            found,
        };
        [
            feeds::fresh(&lists),
            feeds::held(&lists),
            feeds::shadow(&lists),
            feeds::refused(&lists),
            feeds::empty(&lists),
            providers::key(&asked),
            providers::quota(&asked),
            providers::answering(&asked),
            providers::cache(&asked, cache),
            databases::fresh(&files),
            databases::refused(&files),
        ]
    }

    async fn canary(&self) -> Finding {
        let mut rules = Vec::new();
        for address in canary::addresses() {
            rules.push(self.examined.intelligence.explain(address).await.rule);
        }
        operator::canary(&rules)
    }
}

fn date(now: UnixSeconds) -> jiff::civil::Date {
    let now = jiff::Timestamp::from_second(now.0.into()).unwrap_or_default();
    now.to_zoned(TimeZone::UTC).date()
}
