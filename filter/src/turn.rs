//! One callback of the host: what code may use while it runs.

use reputation::UnixSeconds;

use crate::host::Host;
use crate::logged::Logged;
use crate::metrics::Metrics;

pub struct Turn<'a, H: Host> {
    pub host: &'a H,
    pub metrics: &'a mut Metrics,
    pub random: &'a mut Random,
    pub logged: &'a mut Logged,
    /// The time of day at the last tick: good to a tenth of a second, and free.
    pub now: UnixSeconds,
    /// The same moment on the clock that never jumps.
    pub uptime: Uptime,
}

/// Whole seconds on the clock that never jumps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Uptime(pub u32);

impl Uptime {
    pub fn of_micros(micros: u64) -> Self {
        Self(u32::try_from(micros / 1_000_000).unwrap_or(u32::MAX))
    }

    pub fn plus(self, seconds: u32) -> Self {
        Self(self.0.saturating_add(seconds))
    }
}

/// Jitter, nothing secret: xorshift, seeded per VM.
#[derive(Debug, Clone, Copy)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
