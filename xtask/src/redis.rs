//! Gets Redis's server: the system's package, as it is tested with and as most people run it.

use std::path::PathBuf;

use kit::parts;

use crate::error::Error;
use crate::{run, say};

const PACKAGE: &str = "redis-server";

/// The path of Redis's server, installed first if it is not there and this process may.
pub fn ensure() -> Result<PathBuf, Error> {
    if let Ok(binary) = parts::redis_server() {
        return Ok(binary);
    }
    say::step("installing Redis");
    run::apt_install(&[PACKAGE]);
    Ok(parts::redis_server()?)
}
