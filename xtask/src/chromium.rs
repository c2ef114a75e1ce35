//! Chromium and what drives it: the system's packages, for the tests of the console.

use kit::parts;

use crate::system::Need;

pub const NEED: Need = Need {
    what: "Chromium and chromedriver (for the console's tests)",
    packages: &["chromium", "chromium-driver"],
    is_there: || parts::chromium().is_ok(),
};
