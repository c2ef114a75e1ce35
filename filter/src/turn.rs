//! One callback of the host: what code may use while it runs.

use reputation::UnixSeconds;

use crate::host::Host;
use crate::metrics::Metrics;

pub struct Turn<'a, H: Host> {
    pub host: &'a H,
    pub metrics: &'a mut Metrics,
    pub random: &'a mut Random,
    /// The time of the last tick: good to a tenth of a second, and free.
    pub now: UnixSeconds,
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

pub fn seconds(micros: u64) -> UnixSeconds {
    UnixSeconds::from_secs(micros / 1_000_000)
}
