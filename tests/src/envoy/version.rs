//! What a binary of Envoy cannot do yet.

use std::path::Path;
use std::process::Command;

use crate::error::KitError;

/// The first minor version whose access log can mask addresses.
const MASKS: u32 = 38;

/// Whether this binary's access log can mask addresses.
pub fn knows_masks(binary: &Path) -> Result<bool, KitError> {
    let output = Command::new(binary).arg("--version").output();
    let output = output.map_err(KitError::io("cannot run envoy --version"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    // PATH  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL
    let (_, told) = text.rsplit_once(" version: ").unwrap_or_default();
    let version = told.split('/').nth(1).unwrap_or_default();
    let minor = version.split('.').nth(1).and_then(|part| part.parse().ok());
    let unknown = || KitError::Config(format!("version in {:?}", text.trim()));
    minor.map(|minor: u32| minor >= MASKS).ok_or_else(unknown)
}
