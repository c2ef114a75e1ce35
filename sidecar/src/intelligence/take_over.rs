//! Takes a configuration over, the first as well as each that follows: what it asks for is made, put in
//! place of what was there in one step, and published.

use std::sync::Arc;

use super::Intelligence;
use super::crowdsec;
use super::providers::{self, GateNeeds};
use super::setup::Setup;
use crate::config::Config;
use crate::secrets::Secrets;
use crate::snapshot::Changed;

impl Intelligence {
    /// Follows `config`. Returns when it is published, as far as a snapshot tells of what changed.
    pub async fn take_over(&self, config: &Config) {
        let before = Arc::clone(&self.sources.view().setup);
        if !before.is_of(config) {
            self.put_in_place(config).await;
            if !before.speaks_as(config) {
                self.publisher.publish(Changed::Feeds).await;
            }
        }
        self.remember_as(config);
    }

    /// Goes on with the history's database as `config` has it, and with the secrets in force.
    pub(super) fn remember_as(&self, config: &Config) {
        self.history
            .follow(config.history.as_ref(), &self.secrets());
    }

    pub(super) async fn put_in_place(&self, config: &Config) {
        let before = Arc::clone(&self.sources.view().setup);
        let secrets = Arc::new(self.vault.secrets(&config.secrets));
        self.vault.first_look().await;
        warn_of_missing(&secrets);
        let needs = GateNeeds {
            store: Arc::clone(&self.store),
            secrets: Arc::clone(&secrets),
            clock: Arc::clone(&self.clock),
            metrics: Arc::clone(&self.metrics),
            budget: config.budget.clone(),
            permit_special: config.guard.permit_special,
        };
        let gates = providers::configured(config, &before.gates, &self.http, &needs);
        for gate in &gates {
            gate.recount().await;
        }
        let feeds = self.keeper.places(&config.feeds, &secrets, &before);
        let streams = self.streams.places(&config.crowdsec, &secrets, &before);
        let databases = self.databases.places(&config.databases, &before.databases);
        let databases = databases.await;
        let lives = crowdsec::lives(&config.crowdsec, &secrets, &before);
        let next = Setup {
            policy: config.policy,
            guard: config.guard.clone(),
            budget: config.budget.clone(),
            secrets,
            gates,
            feeds,
            databases: databases.clone(),
            crowdsec: config.crowdsec.clone(),
            streams,
            lives,
        };
        self.keeper.change(next).await;
        self.databases.change(&before.databases, &databases);
        self.streams.change(&before).await;
        self.part_from_providers(&before, config);
    }

    fn part_from_providers(&self, before: &Setup, config: &Config) {
        if !before.asks_as(config) {
            self.lookup.forget_answers();
        }
        for gone in before.gates.iter().map(|gate| gate.name()) {
            if !config.providers.iter().any(|it| it.name == *gone) {
                self.metrics.forget_provider(gone);
            }
        }
    }
}

/// What refers to such a secret does without, and tries again: worth a line, no reason to stay down.
fn warn_of_missing(secrets: &Secrets) {
    let statuses = secrets.statuses().into_iter();
    for problem in statuses.filter_map(|status| status.problem) {
        tracing::warn!(problem, "a secret cannot be read");
    }
}
