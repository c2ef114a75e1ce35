//! How far the sidecar is away: whether the answer at hand is in a version of the wire that this build
//! reads. Which versions these are is `reputation::wire`'s; our own is told with every call, by `abi`.

use reputation::wire::{HEADER, Wire, WireError};

use crate::host::Host;

/// To be asked of an answer that has headers, before its body is read. A sidecar that refuses our version
/// tells its own whatever the status. Envoy, which answers where there is no sidecar, tells none.
pub fn check<H: Host>(host: &H, status: &[u8]) -> Result<(), WireError> {
    let told = host.answer_header(HEADER);
    if told.is_none() && status != b"200" {
        return Ok(());
    }
    Wire::told(told.as_deref())?.check_readable()
}
