//! All plugins of one VM, and which of them a callback is about.
//!
//! Envoy keeps one VM per worker for all plugins with the same code and `vm_id`, and after a change of
//! configuration the old root lives on beside the new one until its listener is drained. A plugin is known
//! by its name and root id: a new root of the same plugin takes over what the old one had.

use reputation::UnixSeconds;

use crate::config::{Checked, Config};
use crate::host::{AnswerSize, ContextId, Flow, Host, Property, Token};
use crate::logged::Logged;
use crate::metrics::Metrics;
use crate::plugin::Plugin;
use crate::request;
use crate::turn::{Random, Turn, Uptime};

/// A root that missed this many ticks of others is gone, and what it had goes with it.
const TICKS_TO_GONE: u32 = 3_000;
/// When the newest root of a plugin missed this many, its update was withdrawn: the older one that still
/// ticks is in force again.
const TICKS_TO_WITHDRAWN: u32 = 50;

pub struct Vm {
    seats: Vec<Seat>,
    metrics: Metrics,
    random: Random,
    logged: Logged,
    now: UnixSeconds,
    uptime: Uptime,
    started_micros: u64,
}

/// A plugin and the roots it has, the newest last.
struct Seat {
    identity: Identity,
    roots: Vec<Root>,
    plugin: Plugin,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Identity {
    name: Vec<u8>,
    root_id: Vec<u8>,
}

struct Root {
    id: ContextId,
    config: Config,
    /// Ticks of other roots since its own last one.
    missed: u32,
}

impl Vm {
    pub fn new(seed: u64) -> Self {
        Self {
            seats: Vec::new(),
            metrics: Metrics::new(),
            random: Random::new(seed),
            logged: Logged::default(),
            now: UnixSeconds(0),
            uptime: Uptime::default(),
            started_micros: 0,
        }
    }

    /// The VM has started; with each later plugin it is told so again.
    pub fn on_start<H: Host>(&mut self, host: &H) -> bool {
        let now = self.look_at_the_clocks(host);
        if self.started_micros == 0 {
            self.started_micros = now;
        }
        true
    }

    /// Checks the configuration of `root`; a faulty one refuses the plugin with a message that says why.
    pub fn on_configure<H: Host>(&mut self, host: &H, root: ContextId) -> bool {
        let checked = match Checked::parse(&host.configuration()) {
            Ok(checked) => checked,
            Err(error) => {
                log::error!("portcullis: the configuration was refused: {error}");
                return false;
            }
        };
        for warning in &checked.warnings {
            log::warn!("portcullis: configuration: {warning}");
        }
        #[cfg(feature = "trap")]
        checked
            .config
            .trap
            .at(host, crate::trap::Callback::Configure);
        self.on_start(host);
        self.install(host, root, checked.config);
        true
    }

    pub fn on_tick<H: Host>(&mut self, host: &H, root: ContextId) {
        let now = self.look_at_the_clocks(host);
        self.miss_a_tick(root);
        let (seats, mut turn) = self.parts(host);
        let seat = seats.iter_mut().find(|seat| seat.has(root));
        if let Some(seat) = seat
            && seat.follows(&mut turn, root)
        {
            seat.plugin.on_tick(&mut turn, now);
        }
        self.metrics.flush(host);
    }

    pub fn on_request<H: Host>(&mut self, host: &H, context: ContextId) -> Flow {
        let (seats, mut turn) = self.parts(host);
        match serving(host, seats) {
            Some(plugin) => request::on_request(&mut turn, plugin, context),
            None => Flow::Continue,
        }
    }

    pub fn on_answer<H: Host>(&mut self, host: &H, token: Token, size: AnswerSize) {
        let now = host.now_micros();
        let (seats, mut turn) = self.parts(host);
        // Tokens are the VM's: an answer that nobody owns is one that was given up.
        let owner = seats.iter_mut().find(|seat| seat.plugin.owns(token));
        if let Some(seat) = owner {
            seat.plugin.on_answer(&mut turn, token, size, now);
        }
    }

