//! Ports for parts that must come back at the same place after a restart.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::error::KitError;

/// Below the range from which the system takes source ports, so that no connection occupies a port
/// while its owner is down.
const FIRST: u16 = 15_000;
const COUNT: u16 = 15_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port on loopback that nobody listens on and that this process has not given out before.
pub fn reserve() -> Result<u16, KitError> {
    // Another test process starts elsewhere in the range.
    let start = u16::try_from(std::process::id() * 97 % u32::from(COUNT)).unwrap_or_default();
    for _ in 0..COUNT {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (start + offset) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(KitError::NoPort(FIRST, FIRST + COUNT))
}
