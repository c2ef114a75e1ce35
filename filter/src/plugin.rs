//! One plugin of the VM: its configuration and everything it knows. Owns what happens on a tick.

use crate::cache::Cache;
use crate::config::Config;
use crate::host::{AnswerSize, ContextId, Host, Token};
use crate::lookups::Lookups;
use crate::mode::Modes;
use crate::request;
use crate::snapshot::fleet::{Beat, Status};
use crate::snapshot::keys::Keys;
use crate::snapshot::lease::Lease;
use crate::snapshot::loader::{self, Loader};
use crate::snapshot::puller::{self, Puller};
use crate::snapshot::{Snapshot, trying};
use crate::turn::Turn;

const IDLE_TICK_MS: u32 = 100;
/// While a snapshot is being taken up, or the first one is expected.
const BUSY_TICK_MS: u32 = 20;
const EXPECTING_MICROS: u64 = 10_000_000;

pub struct Plugin {
    pub config: Config,
    pub modes: Modes,
    pub snapshot: Snapshot,
    pub cache: Cache,
    pub lookups: Lookups,
    pub started_micros: u64,
    nonce: u64,
    keys: Keys,
    lease: Lease,
    loader: Loader,
    puller: Puller,
    beat: Beat,
    tick_ms: u32,
}

impl Plugin {
    pub fn new<H: Host>(turn: &mut Turn<'_, H>, config: Config, started_micros: u64) -> Self {
        let mut modes = Modes::default();
        modes.refresh(&config, turn.now);
        Self {
            keys: Keys::new(&config.sidecar),
            cache: Cache::new(config.cache_entries, turn.random.draw()),
            config,
            modes,
            snapshot: Snapshot::default(),
            lookups: Lookups::default(),
            started_micros,
            nonce: turn.random.draw(),
            lease: Lease::default(),
            loader: Loader::default(),
            puller: Puller::default(),
            beat: Beat::default(),
            tick_ms: 0,
        }
    }

    /// Takes over a new configuration. Snapshot, cache and look-ups stay if they come from the same
    /// sidecar; otherwise everything starts anew, and who waits for the old one passes or fails now.
    pub fn reconfigure<H: Host>(&mut self, turn: &mut Turn<'_, H>, config: Config) {
        // A new root has no tick of its own yet, and a callout of the old one may end with it.
        self.tick_ms = 0;
        self.puller = Puller::default();
        if config.sidecar != self.config.sidecar {
            self.abandon(turn);
            *self = Self::new(turn, config, self.started_micros);
            return;
        }
        let cache_stays = config.cache_entries == self.cache.entries()
            && config.ipv6_prefix == self.config.ipv6_prefix;
        if !cache_stays {
            self.abandon(turn);
            self.cache = Cache::new(config.cache_entries, turn.random.draw());
        }
        self.config = config;
        self.modes.refresh(&self.config, turn.now);
    }

    pub fn on_tick<H: Host>(&mut self, turn: &mut Turn<'_, H>, now: u64) {
        #[cfg(feature = "trap")]
        self.config.trap.at(turn.host, crate::trap::Callback::Tick);
        let place = loader::Place {
            keys: &self.keys,
            nonce: self.nonce,
            started_micros: self.started_micros,
            now_micros: now,
        };
        let report = self.loader.on_tick(turn, place, &mut self.snapshot);
        if let Some(modes) = report.modes {
            self.modes.replace(modes);
        }
        self.modes.refresh(&self.config, turn.now);
        if self.snapshot.trial_ends(now) {
            trying::clear(turn.host, &self.keys, self.nonce);
        }
        let leads = self.lease.holds(turn.host, &self.keys, self.nonce, now);
        let place = puller::Place {
            keys: &self.keys,
            sidecar: &self.config.sidecar,
            now_micros: now,
        };
        self.puller.on_tick(turn, place, leads);
        for answered in self.lookups.sweep(turn, now) {
            request::on_answered(turn, self, &answered);
        }
        self.tell_the_fleet(turn, now);
        self.set_tick(turn.host, report.busy || self.is_expecting(now));
    }

    pub fn owns(&self, token: Token) -> bool {
        self.lookups.owns(token) || self.puller.owns(token)
    }

    pub fn on_answer<H: Host>(
        &mut self,
        turn: &mut Turn<'_, H>,
        token: Token,
        size: AnswerSize,
        now: u64,
    ) {
        #[cfg(feature = "trap")]
        self.config
            .trap
            .at(turn.host, crate::trap::Callback::HttpCallResponse);
        if self.puller.owns(token) {
            let place = puller::Place {
                keys: &self.keys,
                sidecar: &self.config.sidecar,
                now_micros: now,
            };
            self.puller.on_answer(turn, place, size);
        } else if let Some(answered) = self.lookups.answered(turn, token, size) {
            request::on_answered(turn, self, &answered);
        }
    }

    /// Makes `root`, which has just been configured, tick.
    pub fn start_ticking<H: Host>(&mut self, host: &H, root: ContextId) {
        if host.enter(root).is_ok() {
            self.set_tick(host, self.snapshot.version().is_none());
        }
    }

    /// Whether the VM is young and knows nothing yet.
    fn is_expecting(&self, now: u64) -> bool {
        let age = now.saturating_sub(self.started_micros);
        self.snapshot.version().is_none() && age < EXPECTING_MICROS
    }

    fn set_tick<H: Host>(&mut self, host: &H, busy: bool) {
        let wanted = if busy { BUSY_TICK_MS } else { IDLE_TICK_MS };
        if self.tick_ms != wanted {
            self.tick_ms = wanted;
            host.set_tick_period(wanted);
        }
    }

    fn abandon<H: Host>(&mut self, turn: &mut Turn<'_, H>) {
        let now = turn.host.now_micros();
        for answered in self.lookups.abandon(turn, now) {
            request::on_answered(turn, self, &answered);
        }
    }

    fn tell_the_fleet<H: Host>(&mut self, turn: &mut Turn<'_, H>, now: u64) {
        let version = self.snapshot.version().unwrap_or_default();
        let status = Status {
            nonce: self.nonce,
            epoch: version.epoch,
            version: version.version,
            built_at: self.snapshot.built_at().map_or(0, |at| u64::from(at.0)),
        };
        if let Some(fleet) = self.beat.tell(turn.host, &self.keys, status, now) {
            turn.metrics.fleet(turn.host, fleet);
        }
    }
}
