//! Redis's server: the system's package, as it is tested with and as most people run it.

use std::path::PathBuf;

use kit::parts;

use crate::error::Error;
use crate::fetched;
use crate::system::{self, Need};

pub const NEED: Need = Need {
    what: "Redis's server",
    packages: &["redis-server"],
    is_there: || parts::redis_server().is_ok(),
};

/// The path of Redis's server, installed first if it is not there and this process may.
pub fn ensure() -> Result<PathBuf, Error> {
    if let Some(given) = fetched::given("PORTCULLIS_REDIS")? {
        return Ok(given);
    }
    system::require(&[&NEED])?;
    Ok(parts::redis_server()?)
}