    fn install<H: Host>(&mut self, host: &H, id: ContextId, config: Config) {
        let identity = Identity {
            name: read(host, Property::PluginName),
            root_id: read(host, Property::PluginRootId),
        };
        let started_micros = self.started_micros;
        let (seats, mut turn) = self.parts(host);
        let root = Root {
            id,
            config: config.clone(),
            missed: 0,
        };
        match seats.iter_mut().find(|seat| seat.identity == identity) {
            Some(seat) => {
                seat.roots.retain(|root| root.id != id);
                seat.roots.push(root);
                seat.plugin.reconfigure(&mut turn, config);
                seat.plugin.start_ticking(host, id);
            }
            None => {
                let mut plugin = Plugin::new(&mut turn, config, started_micros);
                plugin.start_ticking(host, id);
                seats.push(Seat {
                    identity,
                    roots: vec![root],
                    plugin,
                });
            }
        }
    }

    /// Counts a tick of `root` as missed by the others, and drops who is gone. Counting ticks instead of
    /// time, a process that stood still for an hour loses nobody.
    fn miss_a_tick(&mut self, root: ContextId) {
        for seat in &mut self.seats {
            let newest = seat.newest();
            for other in &mut seat.roots {
                other.missed = match other.id == root {
                    true => 0,
                    false => other.missed.saturating_add(1),
                };
            }
            seat.roots
                .retain(|other| Some(other.id) == newest || other.missed < TICKS_TO_GONE);
        }
        self.seats
            .retain(|seat| seat.roots.iter().any(|root| root.missed < TICKS_TO_GONE));
    }

    fn parts<'a, H: Host>(&'a mut self, host: &'a H) -> (&'a mut Vec<Seat>, Turn<'a, H>) {
        let turn = Turn {
            host,
            metrics: &mut self.metrics,
            random: &mut self.random,
            logged: &mut self.logged,
            now: self.now,
            uptime: self.uptime,
        };
        (&mut self.seats, turn)
    }

    /// Gives the exact time on the clock that never jumps.
    fn look_at_the_clocks<H: Host>(&mut self, host: &H) -> u64 {
        let now = host.now_micros();
        self.now = host.unix_now();
        self.uptime = Uptime::of_micros(now);
        now
    }
}

impl Seat {
    fn has(&self, root: ContextId) -> bool {
        self.roots.iter().any(|other| other.id == root)
    }

    fn newest(&self) -> Option<ContextId> {
        self.roots.last().map(|root| root.id)
    }

    /// Whether a tick of `root` drives the plugin. An older root does so only after the newest one has
    /// gone, and then with its own configuration.
    fn follows<H: Host>(&mut self, turn: &mut Turn<'_, H>, root: ContextId) -> bool {
        if self.newest() == Some(root) {
            return true;
        }
        let withdrawn = self
            .roots
            .last()
            .is_some_and(|newest| newest.missed >= TICKS_TO_WITHDRAWN);
        if !withdrawn {
            return false;
        }
        self.roots.pop();
        match self.roots.last() {
            Some(newest) if newest.id == root => {
                self.plugin.reconfigure(turn, newest.config.clone());
                true
            }
            _ => false,
        }
    }
}

/// The plugin that the current stream is for. With one, that one; it costs nothing.
fn serving<'a, H: Host>(host: &H, seats: &'a mut [Seat]) -> Option<&'a mut Plugin> {
    if let [only] = seats {
        return Some(&mut only.plugin);
    }
    let name = read(host, Property::PluginName);
    let mut named = seats.iter().filter(|seat| seat.identity.name == name);
    let one_of_many = named.next().is_some() && named.next().is_some();
    let root_id = match one_of_many {
        true => Some(read(host, Property::PluginRootId)),
        false => None,
    };
    seats
        .iter_mut()
        .filter(|seat| seat.identity.name == name)
        .find(|seat| {
            root_id
                .as_ref()
                .is_none_or(|id| seat.identity.root_id == *id)
        })
        .map(|seat| &mut seat.plugin)
}

fn read<H: Host>(host: &H, property: Property) -> Vec<u8> {
    host.property(property, <[u8]>::to_vec).unwrap_or_default()
}

#[cfg(test)]
mod tests;
