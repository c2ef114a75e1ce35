//! What the configuration makes of all that speaks of addresses: one value, replaced whole. A look-up
//! takes hold of it once and sees no other until its end.

use std::collections::BTreeMap;
use std::sync::Arc;

use reputation::Policy;

use super::crowdsec::{LiveApi, Stream};
use super::databases::Databases;
use super::feeds::Slot;
use super::providers::Gate;
use crate::config::{Budget, Config, CrowdSec, Feed, Guard};
use crate::secrets::Secrets;

pub struct Setup {
    pub policy: Policy,
    pub guard: Guard,
    pub budget: Budget,
    pub secrets: Arc<Secrets>,
    /// The providers, in the order of the configuration.
    pub gates: Vec<Arc<Gate>>,
    /// The feeds, in the order of the configuration.
    pub feeds: Vec<Arc<Slot>>,
    pub databases: Databases,
    /// The Local APIs of CrowdSec, as configured.
    pub crowdsec: Vec<CrowdSec>,
    /// Those that are followed.
    pub streams: Vec<Arc<Stream>>,
    /// Those that are asked about single addresses.
    pub lives: Vec<Arc<LiveApi>>,
}

impl Setup {
    /// Whether somebody with a say may know more of an address that no image knows.
    pub fn can_ask(&self) -> bool {
        let mut gates = self.gates.iter();
        gates.any(|gate| !gate.config().say.is_none())
            || !self.lives.is_empty()
            || self.databases.have_say()
    }

    /// Whether `config` asks for nothing else than what is here.
    pub fn is_of(&self, config: &Config) -> bool {
        self.speaks_as(config) && self.budget == config.budget && self.secrets.are(&config.secrets)
    }

    /// As [`Self::is_of`], but for where secrets come from and who is asked about: no snapshot tells of
    /// that.
    pub fn speaks_as(&self, config: &Config) -> bool {
        let feeds = self.feeds.iter().map(|slot| slot.feed.as_ref());
        let databases = self.databases.slots().iter();
        let databases = databases.map(|slot| slot.config.as_ref());
        self.policy == config.policy
            && self.crowdsec == config.crowdsec
            && self.guard == config.guard
            && feeds.eq(&config.feeds)
            && databases.eq(&config.databases)
            && self.asks_as(config)
    }

    /// Whether `config` has the same providers asked in the same way.
    pub fn asks_as(&self, config: &Config) -> bool {
        let providers = self.gates.iter().map(|gate| gate.config());
        providers.eq(&config.providers)
    }

    /// The feed that is configured as `feed` and finds its key where `secrets` find it.
    pub fn same_feed(&self, feed: &Feed, secrets: &Secrets) -> Option<&Arc<Slot>> {
        let same_key = |slot: &&Arc<Slot>| {
            let key = slot.feed.key.as_ref();
            key.is_none_or(|key| self.secrets.agree_on(key, secrets))
        };
        let mut same = self.feeds.iter().filter(|slot| *slot.feed == *feed);
        same.find(same_key)
    }

    /// Whether `config` finds its key where `secrets` find it.
    pub fn agrees_on_key_of(&self, config: &CrowdSec, secrets: &Secrets) -> bool {
        let key = config.key();
        key.is_none_or(|key| self.secrets.agree_on(key, secrets))
    }

    /// The feed of that name.
    pub fn feed(&self, name: &str) -> Option<&Arc<Slot>> {
        self.feeds.iter().find(|slot| slot.feed.name == name)
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            guard: Guard::default(),
            budget: Budget::default(),
            secrets: Arc::new(Secrets::new(BTreeMap::new())),
            gates: Vec::new(),
            feeds: Vec::new(),
            databases: Databases::default(),
            crowdsec: Vec::new(),
            streams: Vec::new(),
            lives: Vec::new(),
        }
    }
}
