//! Gets Chromium and what drives it: the system's packages, for the tests of the console.

use kit::parts;

use crate::error::Error;
use crate::{run, say};

const PACKAGES: [&str; 2] = ["chromium", "chromium-driver"];

/// Installed first if they are not there and this process may.
pub fn ensure() -> Result<(), Error> {
    if parts::chromium().is_ok() {
        return Ok(());
    }
    say::step("installing Chromium");
    run::apt_install(&PACKAGES);
    parts::chromium()?;
    Ok(())
}
