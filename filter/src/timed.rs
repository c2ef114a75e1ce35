//! For measuring builds only (feature `timed`): logs how long a callback took, so that `cargo xtask soak` can tell the
//! longest. Ended requests and idle ticks take microseconds and are left out: logging is slower than they are.

use crate::host::Host;

const WORTH_TELLING_MICROS: u64 = 200;

/// One callback, from here to where this is dropped.
pub struct Timed<'a, H: Host> {
    host: &'a H,
    since_micros: u64,
}

impl<'a, H: Host> Timed<'a, H> {
    pub fn begin(host: &'a H) -> Self {
        let since_micros = host.now_micros();
        Self { host, since_micros }
    }
}

impl<H: Host> Drop for Timed<'_, H> {
    fn drop(&mut self) {
        let took = self.host.now_micros().saturating_sub(self.since_micros);
        if took >= WORTH_TELLING_MICROS {
            log::info!("portcullis: a callback took {took} us");
        }
    }
}
