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
use crate::tally::Tally;
use crate::turn::Turn;

const IDLE_TICK_MS: u32 = 100;
/// The very first tick: it takes up what lies ready.
const FIRST_TICK_MS: u32 = 1;
/// While a snapshot is being taken up, or the first one is expected.
const BUSY_TICK_MS: u32 = 20;
const EXPECTING_MICROS: u64 = 10_000_000;

pub struct Plugin {
    pub config: Config,
    pub modes: Modes,
    pub snapshot: Snapshot,
    pub cache: Cache,
    pub lookups: Lookups,
    pub tally: Tally,
    pub started_micros: u64,
    /// Neither a request nor a tick has come yet.
    fresh: bool,
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
            tally: Tally::default(),
            started_micros,
            fresh: true,
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
        self.catch_up(turn);
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
        let leads = self.lease.holds(turn.host, &self.keys, self.nonce, now);
        let place = puller::Place {
            keys: &self.keys,
            sidecar: &self.config.sidecar,
            now_micros: now,
        };
        self.puller.on_tick(turn, place, leads);
        let when = (now, turn.uptime);
        let sidecar = &self.config.sidecar;
        self.tally.on_tick(turn.host, turn.random, sidecar, when);
        for answered in self.lookups.sweep(turn, now) {
            request::on_answered(turn, self, &answered);
        }
        self.tell_the_fleet(turn, now);
        let busy = report.busy || self.is_expecting(now);
        self.set_tick(turn.host, pace(busy));
    }

    /// Before anything else is done: takes up the snapshot that older VMs have left ready. One that
    /// replaces a VM that died so misses no request. Not while the plugin is configured: there Envoy tries
    /// each plugin in a VM that it throws away.
    pub fn catch_up<H: Host>(&mut self, turn: &mut Turn<'_, H>) {
        if self.fresh {
            self.fresh = false;
            self.take_up_at_once(turn);
        }
    }

    /// Says to the VMs to come that this one is about to decide by a snapshot for the first time, if it
    /// is.
    pub fn trial_begins<H: Host>(&self, host: &H) {
        if let Some(version) = self.snapshot.on_trial() {
            trying::note(host, &self.keys, self.nonce, version, host.now_micros());
        }
    }

    /// It has decided.
    pub fn trial_ends<H: Host>(&mut self, host: &H) {
        trying::clear(host, &self.keys, self.nonce);
        self.snapshot.trial_ends();
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
            match self.fresh {
                true => self.set_tick(host, FIRST_TICK_MS),
                false => self.set_tick(host, pace(self.snapshot.version().is_none())),
            }
        }
    }

    /// Whether the VM is young and knows nothing yet.
    fn is_expecting(&self, now: u64) -> bool {
        let age = now.saturating_sub(self.started_micros);
        self.snapshot.version().is_none() && age < EXPECTING_MICROS
    }

    #[cold]
    fn take_up_at_once<H: Host>(&mut self, turn: &mut Turn<'_, H>) {
        let place = loader::Place {
            keys: &self.keys,
            nonce: self.nonce,
            started_micros: self.started_micros,
            now_micros: turn.host.now_micros(),
        };
        let modes = self.loader.catch_up(turn, place, &mut self.snapshot);
        if let Some(modes) = modes {
            self.modes.replace(modes);
            self.modes.refresh(&self.config, turn.now);
        }
    }

    fn set_tick<H: Host>(&mut self, host: &H, wanted: u32) {
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

fn pace(busy: bool) -> u32 {
    match busy {
        true => BUSY_TICK_MS,
        false => IDLE_TICK_MS,
    }
}
